/** So many a pod, and then so many a minute: a sidecar asks for each credential every two minutes, an attacker as often as it likes. */
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";

const BURST = 40;
const PER_MS = 1 / 1_500;
const MAX_PODS = 100_000;

export interface Rate {
  /** False: not now. */
  take(pod: string): boolean;
}

export function createRate(clock: Clock): Rate {
  const buckets = new Lru<string, { left: number; atMs: number }>(MAX_PODS);
  return {
    take(pod) {
      const now = clock.elapsedMs();
      const bucket = buckets.get(pod) ?? { left: BURST, atMs: now };
      bucket.left = Math.min(BURST, bucket.left + (now - bucket.atMs) * PER_MS);
      bucket.atMs = now;
      buckets.set(pod, bucket);
      if (bucket.left < 1) return false;
      bucket.left--;
      return true;
    },
  };
}
