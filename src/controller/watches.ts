/** The caches that every replica keeps, filled into what the fleet is computed from. One call of `changed` for each change. */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import type { Clock } from "#core/clock.ts";
import { type CacheOptions, startCache } from "#kube/cache.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import { hasStatus, type Kube, type KubeObject, type Resource, type Scope } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import type { FairShare } from "#kube/shares.ts";
import type { Known } from "./fleet.ts";
import type { LeftOutKind } from "./left-out.ts";
import { observeNamespace, observePod, observePolicy, observeTarget } from "./observed.ts";
import { type ObservedFreeze, observeFreeze } from "./observed-freeze.ts";
import { clusterAddresses } from "./services.ts";
import { readStored, type StoredBundle } from "./stored-bundle.ts";

export interface WatchOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly own: string;
  readonly clock: Clock;
  readonly changed: () => void;
  /** A namespace has so much that nothing of it is kept. */
  readonly leftOut?: (namespace: string, kind: LeftOutKind) => void;
  /** A freeze is not there any more. */
  readonly thawed?: (freeze: ObservedFreeze) => void;
  readonly onFault: CacheOptions<unknown>["onFault"];
  readonly signal: AbortSignal;
}

const MAX = {
  policies: 5_000,
  targets: 10_000,
  namespaces: 20_000,
  services: 50_000,
  pods: 100_000,
  stored: 4_000,
  freezes: 10_000,
};

/** Characters that count as one: 5,000 policies are 120 MiB at most, 10,000 targets 80 MiB, whoever writes how large ones. */
const UNIT = { policy: 24 * 1024, target: 8 * 1024 } as const;
/** A policy may have a megabyte and more, and a listing's page is in memory as a whole. */
const LARGE_PAGE = 50;

/** Resolves when everything was listed once. */
export async function watchAll(options: WatchOptions): Promise<void> {
  const { known, own, clock } = options;
  const fair = (kind: LeftOutKind): FairShare => ({
    spared: own,
    onLeftOut(namespaces) {
      const before = known.leftOut.get(kind);
      const since = new Date(clock.wallMs()).toISOString();
      known.leftOut.set(kind, new Map([...namespaces].map((name) => [name, before?.get(name) ?? since])));
      for (const name of namespaces) if (before?.has(name) !== true) options.leftOut?.(name, kind);
      options.changed();
    },
  });
  const follow = <V>(
    resource: Resource,
    project: (object: KubeObject) => V | null,
    into: {
      readonly map: Map<string, V>;
      readonly max: number;
      readonly scope?: Scope;
      readonly fair?: FairShare;
      /** Characters that count as one entry. */
      readonly unit?: number;
    },
  ): Promise<void> => {
    const { kube, changed, onFault, signal } = options;
    const { map, max, scope, fair: share, unit } = into;
    return startCache<V>({
      kube,
      resource,
      project,
      onFault,
      signal,
      maxEntries: max,
      ...(scope === undefined ? {} : { scope }),
      ...(share === undefined ? {} : { fair: share }),
      ...(unit === undefined ? {} : { units: (value: V) => JSON.stringify(value).length / unit, pageSize: LARGE_PAGE }),
      onChange(key, value) {
        if (value === undefined) map.delete(key);
        else map.set(key, value);
        changed();
      },
    }).synced;
  };
  // Stored bundles are known by their set's id, not by the Secret's name.
  const byName = new Map<string, StoredBundle>();
  const stored: Map<string, StoredBundle> = {
    set(key: string, value: StoredBundle) {
      byName.set(key, value);
      known.stored.set(value.id, value);
      return this;
    },
    delete(key: string) {
      const before = byName.get(key);
      byName.delete(key);
      return before !== undefined && known.stored.delete(before.id);
    },
  } as Map<string, StoredBundle>;
  const followFreezes = (scope: Scope, mine: (namespace: string) => boolean): Promise<void> =>
    startCache<ObservedFreeze>({
      kube: options.kube,
      resource: RESOURCE.freeze,
      scope,
      project: (object) => (mine(object.metadata.namespace ?? "") ? observeFreeze(object, own) : null),
      onFault: options.onFault,
      signal: options.signal,
      maxEntries: MAX.freezes,
      ...(scope.namespace === undefined ? { fair: fair("freezes") } : {}),
      onChange(key, value) {
        const before = known.freezes.get(key);
        if (value !== undefined) known.freezes.set(key, value);
        else known.freezes.delete(key);
        if (value === undefined && before !== undefined) options.thawed?.(before);
        options.changed();
      },
    }).synced;
  // Those of our own namespace are everybody's: however many a tenant makes, these are seen.
  const freezes = [followFreezes({ namespace: own }, () => true), followFreezes({}, (namespace) => namespace !== own)];
  await Promise.all([
    // Nothing is served before it is known who is frozen; only where the resource itself is missing (CRDs of an older release) nobody is.
    missing(options.kube, RESOURCE.freeze).then((none) => (none ? undefined : Promise.all(freezes))),
    follow(RESOURCE.agentPolicy, observePolicy, {
      map: known.policies,
      max: MAX.policies,
      fair: fair("policies"),
      unit: UNIT.policy,
    }),
    follow(RESOURCE.clusterAgentPolicy, observePolicy, { map: known.policies, max: MAX.policies }),
    follow(RESOURCE.egressTarget, observeTarget, {
      map: known.targets,
      max: MAX.targets,
      fair: fair("targets"),
      unit: UNIT.target,
    }),
    follow(RESOURCE.namespace, (object) => observeNamespace(object, clock.wallMs()), {
      map: known.namespaces,
      max: MAX.namespaces,
    }),
    follow(RESOURCE.service, clusterAddresses, { map: known.services, max: MAX.services }),
    follow(RESOURCE.pod, observePod, { map: known.pods, max: MAX.pods }),
    follow(RESOURCE.secret, (object) => readStored(object as SecretObject), {
      map: stored,
      max: MAX.stored,
      scope: { namespace: own, labelSelector: CONTROL_OBJECT.bundleLabel },
    }),
  ]);
}

/** Whether the API server does not have this kind of object at all. */
async function missing(kube: Kube, resource: Resource): Promise<boolean> {
  try {
    await kube.list(resource, {}, { limit: 1, continues: "" });
    return false;
  } catch (fault) {
    return hasStatus(fault, 404);
  }
}
