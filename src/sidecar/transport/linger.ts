/**
 * What becomes of a connection that we have ended: its peer may read slowly, or go on sending, but not do nothing for ever.
 * Looks again every few seconds, so that the alarm of a connection that has closed meanwhile does not keep it in memory.
 */
import type { Wheel } from "#core/wheel.ts";

export interface Lingering {
  readonly over: boolean;
  /** Any number that changes when bytes move, in either direction. */
  moved(): number;
  expired(): void;
}

const LOOK_MS = 5_000;

export function linger(wheel: Wheel, lingerMs: number, connection: Lingering): void {
  const stepMs = Math.min(lingerMs, LOOK_MS);
  let last = Number.NaN;
  let stillMs = 0;
  const look = (): void => {
    if (connection.over) return;
    const moved = connection.moved();
    stillMs = moved === last ? stillMs + stepMs : 0;
    last = moved;
    if (stillMs >= lingerMs) connection.expired();
    else wheel.after(stepMs, look);
  };
  look();
}
