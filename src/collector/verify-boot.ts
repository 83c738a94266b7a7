/**
 * One part of `verify`: the lines of one boot. Each line against its leaf and its columns, its detail against the salted hash,
 * the commits against the chain, the numbering without a hole, and sessions, operations and the boot itself against their ends.
 */
import { detailHash, genesis, linkParts } from "#audit/chain.ts";
import { CONTROL_BOOT, CONTROL_POD } from "./act.ts";
import type { Findings } from "./finding.ts";
import { podOf, rowOf, text } from "./rows.ts";
import type { BootRow, CommitRow, RecordRow, ScanRow } from "./store/port.ts";

/** Sessions or operations without an end that are named one by one, for each boot. */
const MAX_NAMED = 20;
const LINE_FEED = Buffer.from("\n");

export class BootCheck {
  readonly #findings: Findings;
  readonly #boot: string;
  readonly #commits: readonly CommitRow[];
  #chain: string;
  #commitAt = 0;
  #first = 1;
  #cores: Uint8Array[] = [];
  #spoilt = false;
  #seq = 0;
  #stopped = false;
  #pod: string | null = null;
  readonly #sessions = new Set<number>();
  readonly #ops = new Set<number>();

  /** `known`: lines up to its `baseSeq` were removed by retention. */
  constructor(findings: Findings, boot: string, commits: readonly CommitRow[], known: BootRow | null) {
    this.#findings = findings;
    this.#boot = boot;
    this.#commits = commits;
    const base = known?.baseSeq ?? 0;
    this.#chain = base > 0 ? (known?.baseChain ?? "") : genesis(boot);
    this.#seq = base;
    this.#first = base + 1;
    if (boot === CONTROL_BOOT) this.#pod = CONTROL_POD;
  }

  take(scanned: ScanRow, erasedByAct: Set<string>): void {
    const { row } = scanned;
    this.#numbering(row);
    const { row: fresh, members } = rowOf(row.boot, { seq: row.seq, bytes: row.core });
    if (!fresh.leaf.equals(row.leaf)) this.#spoil("record", row.seq, "the line is not the one that was stored");
    else this.#columns(row, fresh, members);
    this.#detail(scanned, text(members?.["dh"]));
    this.#ends(row, members);
    if (this.#boot === CONTROL_BOOT && members?.["act"] === "erase" && Array.isArray(members["records"]))
      for (const id of members["records"]) erasedByAct.add(String(id));
    this.#commit(row);
  }

  #numbering(row: RecordRow): void {
    if (row.seq > this.#seq + 1) {
      this.#findings.add("gap", this.#boot, this.#seq + 1, "lines are missing", row.seq - 1);
      this.#spoilt = true;
    } else if (row.seq <= this.#seq) this.#spoil("order", row.seq, `line ${row.seq} comes after line ${this.#seq}`);
    this.#seq = Math.max(this.#seq, row.seq);
  }

  #columns(row: RecordRow, fresh: RecordRow, members: Readonly<Record<string, unknown>> | null): void {
    if (members !== null && members["seq"] !== row.seq) this.#spoil("column", row.seq, "the line has another number");
    if (fresh.kind === "malformed") this.#spoil("fault", row.seq, "the line came in unreadable");
    for (const key of ["t", "kind", "session", "op", "verdict", "protocol", "target", "host", "code", "run"] as const)
      if (row[key] !== fresh[key])
        this.#findings.add("column", this.#boot, row.seq, `the column ${key} is not what the line says`);
  }

  #detail({ row, detail, erased }: ScanRow, expected: string | null): void {
    if (detail !== null) {
      if (erased) this.#findings.add("detail", this.#boot, row.seq, "its detail is there although it was erased");
      if (detailHash(detail.salt, detail.text) !== expected)
        this.#findings.add("detail", this.#boot, row.seq, "the detail is not the one that was recorded");
    } else if (expected !== null && !erased)
      this.#findings.add("detail", this.#boot, row.seq, "its detail is missing, and was not erased");
  }

  #ends(row: RecordRow, members: Readonly<Record<string, unknown>> | null): void {
    switch (row.kind) {
      case "boot":
        this.#pod = podOf(members);
        break;
      case "session":
        this.#sessions.add(row.seq);
        break;
      case "closed":
        this.#sessions.delete(row.session ?? 0);
        break;
      case "op":
        if (row.verdict === "allow") this.#ops.add(row.seq);
        break;
      case "end":
        this.#ops.delete(row.op ?? 0);
        break;
      case "stop":
        this.#stopped = true;
        break;
      default:
    }
  }

  #commit(row: RecordRow): void {
    this.#cores.push(row.core, LINE_FEED);
    let commit = this.#commits[this.#commitAt];
    while (commit !== undefined && row.seq >= commit.lastSeq) {
      // A line that is itself wrong is named already; the chain's finding would only say it again, less exactly.
      if (row.seq > commit.lastSeq)
        this.#findings.add("chain", this.#boot, commit.lastSeq, "the commit's last line is missing");
      else if (!this.#spoilt && linkParts(this.#chain, Buffer.concat(this.#cores)) !== commit.hash)
        this.#findings.add(
          "chain",
          this.#boot,
          this.#first,
          "lines of this commit are not those that were chained",
          row.seq,
        );
      this.#chain = commit.hash;
      this.#first = commit.lastSeq + 1;
      this.#cores = [];
      this.#spoilt = false;
      this.#commitAt++;
      commit = this.#commits[this.#commitAt];
    }
  }

  #spoil(kind: "record" | "order" | "column" | "fault", seq: number, message: string): void {
    this.#findings.add(kind, this.#boot, seq, message);
    this.#spoilt = true;
  }

  /** `known`: what the store says about this boot as a whole. `accepted`: up to which line its missing end was accepted; 0: not. */
  finish(
    known: BootRow | null,
    options: { readonly nowMs: number; readonly aliveMs: number; readonly accepted: number },
  ): "running" | "ended" | "accepted" {
    if (this.#cores.length > 0)
      this.#findings.add("chain", this.#boot, this.#first, "no commit covers these lines", this.#seq);
    if (known === null || known.lastSeq !== this.#seq || known.chain !== this.#chain)
      this.#findings.add("gap", this.#boot, this.#seq, `the last line should be ${known?.lastSeq ?? 0}`);
    if (known !== null && this.#pod !== null && known.pod !== this.#pod)
      this.#findings.add("column", this.#boot, 1, "the pod is not the one that the boot line names");
    if (this.#boot === CONTROL_BOOT) return "ended";
    const age = options.nowMs - (known?.seenAt ?? 0);
    if (!this.#stopped && age < options.aliveMs) return "running";
    // Somebody looked at it as it was then, and said why that is all there will be.
    if (options.accepted >= this.#seq) return "accepted";
    if (!this.#stopped) this.#findings.add("tail", this.#boot, this.#seq, "the sidecar ended without its last line");
    this.#name(this.#sessions, "the connection has no end on record");
    this.#name(this.#ops, "the operation has no outcome on record");
    return "ended";
  }

  #name(open: ReadonlySet<number>, message: string): void {
    const seqs = [...open];
    for (const seq of seqs.slice(0, MAX_NAMED)) this.#findings.add("tail", this.#boot, seq, message);
    const rest = seqs.slice(MAX_NAMED);
    const [first] = rest;
    if (first !== undefined)
      this.#findings.add("tail", this.#boot, first, `${message} (and ${rest.length - 1} more)`, rest.at(-1) ?? first);
  }
}
