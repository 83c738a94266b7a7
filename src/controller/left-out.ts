/**
 * Namespaces with so many policies, targets or freezes that nothing of them is kept. What their objects would have said is not known
 * here, and it may be a denial or a freeze: so their pods are frozen until there are fewer.
 */
import type { Frozen } from "#contract/freeze.ts";
import type { Told } from "#kube/events.ts";

export type LeftOutKind = "policies" | "targets" | "freezes";
export const LEFT_OUT_KINDS: readonly LeftOutKind[] = ["policies", "targets", "freezes"];

/** Namespace → since when (RFC 3339), by what it has too many of. */
export type LeftOut = Map<LeftOutKind, ReadonlyMap<string, string>>;

const reasonOf = (kind: LeftOutKind): string =>
  `the cluster has more ${kind} than the gateway keeps, and this namespace the most; there have to be fewer`;

/** Null: what it has is kept. */
export function leftOutFreeze(leftOut: LeftOut, namespace: string): Frozen | null {
  for (const [kind, namespaces] of leftOut) {
    const since = namespaces.get(namespace);
    if (since !== undefined)
      return { scope: "namespace", by: "the gateway", reason: reasonOf(kind), since, id: `left-out-${kind}` };
  }
  return null;
}

/** On the namespace. */
export function leftOutNotice(name: string, uid: string, kind: LeftOutKind): Told {
  return {
    about: { apiVersion: "v1", kind: "Namespace", metadata: { name, uid } },
    type: "Warning",
    reason: "LeftOut",
    message: `its agents are frozen: ${reasonOf(kind)}`,
  };
}
