/** The caches that every replica keeps, filled into what the fleet is computed from. One call of `changed` for each change. */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import type { Clock } from "#core/clock.ts";
import { type CacheOptions, startCache } from "#kube/cache.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import type { Kube, KubeObject, Resource, Scope } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import type { Known } from "./fleet.ts";
import { observeNamespace, observePod, observePolicy, observeTarget } from "./observed.ts";
import { clusterAddresses } from "./services.ts";
import { readStored, type StoredBundle } from "./stored-bundle.ts";

export interface WatchOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly own: string;
  readonly clock: Clock;
  readonly changed: () => void;
  readonly onFault: CacheOptions<unknown>["onFault"];
  readonly signal: AbortSignal;
}

const MAX = { policies: 5_000, targets: 10_000, namespaces: 20_000, services: 50_000, pods: 100_000, stored: 4_000 };

/** Resolves when everything was listed once. */
export async function watchAll(options: WatchOptions): Promise<void> {
  const { known, own, clock } = options;
  const follow = <V>(
    resource: Resource,
    project: (object: KubeObject) => V | null,
    into: { readonly map: Map<string, V>; readonly max: number; readonly scope?: Scope },
  ): Promise<void> => {
    const { kube, changed, onFault, signal } = options;
    const { map, max, scope } = into;
    return startCache<V>({
      kube,
      resource,
      project,
      onFault,
      signal,
      maxEntries: max,
      ...(scope === undefined ? {} : { scope }),
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
  await Promise.all([
    follow(RESOURCE.agentPolicy, observePolicy, { map: known.policies, max: MAX.policies }),
    follow(RESOURCE.clusterAgentPolicy, observePolicy, { map: known.policies, max: MAX.policies }),
    follow(RESOURCE.egressTarget, observeTarget, { map: known.targets, max: MAX.targets }),
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
