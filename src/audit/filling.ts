/** How long a store that fills up has left: by the growth between two looks, of which the older is at least some seconds old. */
import type { Clock } from "#core/clock.ts";

/** A look is compared with one that is at least so old, at most so much more. */
const WINDOW_MS = 30_000;
const MAX_LOOKS = 16;

export class Filling {
  readonly #clock: Clock;
  readonly #looks: { readonly atMs: number; readonly bytes: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until `limit` at the present rate; Infinity: it does not grow, or nobody has looked before; 0: it is full. */
  secondsLeft(bytes: number, limit: number): number {
    const now = this.#clock.elapsedMs();
    const looks = this.#looks;
    const newest = looks.at(-1);
    if (newest === undefined || now - newest.atMs >= WINDOW_MS / MAX_LOOKS) looks.push({ atMs: now, bytes });
    // The youngest that is old enough stays the first.
    while (looks.length > 2 && now - (looks[1]?.atMs ?? now) >= WINDOW_MS) looks.shift();
    if (bytes >= limit) return 0;
    const first = looks[0];
    if (first === undefined || now <= first.atMs || bytes <= first.bytes) return Number.POSITIVE_INFINITY;
    return ((limit - bytes) * (now - first.atMs)) / (bytes - first.bytes) / 1_000;
  }
}
