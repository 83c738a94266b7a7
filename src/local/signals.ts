/**
 * Signals on their way to the command. It has a process group of its own inside, so what the command line gets, it got alone: a
 * `kill`, or a key while the command is not in the foreground. Each is passed on once: those that a key makes to the whole group,
 * as the terminal would, the others to the command.
 *
 * The group is also a wall: `kill(0, …)` of the command would else reach us, and whatever shares a pipeline with us.
 */
import type { Signal } from "./protocol.ts";

export const KEYS = ["SIGINT", "SIGQUIT", "SIGHUP", "SIGTSTP", "SIGWINCH"] as const satisfies readonly Signal[];
const DIRECT = ["SIGTERM", "SIGUSR2"] as const satisfies readonly Signal[];

export const goesToGroup = (signal: Signal): boolean => KEYS.some((key) => key === signal);

/** Catches them until the returned function is called. */
export function catchSignals(pass: (signal: Signal) => void, continued: () => void): () => void {
  const listeners: [NodeJS.Signals, () => void][] = [["SIGCONT", continued]];
  for (const signal of [...KEYS, ...DIRECT]) listeners.push([signal, () => pass(signal)]);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  };
}
