/**
 * Retention: what is older than its namespace's limit goes, and, where the store is larger than it may be, the oldest of all. A boot
 * loses whole commits from its beginning; the chain of the rest, the Merkle tree and its signed checkpoints stay provable, and each
 * removal is an act on record, in the same step, that `verify` holds against what is gone.
 *
 * Errs towards keeping: a namespace under legal hold loses nothing, a line that may be young enough stays with its whole commit, and
 * acts of the control plane are never removed. A sender's clock decides nothing alone: a line is at least as old as its boot's last
 * sign of life, and at most as old as its first, by our clock.
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
}

const DAY_MS = 86_400_000;
/** Boots that one act names, and lines that one step removes at most: a step holds up those who write. */
const BOOTS_PER_ACT = 200;
const LINES_PER_ACT = 20_000;
/** Where the store is too large, the time that the record spans goes in so many steps, as far as it must. */
const SIZE_STEPS = 20;

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
  const first = rules.maxBytes > 0 ? await oldestOf(options, rules) : null;
  let size = 0;
  const steps = first === null ? 0 : SIZE_STEPS;
  for (let step = 1; step <= steps; step++) {
    if ((await store.usage()).bytes <= rules.maxBytes) break;
    const before = (first ?? now) + ((now - (first ?? now)) * step) / SIZE_STEPS;
    size += await sweep(options, rules, { reason: "size", before: () => before, pause });
  }
  if (age + size > 0) await store.shrink();
  return { age, size };
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
  for (const boot of await store.boots()) {
    const cutoff = before(boot);
    if (cutoff <= 0 || !removable(boot, rules)) continue;
    const plan = await planOf(options, boot, cutoff);
    if (plan === null) continue;
    planned.push(plan);
    lines += plan.count;
    if (planned.length >= BOOTS_PER_ACT || lines >= LINES_PER_ACT) await flush();
  }
  await flush();
  return total;
}

/** Null: nothing of it is old enough. */
async function planOf({ store }: ActOptions, row: BootRow, cutoff: number): Promise<Planned | null> {
  const { boot, pod, firstAt, seenAt, lastSeq, baseSeq, baseChain, chain, stopped } = row;
  if (firstAt >= cutoff) return null;
  const silent = seenAt < cutoff;
  const commit = silent ? { lastSeq, hash: chain } : await store.commitBefore(boot, cutoff);
  const through = commit?.lastSeq ?? 0;
  const whole = silent && through >= lastSeq;
  if (commit === null || through <= baseSeq) {
    // All of it went before; now that it is silent, it is forgotten too.
    return whole && stopped ? { boot, pod, through: baseSeq, chain: baseChain, whole, count: 0 } : null;
  }
  return { boot, pod, through, chain: commit.hash, whole, count: await store.count(boot, through) };
}

async function oldestOf({ store }: ActOptions, rules: RetentionRules): Promise<number | null> {
  const times = (await store.boots())
    .filter((boot) => removable(boot, rules) && boot.lastSeq > boot.baseSeq)
    .map(({ firstAt }) => firstAt);
  const first = times.reduce((least, t) => Math.min(least, t), Number.POSITIVE_INFINITY);
  if (first === Number.POSITIVE_INFINITY) return null;
  return first;
}

function removable(boot: BootRow, { legalHolds }: RetentionRules): boolean {
  return boot.boot !== CONTROL_BOOT && !legalHolds.has(namespaceOf(boot));
}

/** Of `namespace/pod`; "" outside of a cluster. */
export function namespaceOf({ pod }: Pick<BootRow, "pod">): string {
  const at = pod.indexOf("/");
  return at < 0 ? "" : pod.slice(0, at);
}
