/**
 * One leader among the replicas, by a Lease (coordination.k8s.io), as client-go elects: whoever holds it renews it; whoever sees it
 * unrenewed for its whole duration, by its own clock, takes it. A conflict means that somebody else was quicker.
 *
 * Errs towards no leader: who cannot renew steps down before another may take over.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "#core/clock.ts";
import { hasStatus, type Kube, type KubeObject, type Name } from "./port.ts";
import { RESOURCE } from "./resources.ts";

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export interface LeaderOptions {
  readonly kube: Kube;
  readonly lease: Name;
  /** Unique among the replicas: the pod's name. */
  readonly identity: string;
  readonly clock: Clock;
  /** Runs while we lead; `signal` ends when we do not any more. Not awaited. */
  readonly lead: (signal: AbortSignal) => void;
  readonly onFault: (fault: unknown) => void;
  readonly signal: AbortSignal;
  readonly durationMs?: number;
  /** Resolves early, or rejects, when the signal ends. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const DURATION_MS = 10_000;

/** Resolves when the signal ends; the lease is then given back, so that the next one need not wait. */
export async function electLeader(options: LeaderOptions): Promise<void> {
  const { kube, lease: at, identity, clock, lead, onFault, signal, durationMs = DURATION_MS } = options;
  const sleep = options.sleep ?? ((ms, until) => wait(ms, undefined, { signal: until }));
  const retryMs = durationMs / 5;
  let observed = { version: "", sinceMs: 0 };
  let renewedMs = 0;
  let leading: AbortController | null = null;
  const stop = (): void => {
    leading?.abort();
    leading = null;
  };

  /** True: ours. */
  async function attempt(): Promise<boolean> {
    const lease = await kube.get<Lease>(RESOURCE.lease, at);
    const now = new Date(clock.wallMs()).toISOString().replace("Z", "000Z");
    const spec = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(durationMs / 1000), renewTime: now };
    if (lease === null) {
      await kube.create<Lease>(RESOURCE.lease, {
        metadata: { ...at },
        spec: { ...spec, acquireTime: now, leaseTransitions: 0 },
      });
      return true;
    }
    const version = lease.metadata.resourceVersion ?? "";
    if (version !== observed.version) observed = { version, sinceMs: clock.elapsedMs() };
    const holder = lease.spec?.holderIdentity ?? "";
    const ours = holder === identity;
    const lasts = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
    if (!ours && holder !== "" && clock.elapsedMs() - observed.sinceMs < lasts) return false;
    await kube.replace<Lease>(RESOURCE.lease, {
      metadata: lease.metadata,
      spec: {
        ...spec,
        acquireTime: ours ? (lease.spec?.acquireTime ?? now) : now,
        leaseTransitions: (lease.spec?.leaseTransitions ?? 0) + (ours ? 0 : 1),
      },
    });
    return true;
  }

  while (!signal.aborted) {
    const askedMs = clock.elapsedMs();
    try {
      if (await attempt()) {
        renewedMs = askedMs;
        if (leading === null) {
          leading = new AbortController();
          lead(leading.signal);
        }
      } else stop();
    } catch (fault) {
      if (!hasStatus(fault, 409)) onFault(fault);
      if (clock.elapsedMs() - renewedMs > durationMs - 2 * retryMs) stop();
    }
    await sleep(retryMs, signal).catch(() => undefined);
  }
  const led = leading !== null;
  stop();
  if (led) await release(kube, at, identity).catch(onFault);
}

async function release(kube: Kube, at: Name, identity: string): Promise<void> {
  const lease = await kube.get<Lease>(RESOURCE.lease, at);
  if (lease?.spec?.holderIdentity !== identity) return;
  await kube.replace<Lease>(RESOURCE.lease, {
    metadata: lease.metadata,
    spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 },
  });
}
