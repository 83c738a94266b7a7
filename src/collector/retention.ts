/**
 * Retention: what is older than its namespace's limit goes, and, where the store is larger than it may be, the oldest of all. A boot
 * loses whole commits from its beginning; the chain of the rest, the Merkle tree and its signed checkpoints stay provable, and each
 * removal is an act on record, in the same step, that `verify` holds against what is gone.
 *
 * Errs towards keeping: a namespace under legal hold loses nothing, a line that may be young enough stays with its whole commit, and
 * acts of the control plane are never removed; for want of space alone the newest part of the record does not go, and a sidecar that
 * may still run is not forgotten. A sender's clock decides nothing alone: a line is at least as old as its boot's last sign of life,
 * and at most as old as its first, by our clock.
 */
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { type ActOptions, CONTROL_BOOT, recordAct } from "./act.ts";
import type { BootRow, Removal } from "./store/port.ts";

const days = Type.Number({ minimum: 0, maximum: 36_500 });
const Schema = Type.Object(
  {
    /** Days that lines are kept; 0: for ever. */
    days: Type.Optional(days),
    /** Bytes that the store may have before the oldest lines go; 0: no bound but the volume's. */
    maxBytes: Type.Optional(Type.Number({ minimum: 0 })),
    /** Namespace → days. */
    namespaces: Type.Optional(Type.Record(Type.String(), Type.Object({ days }))),
    /** Namespaces of which nothing is removed. */
    legalHolds: Type.Optional(Type.Array(Type.String(), { maxItems: 10_000 })),
  },
  { additionalProperties: false },
);

export interface RetentionRules {
  readonly days: number;
  readonly maxBytes: number;
  readonly namespaces: ReadonlyMap<string, number>;
  readonly legalHolds: ReadonlySet<string>;
}

export const KEEP_ALL: RetentionRules = { days: 0, maxBytes: 0, namespaces: new Map(), legalHolds: new Set() };
const schema = Compile(Schema);

/** JSON of the chart's ConfigMap. Throws where it does not fit: what is not understood removes nothing. */
export function readRetention(text: string): RetentionRules {
  const given: unknown = JSON.parse(text);
  if (!schema.Check(given)) {
    const [first] = schema.Errors(given);
    throw new TypeError(
      `retention${first?.instancePath.replaceAll("/", ".") ?? ""}: ${first?.message ?? "is malformed"}`,
    );
  }
  return {
    days: given.days ?? 0,
    maxBytes: given.maxBytes ?? 0,
    namespaces: new Map(Object.entries(given.namespaces ?? {}).map(([name, rule]) => [name, rule.days])),
    legalHolds: new Set(given.legalHolds ?? []),
  };
}

export interface Removed {
  readonly age: number;
  readonly size: number;
  /** Bytes that the store is over its bound still: of namespaces under legal hold, of acts, or of lines that are too young. */
  readonly overBytes: number;
}

const DAY_MS = 86_400_000;
/** Boots that one act names, and lines that one step removes at most: a step holds up those who write. */
const BOOTS_PER_ACT = 200;
const LINES_PER_ACT = 5_000;
/** Where the store is too large, the time that the record spans goes in so many steps, as far as it must; the last one never. */
const SIZE_STEPS = 20;
/** A sidecar without a sign of life for so long does not come back. */
const LOST_MS = DAY_MS;

/** One round. Rejects where the store fails; what was removed until then is on record. `pause`: between the steps. */
export async function retain(
  options: ActOptions,
  rules: RetentionRules,
  pause: () => Promise<void> = () => Promise.resolve(),
): Promise<Removed> {
  const { store, clock } = options;
  const now = clock.wallMs();
  const aged = (boot: BootRow): number => {
    const keep = rules.namespaces.get(namespaceOf(boot)) ?? rules.days;
    return keep === 0 ? 0 : now - keep * DAY_MS;
  };
  const age = await sweep(options, rules, { reason: "age", before: aged, pause });
  const over = async (): Promise<number> =>
    rules.maxBytes === 0 ? 0 : Math.max(0, (await store.usage()).liveBytes - rules.maxBytes);
  let overBytes = await over();
  const first = overBytes > 0 ? await oldestOf(options, rules) : null;
  let size = 0;
  const steps = first === null ? 0 : SIZE_STEPS - 1;
  for (let step = 1; step <= steps && overBytes > 0; step++) {
    const before = (first ?? now) + ((now - (first ?? now)) * step) / SIZE_STEPS;
    size += await sweep(options, rules, { reason: "size", before: () => before, pause });
    overBytes = await over();
  }
  if (age + size > 0) await store.shrink(pause);
  return { age, size, overBytes };
}

interface Sweep {
  readonly reason: "age" | "size";
  /** Lines older than this go; 0: none. */
  readonly before: (boot: BootRow) => number;
  readonly pause: () => Promise<void>;
}

interface Planned extends Removal {
  readonly pod: string;
  readonly count: number;
}

async function sweep(options: ActOptions, rules: RetentionRules, { reason, before, pause }: Sweep): Promise<number> {
  const { store } = options;
  let planned: Planned[] = [];
  let lines = 0;
  let total = 0;
  const flush = async (): Promise<void> => {
    if (planned.length === 0) return;
    const boots = planned.map(({ boot, pod, through, chain, count }) => ({ boot, pod, through, chain, count }));
    const members = { by: "retention", reason, count: lines, boots };
    await recordAct(options, "remove", members, { remove: planned });
    total += lines;
    planned = [];
    lines = 0;
    await pause();
  };
  const take = async (plan: Planned): Promise<void> => {
    if (planned.length >= BOOTS_PER_ACT || lines + plan.count > LINES_PER_ACT) await flush();
    planned.push(plan);
    lines += plan.count;
  };
  for (const boot of await store.boots()) {
    const cutoff = before(boot);
    if (cutoff <= 0 || !removable(boot, rules)) continue;
    let plan = await planOf(options, boot, cutoff);
    while (plan !== null) {
      await take(plan);
      if (plan.through >= boot.lastSeq) break;
      const { through: baseSeq, chain: baseChain } = plan;
      plan = await planOf(options, { ...boot, baseSeq, baseChain }, cutoff);
      // One act names a boot once.
      if (plan !== null) await flush();
    }
  }
  await flush();
  return total;
}

/** The next part of it, as much as one act removes. Null: nothing of it is old enough. */
async function planOf({ store, clock }: ActOptions, row: BootRow, cutoff: number): Promise<Planned | null> {
  const { boot, pod, firstAt, seenAt, lastSeq, baseSeq, baseChain, stopped } = row;
  if (firstAt >= cutoff) return null;
  const silent = seenAt < cutoff;
  const ended = silent && (stopped || clock.wallMs() - seenAt >= LOST_MS);
  // All of it went before; now that it has ended, it is forgotten too.
  if (baseSeq >= lastSeq)
    return ended ? { boot, pod, through: baseSeq, chain: baseChain, whole: true, count: 0 } : null;
  const young = silent ? Number.POSITIVE_INFINITY : cutoff;
  const commit = await store.commitBefore(boot, young, { after: baseSeq, most: LINES_PER_ACT });
  if (commit === null) return null;
  const through = commit.lastSeq;
  const whole = ended && through >= lastSeq;
  return { boot, pod, through, chain: commit.hash, whole, count: await store.count(boot, through, baseSeq) };
}

/** When the oldest line that may be removed was written: by the sender's clock, within what ours allows. */
async function oldestOf({ store }: ActOptions, rules: RetentionRules): Promise<number | null> {
  let oldest: number | null = null;
  for (const row of await store.boots()) {
    if (!removable(row, rules) || row.lastSeq <= row.baseSeq) continue;
    const t = (await store.firstTime(row.boot)) ?? row.firstAt;
    const first = Math.max(row.firstAt, Math.min(t, row.seenAt));
    oldest = Math.min(oldest ?? first, first);
  }
  return oldest;
}

function removable(boot: BootRow, { legalHolds }: RetentionRules): boolean {
  return boot.boot !== CONTROL_BOOT && !legalHolds.has(namespaceOf(boot));
}

/** Of `namespace/pod`; "" outside of a cluster. */
export function namespaceOf({ pod }: Pick<BootRow, "pod">): string {
  const at = pod.indexOf("/");
  return at < 0 ? "" : pod.slice(0, at);
}
