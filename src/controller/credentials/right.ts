/**
 * Whether a pod may have a credential: it must have the target, as it is now; the target must name the credential; and a policy in
 * force for the pod must be able to put it in. Pure, out of what every replica knows.
 *
 * Errs towards refusing: a name that a policy computes counts as any name, but only of policies that are in force for this pod, and
 * only for the one credential that the target names.
 */
import type { PodIdentity } from "#identity/pod-token.ts";
import type { BundleMetadata } from "#policy/manifest.ts";
import { claimsOf } from "../claimed.ts";
import type { Fleet, Known } from "../fleet.ts";
import type { ObservedTarget } from "../observed.ts";
import { bindingOf } from "../policy-set.ts";
import type { Asked, Refused } from "./asking.ts";

export function refuse(status: Refused["status"], code: string, why: string): Refused {
  return { kind: "refused", status, code, why };
}

export interface RightOptions {
  readonly known: Known;
  readonly fleet: Fleet;
  readonly own: string;
  readonly checkCaller: boolean;
}

export function targetFor(
  { identity, address, asked }: { readonly identity: PodIdentity; readonly address: string; readonly asked: Asked },
  { known, fleet, own, checkCaller }: RightOptions,
): { readonly kind: "target"; readonly target: ObservedTarget } | Refused {
  const assigned = fleet.assigned.get(identity.uid);
  if (assigned === undefined) return refuse(503, "unknown_pod", "this pod is not known to the controller (yet)");
  const { pod, set, frozen } = assigned;
  if (pod.namespace !== identity.namespace || pod.name !== identity.pod)
    return refuse(403, "unknown_pod", "the token is another pod's");
  if (checkCaller && !pod.addresses.includes(address))
    return pod.addresses.length === 0
      ? refuse(503, "caller", "this pod's address is not known to the controller yet")
      : refuse(403, "caller", "the request does not come from the pod's address");
  if (frozen !== null) return refuse(403, "frozen", "this pod is frozen");
  const target = targetNamed(asked.target, known, own, set.targetsOf);
  if (target === undefined) return refuse(404, "no_target", `this pod has no target ${asked.target}`);
  if (target.spec.credential !== asked.name)
    return refuse(404, "not_named", `target ${asked.target} does not name the credential ${asked.name}`);
  const stored = known.stored.get(set.id);
  if (stored === undefined) return refuse(503, "no_bundle", "this pod's policies have not been compiled");
  const ofCluster = target.namespace === own;
  if (!mayPutIn(stored.parts.metadata, asked.name, ofCluster))
    return refuse(
      403,
      "no_policy",
      ofCluster
        ? `target ${asked.target} is the cluster's, and no ClusterAgentPolicy in force for this pod puts the credential ${asked.name} in`
        : `no policy in force for this pod puts the credential ${asked.name} in`,
    );
  // A moment ago, on another replica or in the pod's bundle, it may have been another one.
  if (bindingOf(target) !== asked.binding)
    return refuse(503, "changed", `target ${asked.target} has just changed; the pod's bundle is another one`);
  return { kind: "target", target };
}

/** As `targetsFor`, of one name: the cluster's own stands before a namespace's. */
function targetNamed(name: string, known: Known, own: string, namespace: string): ObservedTarget | undefined {
  const ofCluster = known.targets.get(`${own}/${name}`);
  if (ofCluster !== undefined) return ofCluster.malformed === "" ? ofCluster : undefined;
  const its = namespace === "" || namespace === own ? undefined : known.targets.get(`${namespace}/${name}`);
  if (its === undefined || its.malformed !== "") return undefined;
  const claims = claimsOf([...known.targets.values()].filter((target) => target.namespace === own));
  return claims.taken(its) === null ? its : undefined;
}

/**
 * `credential := "name"` says which; a computed one may be any. What only observes puts nothing in. A credential of the cluster is the
 * cluster's to give: every namespace has its targets, and could otherwise help itself to them by a policy of its own.
 */
function mayPutIn({ rules, policies }: BundleMetadata, name: string, ofCluster: boolean): boolean {
  const counting = new Set(
    policies
      .filter(({ mode, scope }) => mode === "enforce" && (!ofCluster || scope === "cluster"))
      .map((policy) => policy.name),
  );
  return rules.some(
    ({ rule, policy, code }) => rule === "credential" && counting.has(policy) && (code === null || code === name),
  );
}
