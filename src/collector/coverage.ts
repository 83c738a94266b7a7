/**
 * What the record covers of a namespace's pods: each sidecar's life, first and last line, and every hole. `audit coverage` lays it
 * beside the pods that the API server knows.
 */
import { CONTROL_BOOT } from "./act.ts";
import { namespaceOf } from "./retention.ts";
import { number, parse, text } from "./rows.ts";
import type { RecordStore } from "./store/port.ts";

/** One life of one sidecar. */
export interface CoveredBoot {
  readonly boot: string;
  readonly pod: string;
  /** "" where the sender's name did not bear it. */
  readonly uid: string;
  /** Our clock, ms. */
  readonly firstAt: number;
  readonly seenAt: number;
  /** First line that is kept; lines before it were removed by retention. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Lines that never came. */
  readonly missing: number;
  readonly end: "running" | "stopped" | "accepted" | "missing";
}

/** `namespaces`: null: all, of the collector's own cluster. */
export async function coverageOf(
  store: RecordStore,
  namespaces: ReadonlySet<string> | null,
  times: { readonly sinceMs: number; readonly nowMs: number; readonly aliveMs: number },
): Promise<readonly CoveredBoot[]> {
  const accepted = await acceptedEnds(store);
  const found: CoveredBoot[] = [];
  for (const row of await store.boots()) {
    const { boot, pod, subject, firstAt, seenAt, lastSeq, baseSeq, stopped } = row;
    if (boot === CONTROL_BOOT || row.cluster !== "" || seenAt < times.sinceMs) continue;
    if (namespaces !== null && !namespaces.has(namespaceOf(row))) continue;
    const silent = times.nowMs - seenAt >= times.aliveMs;
    const end = stopped
      ? "stopped"
      : !silent
        ? "running"
        : (accepted.get(boot) ?? 0) >= lastSeq
          ? "accepted"
          : "missing";
    const missing = lastSeq - baseSeq - (await store.count(boot, lastSeq));
    const uid = subject.startsWith(`${pod}/`) ? subject.slice(pod.length + 1) : "";
    found.push({ boot, pod, uid, firstAt, seenAt, firstSeq: baseSeq + 1, lastSeq, missing, end });
  }
  return found;
}

/** Boot → up to which line its missing end was accepted. */
export async function acceptedEnds(store: RecordStore): Promise<ReadonlyMap<string, number>> {
  const acts = await store.find({ kinds: ["act"], boot: CONTROL_BOOT, text: '"act":"accept"', limit: 100_000 });
  return new Map(
    acts.toReversed().map(({ core }) => {
      const members = parse(core);
      return [text(members?.["boot"]) ?? "", number(members?.["through"]) ?? 0];
    }),
  );
}
