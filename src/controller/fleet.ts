/**
 * What every replica knows: the cluster's policies, targets, namespaces, Services, pods with a gateway, and the stored bundles; and out
 * of that, for each pod, which set it has and what it is to be given now. `recompute` is called after changes, with a short delay.
 *
 * Errs towards nothing: a pod that is not known, that admission did not look at, or whose set was never compiled, is given no bundle, and
 * its sidecar denies.
 */
import { type Frozen, freezeOf } from "#contract/freeze.ts";
import type { Clock } from "#core/clock.ts";
import type { InjectionOptions } from "#injection/options.ts";
import type { Offer } from "./bundle-server.ts";
import { NOBODY_LOOKED, whyUnguarded } from "./guarded.ts";
import { FROZEN_BUNDLE, type Issuer, type Surroundings } from "./issue.ts";
import { type LeftOut, leftOutFreeze } from "./left-out.ts";
import type { ObservedNamespace, ObservedPod, ObservedPolicy, ObservedTarget } from "./observed.ts";
import type { ObservedFreeze } from "./observed-freeze.ts";
import { type PolicySet, setFor, targetsFor } from "./policy-set.ts";
import { targetAddresses } from "./services.ts";
import type { StoredBundle } from "./stored-bundle.ts";

/** Filled by the caches; keys as Kubernetes' own (`namespace/name`), stored bundles by their set's id. */
export interface Known {
  readonly policies: Map<string, ObservedPolicy>;
  readonly targets: Map<string, ObservedTarget>;
  readonly namespaces: Map<string, ObservedNamespace>;
  readonly services: Map<string, readonly string[]>;
  readonly pods: Map<string, ObservedPod>;
  readonly stored: Map<string, StoredBundle>;
  readonly freezes: Map<string, ObservedFreeze>;
  readonly leftOut: LeftOut;
}

export function createKnown(): Known {
  return {
    policies: new Map(),
    targets: new Map(),
    namespaces: new Map(),
    services: new Map(),
    pods: new Map(),
    stored: new Map(),
    freezes: new Map(),
    leftOut: new Map(),
  };
}

export interface Assigned {
  readonly pod: ObservedPod;
  readonly set: PolicySet;
  /** Null: its set was never compiled, or it is given none. */
  readonly etag: string | null;
  /** Null: it is not frozen. */
  readonly frozen: Frozen | null;
  /** Why admission has not looked at it; it is given nothing but a freeze. Null: it has. */
  readonly unguarded: string | null;
}

export interface Fleet {
  /** By uid. */
  readonly assigned: ReadonlyMap<string, Assigned>;
  /** The sets that pods have, by id, and how many pods each has. */
  readonly sets: ReadonlyMap<string, { readonly set: PolicySet; readonly pods: number }>;
  /** Uids of pods that are to be given something else than before. */
  recompute(): readonly string[];
  offer(uid: string, address: string): Offer;
}

export interface FleetOptions {
  readonly known: Known;
  /** Our own namespace, whose targets are the cluster's. */
  readonly own: string;
  readonly issuer: Issuer;
  readonly clock: Clock;
  readonly checkCaller: boolean;
  /** `namespace/name` of the cluster's DNS Service. */
  readonly dns: string;
  /** Namespaces whose agents go on unrecorded where the record is full. */
  readonly onFullAllowed?: ReadonlySet<string>;
  /** What values say of exclusions and exemptions; absent or null: not known. */
  readonly injection?: () => Pick<InjectionOptions, "excludedNamespaces" | "exemptions"> | null;
  /** Why a set has no bundle, when that is known here. */
  readonly why: (set: PolicySet) => string;
}

export function createFleet(options: FleetOptions): Fleet {
  const { known, own, issuer, clock, checkCaller, why } = options;
  let assigned = new Map<string, Assigned>();
  let sets = new Map<string, { set: PolicySet; pods: number }>();

  function surroundings(namespace: string, freeze: Frozen | null): Surroundings {
    const observeUntilMs = known.namespaces.get(namespace)?.observeUntilMs ?? 0;
    const observes = observeUntilMs > clock.wallMs();
    return {
      settings: {
        mode: observes ? "observe" : "enforce",
        ...(observes ? { observeUntilMs } : {}),
        denialDetail: "full",
        ...(options.onFullAllowed?.has(namespace) === true ? { onFull: "allow" } : {}),
        ...(freeze === null ? {} : { freeze }),
      },
      addresses: targetAddresses(targetsFor(known.targets.values(), own, namespace), known.services),
      cluster: { resolvers: known.services.get(options.dns) ?? [] },
    };
  }

  /** A pod may be frozen before its set was ever compiled: it may have a bundle of another set. */
  const bundleOf = (id: string, frozen: Frozen | null, unguarded: string | null): StoredBundle | null =>
    (unguarded === null ? known.stored.get(id) : undefined) ?? (frozen === null ? null : FROZEN_BUNDLE);

  function recompute(): readonly string[] {
    const withTargets = new Set([...known.targets.values()].map(({ namespace }) => namespace));
    const chosen = new Map<string, PolicySet>();
    const around = new Map<string, Surroundings>();
    const tags = new Map<string, string>();
    const next = new Map<string, Assigned>();
    const counted = new Map<string, { set: PolicySet; pods: number }>();
    const changed: string[] = [];
    const injection = options.injection?.() ?? null;

    // Of one pod, or of more: a tenant may have thousands of the former.
    const perPod = Map.groupBy(known.freezes.values(), ({ namespace, pod }) => `${namespace}/${pod ?? ""}`);
    const frozenBy = ({ namespace, name }: ObservedPod): Frozen | null => {
      const its = ["", name].flatMap((pod) => perPod.get(`${namespace}/${pod}`) ?? []);
      return freezeOf([...(perPod.get(`${own}/`) ?? []), ...its], own, { namespace, name });
    };
    const setOf = ({ namespace, labels }: ObservedPod): PolicySet => {
      const key = `${namespace}\0${JSON.stringify(labels)}`;
      let set = chosen.get(key);
      if (set === undefined) {
        const both = { namespace: known.namespaces.get(namespace)?.labels ?? {}, pod: labels };
        const ownTargets = namespace !== own && withTargets.has(namespace);
        set = setFor(known.policies.values(), namespace, both, ownTargets);
        chosen.set(key, set);
      }
      return set;
    };
    const tagOf = (namespace: string, bundle: StoredBundle | null, frozen: Frozen | null): string | null => {
      if (bundle === null) return null;
      const key = `${namespace}\0${bundle.id}\0${frozen?.id ?? ""}`;
      let tag = tags.get(key);
      if (tag === undefined) {
        const place = `${namespace}\0${frozen?.id ?? ""}`;
        let its = around.get(place);
        if (its === undefined) around.set(place, (its = surroundings(namespace, frozen)));
        tags.set(key, (tag = issuer.etag(bundle, its)));
      }
      return tag;
    };

    for (const pod of known.pods.values()) {
      const set = setOf(pod);
      const frozen = frozenBy(pod) ?? leftOutFreeze(known.leftOut, pod.namespace);
      const unguarded = whyUnguarded(pod, injection, known.namespaces.get(pod.namespace)?.labels ?? {});
      const etag = tagOf(pod.namespace, bundleOf(set.id, frozen, unguarded), frozen);
      next.set(pod.uid, { pod, set, etag, frozen, unguarded });
      const count = counted.get(set.id);
      if (count === undefined) counted.set(set.id, { set, pods: 1 });
      else count.pods++;
      const before = assigned.get(pod.uid);
      // A pod without an address is refused, so its coming is a change as well.
      if (before?.etag !== etag || before.pod.addresses.length !== pod.addresses.length) changed.push(pod.uid);
    }
    for (const uid of assigned.keys()) if (!next.has(uid)) changed.push(uid);
    assigned = next;
    sets = counted;
    return changed;
  }

  return {
    get assigned() {
      return assigned;
    },
    get sets() {
      return sets;
    },
    recompute,
    offer(uid, address) {
      const its = assigned.get(uid);
      if (its === undefined) return none(503, "this pod is not known here (yet)");
      const { pod, set, etag, frozen, unguarded } = its;
      if (checkCaller && !pod.addresses.includes(address))
        return pod.addresses.length === 0
          ? none(503, "this pod's address is not known here yet")
          : none(403, "the request does not come from the pod's address");
      const bundle = bundleOf(set.id, frozen, unguarded);
      // A label that has just been set may not have been seen yet.
      if (bundle === null && unguarded !== null) return none(503, `${unguarded}: ${NOBODY_LOOKED}`);
      if (etag === null || bundle === null) return none(503, why(set));
      return {
        kind: "bundle",
        etag,
        issue: () => issuer.issue(pod.namespace, bundle, surroundings(pod.namespace, frozen)),
      };
    },
  };
}

function none(status: 403 | 503, why: string): Offer {
  return { kind: "none", status, why };
}
