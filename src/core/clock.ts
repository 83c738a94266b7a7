/** Time as a parameter, so that nothing reads it from the side. Wall time is for people and records; elapsed time is for limits. */
export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. */
  wallMs(): number;
  /** Milliseconds since some start; never goes back. */
  elapsedMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  elapsedMs: () => performance.now(),
};
