/** Runs something soon after it is asked for, once for many askings, never twice at a time; and now and then without being asked. */
export interface Rounds {
  ask(): void;
}

/** `delayMs`: from the first asking to the round. `everyMs`: without being asked; 0: never. Ends with the signal. */
export function startRounds(
  round: () => Promise<void> | void,
  times: { readonly delayMs: number; readonly everyMs: number },
  signal: AbortSignal,
  onFault: (fault: unknown) => void,
): Rounds {
  let timer: NodeJS.Timeout | null = null;
  let running = false;
  let asked = false;

  async function run(): Promise<void> {
    timer = null;
    if (signal.aborted) return;
    running = true;
    asked = false;
    try {
      await round();
    } catch (fault) {
      onFault(fault);
    } finally {
      running = false;
      if (asked) ask();
    }
  }
  function ask(): void {
    if (running) asked = true;
    else timer ??= setTimeout(() => void run(), times.delayMs);
  }
  if (times.everyMs > 0) {
    const interval = setInterval(ask, times.everyMs);
    signal.addEventListener("abort", () => clearInterval(interval), { once: true });
  }
  signal.addEventListener("abort", () => clearTimeout(timer ?? undefined), { once: true });
  return { ask };
}
