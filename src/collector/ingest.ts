/**
 * Takes batches: checks who sends, checks the chain, drops what is stored already, appends to the Merkle log, signs, and
 * acknowledges only after the store says that it is durable. `(request) → response`, no transport in it.
 *
 * Errs towards keeping: a broken chain or a hole is stored and told (`audit verify` names it), since refusing it would keep
 * everything behind it from the record; only a sender that is not allowed to write this boot is refused.
 */
import { type Commit, readBatch } from "#audit/batch.ts";
import { detailHash, genesis, linkParts } from "#audit/chain.ts";
import type { Clock } from "#core/clock.ts";
import { CONTROL_BOOT } from "./act.ts";
import type { Signer } from "./checkpoint.ts";
import { Peaks } from "./merkle.ts";
import { type CoreRead, object, podOf, rowOf, text } from "./rows.ts";
import type { Append, BootRow, CommitRow, DetailRow, RecordRow, RecordStore } from "./store/port.ts";

/** Who sends, as the authenticator found out. `claims` (cluster): the boot line must say the same. */
export interface Sender {
  readonly subject: string;
  readonly claims: {
    readonly namespace: string;
    readonly pod: string;
    readonly uid: string;
    /** By whose token issuer; absent: not told apart. */
    readonly cluster?: { readonly name: string; readonly own: boolean };
  } | null;
}

export interface IngestRequest {
  readonly boot: string;
  readonly lines: Uint8Array;
  readonly gap: boolean;
  readonly sender: Sender;
}

export type IngestAnswer =
  | { readonly kind: "acknowledged"; readonly seq: number }
  | { readonly kind: "refused"; readonly status: 400 | 403 | 503 | 507; readonly why: string };

export type Finding = "chain" | "gap" | "detail" | "malformed" | "incomplete";

export interface IngestOptions {
  readonly store: RecordStore;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly onFinding?: (finding: Finding, boot: string, seq: number) => void;
  /** Whether the volume has room; false: nothing is taken, senders keep what they have. */
  readonly room?: () => boolean;
  /** Told of what was stored: how many lines, and the newest one's time. */
  readonly onStored?: (records: number, newestMs: number) => void;
  /** Told of each denial that was stored. Must not throw. */
  readonly onDenied?: (sender: Sender, row: RecordRow) => void;
}

export type Ingest = (request: IngestRequest) => Promise<IngestAnswer>;

/** Another process may write to the same store: after so many lost races something else is wrong. */
const TRIES = 8;

export function createIngest(options: IngestOptions): Ingest {
  // One batch after the other: each needs the log's end that the one before made.
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const mine = last.then(() => take(options, request));
    last = mine.catch(() => {});
    return mine;
  };
}

async function take(options: IngestOptions, request: IngestRequest): Promise<IngestAnswer> {
  const { store } = options;
  if (request.boot === CONTROL_BOOT) return { kind: "refused", status: 403, why: "this chain is the collector's own" };
  // Before anything is looked at: a full volume must not cost more than an answer.
  if (options.room?.() === false && request.lines.length > 0)
    return { kind: "refused", status: 507, why: "the collector's volume has no room" };
  const { commits, complete } = readBatch(request.lines);
  if (!complete) options.onFinding?.("incomplete", request.boot, 0);
  for (let tries = 0; tries < TRIES; tries++) {
    const known = await store.boot(request.boot);
    if (known !== null && !belongs(known, request.sender))
      return { kind: "refused", status: 403, why: "this boot belongs to another sender" };
    const plan = planOf(options, request, known, commits);
    if (plan.refused !== null) return { kind: "refused", status: 403, why: plan.refused };
    if (plan.boot === null) {
      if (known !== null) await store.seen(request.boot, options.clock.wallMs());
      return { kind: "acknowledged", seq: known?.lastSeq ?? 0 };
    }
    if (await store.append(await changeOf(options, plan, plan.boot, known?.lastSeq ?? 0))) {
      options.onStored?.(plan.records.length, plan.records.at(-1)?.t ?? 0);
      if (options.onDenied !== undefined)
        for (const row of plan.records)
          if (row.kind === "op" && row.verdict === "deny") options.onDenied(request.sender, row);
      for (const f of plan.findings) options.onFinding?.(f.finding, request.boot, f.seq);
      return { kind: "acknowledged", seq: plan.boot.lastSeq };
    }
  }
  return { kind: "refused", status: 503, why: "the store is too busy" };
}

/** Nobody adds to another's boot. Before subjects bore the pod's uid they were its namespace and name alone. */
function belongs({ subject, cluster }: BootRow, { subject: sender, claims }: Sender): boolean {
  if (subject === sender) return true;
  if (claims === null || claims.cluster?.own === false) return false;
  return cluster === "" && subject === `${claims.namespace}/${claims.pod}`;
}

interface Plan {
  boot: BootRow | null;
  refused: string | null;
  readonly records: RecordRow[];
  readonly details: DetailRow[];
  readonly commits: CommitRow[];
  readonly findings: { readonly finding: Finding; readonly seq: number }[];
}

function planOf(
  options: IngestOptions,
  request: IngestRequest,
  known: BootRow | null,
  commits: readonly Commit[],
): Plan {
  const plan: Plan = { boot: null, refused: null, records: [], details: [], commits: [], findings: [] };
  const now = options.clock.wallMs();
  let tip: BootRow = known ?? {
    boot: request.boot,
    subject: request.sender.subject,
    pod: request.sender.claims === null ? "" : `${request.sender.claims.namespace}/${request.sender.claims.pod}`,
    firstAt: now,
    seenAt: now,
    lastSeq: 0,
    chain: genesis(request.boot),
    stopped: false,
    cluster: request.sender.claims?.cluster?.own === false ? request.sender.claims.cluster.name : "",
    baseSeq: 0,
    baseChain: "",
  };
  for (const commit of commits) {
    if (commit.lastSeq <= tip.lastSeq) continue; // stored already
    const first = commit.cores[0]?.seq ?? commit.lastSeq;
    const hole = first !== tip.lastSeq + 1;
    if (hole && !request.gap) break;
    if (hole) plan.findings.push({ finding: "gap", seq: first });
    else if (linkParts(tip.chain, commit.coreBytes) !== commit.hash)
      plan.findings.push({ finding: "chain", seq: first });
    const next = takeCommit(plan, request, tip, commit);
    if (next === null) return plan;
    tip = { ...next, seenAt: now, lastSeq: commit.lastSeq, chain: commit.hash };
    plan.boot = tip;
  }
  return plan;
}

function takeCommit(plan: Plan, request: IngestRequest, tip: BootRow, commit: Commit): BootRow | null {
  let next = tip;
  let above = tip.lastSeq;
  if (commit.strays > 0) plan.findings.push({ finding: "malformed", seq: commit.lastSeq });
  for (const line of commit.cores) {
    // A number out of order has no place of its own; the chain shows it.
    if (line.seq <= above || line.seq > commit.lastSeq) {
      plan.findings.push({ finding: "malformed", seq: line.seq });
      continue;
    }
    above = line.seq;
    const read = rowOf(request.boot, line);
    if (read.row.kind === "malformed") plan.findings.push({ finding: "malformed", seq: line.seq });
    if (read.row.kind === "boot") {
      const refused = bootRefused(read, request);
      if (refused !== null) {
        plan.refused = refused;
        return null;
      }
      next = { ...next, pod: podOf(read.members) };
    }
    if (read.row.kind === "stop") next = { ...next, stopped: true };
    plan.records.push(read.row);
    takeDetail(plan, request.boot, read, commit);
  }
  plan.commits.push({ boot: request.boot, lastSeq: commit.lastSeq, hash: commit.hash });
  return next;
}

function takeDetail(plan: Plan, boot: string, read: CoreRead, commit: Commit): void {
  const expected = text(read.members?.["dh"]);
  const detail = commit.details.get(read.row.seq);
  if (detail !== undefined) plan.details.push({ boot, seq: detail.seq, salt: detail.salt, text: detail.text });
  const actual = detail === undefined ? null : detailHash(detail.salt, detail.text);
  if (actual !== expected) plan.findings.push({ finding: "detail", seq: read.row.seq });
}

function bootRefused(read: CoreRead, request: IngestRequest): string | null {
  if (text(read.members?.["boot"]) !== request.boot) return "the boot line names another boot";
  const { claims } = request.sender;
  if (claims === null) return null;
  const workload = object(read.members?.["workload"]);
  const same =
    workload["namespace"] === claims.namespace && workload["pod"] === claims.pod && workload["uid"] === claims.uid;
  if (!same) return "the boot line names another pod";
  const { cluster } = claims;
  return cluster === undefined || workload["cluster"] === cluster.name ? null : "the boot line names another cluster";
}

async function changeOf(options: IngestOptions, plan: Plan, boot: BootRow, bootSeq: number): Promise<Append> {
  const log = await options.store.log();
  const tree = new Peaks(log.size, log.peaks);
  for (const record of plan.records) tree.append(record.leaf);
  return {
    from: { logSize: log.size, bootSeq },
    boot,
    records: plan.records,
    details: plan.details,
    commits: plan.commits,
    erase: [],
    log: { size: tree.size, peaks: tree.toBlob() },
    checkpoint: options.signer.sign(tree.size, tree.root(), options.clock.wallMs()),
  };
}
