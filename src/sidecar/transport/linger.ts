/**
 * What becomes of a connection that we have ended: its peer may read slowly, or go on sending, but not do nothing for ever.
 * Looks again every few seconds; cancelled when the connection has closed, so that nothing keeps it in memory.
 */
import type { Alarm, Wheel } from "#core/wheel.ts";

export interface Lingering {
  /** Any number that changes when bytes move, in either direction. */
  moved(): number;
  expired(): void;
}

const LOOK_MS = 5_000;

export function linger(wheel: Wheel, lingerMs: number, connection: Lingering): Alarm {
  const stepMs = Math.min(lingerMs, LOOK_MS);
  let last = connection.moved();
  let stillMs = 0;
  const look = (): void => {
    const moved = connection.moved();
    stillMs = moved === last ? stillMs + stepMs : 0;
    last = moved;
    if (stillMs >= lingerMs) connection.expired();
    else alarm = wheel.after(stepMs, look);
  };
  let alarm = wheel.after(stepMs, look);
  return { cancel: () => alarm.cancel() };
}
