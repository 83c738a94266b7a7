/** One part of `verify`: the Merkle log. Stored leaves against signed roots; that a leaf fits its line is verify-boot's. */
import { type Checkpoint, verifyCheckpoint } from "./checkpoint.ts";
import type { Findings } from "./finding.ts";
import { Peaks } from "./merkle.ts";
import type { LogTip, RemovedTree, ScanRow } from "./store/port.ts";

export class LogCheck {
  readonly #findings: Findings;
  readonly #checkpoints: readonly Checkpoint[];
  readonly #publicKey: string | null;
  readonly #expect: { readonly size: number; readonly root: string } | null;
  readonly #tree = new Peaks();
  readonly #removed: readonly RemovedTree[];
  #removedAt = 0;
  #at = 0;
  /** Size up to which a signed root fits. */
  #proven = 0;
  #wrong = false;

  constructor(
    findings: Findings,
    checkpoints: readonly Checkpoint[],
    publicKey: string | null,
    expect: { readonly size: number; readonly root: string } | null,
    removed: readonly RemovedTree[],
  ) {
    this.#removed = removed;
    this.#findings = findings;
    this.#checkpoints = checkpoints;
    this.#publicKey = publicKey;
    this.#expect = expect;
    for (const c of checkpoints)
      if (publicKey !== null && !signed(publicKey, c))
        findings.add("signature", "", 0, `the checkpoint of ${c.size} records is not signed by this key`);
  }

  take(scanned: ScanRow): void {
    this.#passRemoved(scanned.index);
    if (scanned.index !== this.#tree.size && !this.#wrong) {
      this.#wrong = true;
      const { boot, seq } = scanned.row;
      this.#findings.add(
        "tree",
        boot,
        seq,
        `records are missing from the log before this one (place ${scanned.index})`,
      );
    }
    this.#tree.append(scanned.row.leaf);
    this.#compare();
  }

  /** What retention removed up to this place: roots of subtrees stand for it. */
  #passRemoved(index: number): void {
    for (;;) {
      const next = this.#removed[this.#removedAt];
      if (next === undefined || next.index >= index) return;
      this.#removedAt++;
      if (next.index !== this.#tree.size || this.#tree.size % 2 ** next.level !== 0) {
        this.#wrong = true;
        this.#findings.add("tree", "", 0, `what stands for removed records at place ${next.index} does not fit there`);
        return;
      }
      const before = this.#tree.size;
      this.#tree.appendTree(next.hash, next.level);
      const expected = this.#expect;
      if (expected !== null && expected.size > before && expected.size < this.#tree.size)
        this.#findings.add(
          "tree",
          "",
          0,
          "the expected checkpoint ends among records that retention removed: it cannot be compared any more",
        );
      this.#compare();
    }
  }

  #compare(): void {
    const { size } = this.#tree;
    // Checkpoints within a removed stretch: the next one behind it covers what is left.
    while ((this.#checkpoints[this.#at]?.size ?? size) < size) this.#at++;
    const expected = this.#expect;
    if (expected !== null && expected.size === size && this.#tree.root().toString("base64") !== expected.root)
      this.#findings.add("tree", "", 0, `the first ${size} records are not those of the expected checkpoint`);
    const checkpoint = this.#checkpoints[this.#at];
    if (checkpoint === undefined || checkpoint.size !== size) return;
    this.#at++;
    if (this.#tree.root().equals(checkpoint.root)) this.#proven = size;
    else if (!this.#wrong) {
      this.#wrong = true;
      this.#findings.add(
        "tree",
        "",
        0,
        `a record in places ${this.#proven} to ${size - 1} of the log is not the one that was signed`,
      );
    }
  }

  finish(tip: LogTip, records: number): void {
    this.#passRemoved(Number.MAX_SAFE_INTEGER);
    if (tip.size !== records)
      this.#findings.add("tree", "", 0, `the log should have ${tip.size} records, it has ${records}`);
    else if (!this.#wrong && !Buffer.from(tip.peaks).equals(this.#tree.toBlob()))
      this.#findings.add("tree", "", 0, "the log's stored end is not that of its records");
    const last = this.#checkpoints.at(-1);
    if (records > 0 && last?.size !== records)
      this.#findings.add(
        "signature",
        "",
        0,
        `the last signed size is ${last?.size ?? 0}, the log has ${records} records`,
      );
    if (this.#expect !== null && this.#expect.size > records)
      this.#findings.add("tree", "", 0, `the expected checkpoint has ${this.#expect.size} records, the log ${records}`);
  }

  checkpointText(): string | null {
    const last = this.#checkpoints.at(-1);
    if (last === undefined || this.#publicKey === null) return null;
    return `${last.size}:${last.root.toString("base64")}`;
  }
}

function signed(publicKey: string, checkpoint: Checkpoint): boolean {
  try {
    return verifyCheckpoint(publicKey, checkpoint);
  } catch {
    return false;
  }
}
