/** The leader's work on freezes: counted, put on record, and taken away when they were lifted and that is on record too. */
import type { Acts } from "#audit/acts.ts";
import type { FreezeStatus } from "#contract/freeze-spec.ts";
import { hasStatus, type Kube } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import type { Fleet, Known } from "./fleet.ts";
import type { ObservedFreeze } from "./observed-freeze.ts";

export interface FreezeWork {
  readonly kube: Kube;
  readonly known: Known;
  readonly fleet: Fleet;
  /** Null: there is no collector to tell. */
  readonly acts: Acts | null;
  readonly onFault: (fault: unknown) => void;
}

/**
 * The leader's round: counts each freeze's pods, records what is new of it, takes away what is over. Rejects never. Counting comes first
 * and needs no collector: who froze waits for it. What is not recorded after the collector's first fault is left to the next round.
 */
export async function workOnFreezes(
  { kube, known, fleet, acts, onFault }: FreezeWork,
  signal: AbortSignal,
): Promise<void> {
  const pods = new Map<string, number>();
  for (const { frozen } of fleet.assigned.values())
    if (frozen !== null) pods.set(frozen.id, (pods.get(frozen.id) ?? 0) + 1);
  const countOf = ({ uid }: ObservedFreeze): number => pods.get(uid) ?? 0;
  const write = ({ namespace, name }: ObservedFreeze, status: FreezeStatus): Promise<unknown> =>
    kube.patch(RESOURCE.freeze, { namespace, name }, { status }, "status");
  const tried = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (fault) {
      if (!hasStatus(fault, 404)) onFault(fault);
    }
  };
  const freezes = [...known.freezes.values()];
  for (const freeze of freezes) {
    if (signal.aborted) return;
    const { status } = freeze;
    if ((status.pods ?? -1) !== countOf(freeze)) await tried(() => write(freeze, { ...status, pods: countOf(freeze) }));
  }
  for (const freeze of freezes) {
    if (signal.aborted) return;
    const { namespace, name, lifted, status } = freeze;
    let recorded: FreezeStatus["recorded"];
    try {
      recorded = await record(freeze, acts);
    } catch (fault) {
      onFault(fault);
      return;
    }
    if (lifted !== null && (recorded === "lifted" || acts === null))
      await tried(() => kube.remove(RESOURCE.freeze, { namespace, name }));
    else if (recorded !== undefined && status.recorded !== recorded)
      await tried(() => write(freeze, { pods: countOf(freeze), recorded }));
  }
}

/** What is on record afterwards. An act carries a key, so that one told twice is stored once. */
async function record(freeze: ObservedFreeze, acts: Acts | null): Promise<FreezeStatus["recorded"]> {
  let { recorded } = freeze.status;
  if (acts === null) return recorded;
  const { namespace, name, pod, frozen, lifted, uid } = freeze;
  const subject = { namespace, name, scope: frozen.scope, ...(pod === null ? {} : { pod }) };
  if (recorded === undefined) {
    const { by, reason, since } = frozen;
    await acts.record({ key: `freeze/${uid}`, act: "freeze", members: { ...subject, by, reason, since } });
    recorded = "frozen";
  }
  if (lifted !== null && recorded === "frozen") {
    const { by, reason } = lifted;
    await acts.record({ key: `unfreeze/${uid}`, act: "unfreeze", members: { ...subject, by, reason } });
    recorded = "lifted";
  }
  return recorded;
}

/** One that went away without having been lifted: whoever deleted it is not named anywhere. */
export async function recordGone({ namespace, name, frozen, lifted, uid }: ObservedFreeze, acts: Acts): Promise<void> {
  if (lifted !== null) return;
  const members = { namespace, name, scope: frozen.scope, by: "", reason: "the object was deleted" };
  await acts.record({ key: `unfreeze/${uid}`, act: "unfreeze", members });
}
