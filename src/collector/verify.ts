/**
 * Proves the record, offline, from the store alone: every line against its leaf, every column against its line, every detail
 * against its salted hash, every commit against the chain, the leaves against the signed checkpoints; and names what has no end.
 *
 * Errs towards a finding. What it cannot know: whether a newer log was replaced as a whole by an older one, or a key by another.
 * For that, keep a checkpoint or the public key elsewhere (`expect`, `publicKey`).
 */
import { originOf } from "./checkpoint.ts";
import { Findings, type VerifyFinding } from "./finding.ts";
import type { RecordStore, ScanRow } from "./store/port.ts";
import { ActsRead } from "./verify-acts.ts";
import { BootCheck } from "./verify-boot.ts";
import { LogCheck } from "./verify-log.ts";

export interface VerifyReport {
  readonly ok: boolean;
  readonly records: number;
  readonly boots: number;
  /** Sidecars that gave a sign of life a moment ago: theirs is no missing tail. */
  readonly running: number;
  readonly erased: number;
  /** Lines that retention removed, as its acts say. */
  readonly removed: number;
  /** Sidecars without their last line, whose end somebody accepted. */
  readonly accepted: number;
  readonly checkpoints: number;
  readonly origin: string | null;
  /** "<size>:<root in base64>": keep it elsewhere, and give it as `expect` next time. */
  readonly checkpoint: string | null;
  /** At most MAX_FINDINGS; `found` counts all. */
  readonly findings: readonly VerifyFinding[];
  readonly found: number;
}

export interface VerifyOptions {
  readonly store: RecordStore;
  readonly nowMs: number;
  /** A boot that was seen within this is running. */
  readonly aliveMs: number;
  /** PEM; default: what the store says of itself. */
  readonly publicKey: string | null;
  readonly expect: { readonly size: number; readonly root: string } | null;
  /** Awaited between pages: whoever has something else to do does it then. */
  readonly pause?: () => Promise<void>;
}

export const ALIVE_MS = 90_000;
const PAGE = 2_000;

/** Of one state of the store, also while a collector writes. */
export async function verifyStore(options: VerifyOptions): Promise<VerifyReport> {
  return await options.store.consistent(() => verifyState(options));
}

async function verifyState(options: VerifyOptions): Promise<VerifyReport> {
  const { store } = options;
  const findings = new Findings();
  const named = options.publicKey ?? (await store.publicKey());
  const origin = named === null ? null : originOrNull(named);
  const publicKey = origin === null ? null : named;
  if (publicKey === null) findings.add("signature", "", 0, "there is no public key to check signatures with");
  const checkpoints = await store.checkpoints();
  const trees = await store.removed();
  const log = new LogCheck(findings, checkpoints, publicKey, options.expect, trees);
  const acts = new ActsRead();
  const boots = new Map<string, BootCheck>();
  const known = new Map((await store.boots()).map((b) => [b.boot, b]));
  const erasedByAct = new Set<string>();
  const erased: string[] = [];
  let records = 0;
  for (let from = 0; ; ) {
    const page: readonly ScanRow[] = await store.scan(from, PAGE);
    for (const scanned of page) {
      const { boot } = scanned.row;
      let check = boots.get(boot);
      if (check === undefined) {
        check = new BootCheck(findings, boot, await store.commits(boot), known.get(boot) ?? null);
        boots.set(boot, check);
      }
      log.take(scanned);
      check.take(scanned, erasedByAct);
      acts.take(scanned.row);
      if (scanned.erased) erased.push(`${boot}-${scanned.row.seq}`);
      records++;
    }
    const last = page.at(-1);
    if (last === undefined) break;
    from = last.index + 1;
    await options.pause?.();
  }
  const gone = trees.reduce((sum, { level }) => sum + 2 ** level, 0);
  log.finish(await store.log(), records + gone);
  acts.finish(findings, known, gone);
  let running = 0;
  let accepted = 0;
  for (const [boot, check] of boots) {
    const end = check.finish(known.get(boot) ?? null, { ...options, accepted: acts.accepted.get(boot) ?? 0 });
    if (end === "running") running++;
    if (end === "accepted") accepted++;
  }
  for (const [boot, row] of known)
    if (!boots.has(boot) && row.lastSeq > row.baseSeq)
      findings.add("gap", boot, 1, "all its lines are gone", row.lastSeq);
  for (const id of erased)
    if (!erasedByAct.has(id))
      findings.add("detail", ...idParts(id), "its detail is gone, and no act of erasure says so");
  return {
    ok: findings.count === 0,
    records,
    boots: boots.size,
    running,
    erased: erased.length,
    removed: gone,
    accepted,
    checkpoints: checkpoints.length,
    origin,
    checkpoint: log.checkpointText(),
    findings: findings.list,
    found: findings.count,
  };
}

function originOrNull(pem: string): string | null {
  try {
    return originOf(pem);
  } catch {
    return null;
  }
}

function idParts(id: string): [boot: string, seq: number] {
  const at = id.lastIndexOf("-");
  return [id.slice(0, at), Number(id.slice(at + 1))];
}
