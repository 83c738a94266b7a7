/**
 * A freeze: the switch for the bad day. While it is in force everything that the pod asks is denied, in observe mode too, until
 * somebody lifts it. It travels in the settings of the pod's signed bundle, so a sidecar that restarts while nobody answers stays frozen.
 */
export interface Frozen {
  readonly scope: "all" | "namespace" | "pod" | "run";
  /** Who froze it: the API server's name of the user. */
  readonly by: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
  /** Names the freeze in the record: the object's uid, or the run's id. */
  readonly id: string;
}

export const FREEZE_SCOPES: readonly Frozen["scope"][] = ["all", "namespace", "pod", "run"];

/** What an agent reads: one sentence. Raw text: whoever shows it escapes it. */
export function frozenText({ scope, by, reason, since }: Frozen): string {
  const what = scope === "all" ? "Every agent" : scope === "namespace" ? "This namespace" : `This ${scope}`;
  return `${what} was frozen by ${by} at ${since}: ${reason}`;
}

/** One freeze as it stands in the cluster. */
export interface FreezeEntry {
  /** Where the object is: its namespace is what it freezes, our own one: everything. */
  readonly namespace: string;
  readonly name: string;
  /** Null: not one pod only. */
  readonly pod: string | null;
  readonly frozen: Frozen;
  /** Null: in force. */
  readonly lifted: { readonly by: string; readonly reason: string } | null;
}

/** The freeze that holds for a pod: the widest, then the oldest. Null: none. `own`: the gateway's own namespace. */
export function freezeOf(
  entries: Iterable<FreezeEntry>,
  own: string,
  pod: { readonly namespace: string; readonly name: string },
): Frozen | null {
  let found: FreezeEntry | null = null;
  for (const entry of entries) {
    if (entry.lifted !== null) continue;
    const concerns =
      entry.frozen.scope === "all"
        ? entry.namespace === own
        : entry.namespace === pod.namespace && (entry.pod === null || entry.pod === pod.name);
    if (concerns && (found === null || before(entry, found))) found = entry;
  }
  return found?.frozen ?? null;
}

function before({ frozen: a }: FreezeEntry, { frozen: b }: FreezeEntry): boolean {
  const [x, y] = [FREEZE_SCOPES.indexOf(a.scope), FREEZE_SCOPES.indexOf(b.scope)];
  return x !== y ? x < y : a.since !== b.since ? a.since < b.since : a.id < b.id;
}
