/**
 * Signals on their way to the command. A key on the terminal (Ctrl-C) reaches every process of the foreground group by itself:
 * the command, the keeper and us. A `kill` reaches us alone. So both of us count, and the keeper passes on only what has reached
 * the command line more often than itself; the command never gets one Ctrl-C twice, which many programs take for "now really".
 */
import type { Signal } from "./protocol.ts";

/** Passed on once each. */
export const COUNTED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const satisfies readonly Signal[];
/** Never sent by the terminal. */
const DIRECT = ["SIGUSR2"] as const satisfies readonly Signal[];

type Send = (signal: Signal, total: number, sent: () => void) => void;

/** The command line's side: catches signals until the returned function is called. `self`: stops this process, as Ctrl-Z would. */
export function catchSignals(send: Send, self: (signal: "SIGSTOP") => void): () => void {
  const totals = new Map<Signal, number>();
  const listeners: [Signal, () => void][] = [];
  const nothing = (): void => undefined;
  const on = (signal: Signal, listener: () => void): void => {
    listeners.push([signal, listener]);
    process.on(signal, listener);
  };
  for (const signal of [...COUNTED, ...DIRECT])
    on(signal, () => {
      const total = (totals.get(signal) ?? 0) + 1;
      totals.set(signal, total);
      send(signal, total, nothing);
    });
  // The command stops first, then we: a shell sees a stopped job, and `fg` wakes both. Sending either twice changes nothing.
  on("SIGTSTP", () => send("SIGTSTP", 0, () => self("SIGSTOP")));
  on("SIGCONT", () => send("SIGCONT", 0, nothing));
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  };
}

/** Time for a signal to reach the keeper by the terminal, when it has already reached the command line. */
const GRACE_MS = 50;

/** The keeper's side: what reached it by itself has reached the command too. */
export class SignalLedger {
  readonly #seen = new Map<Signal, number>();
  readonly #passed = new Map<Signal, number>();
  readonly #deliver: (signal: Signal) => void;

  constructor(deliver: (signal: Signal) => void) {
    this.#deliver = deliver;
  }

  saw(signal: Signal): void {
    this.#seen.set(signal, (this.#seen.get(signal) ?? 0) + 1);
  }

  told(signal: Signal, total: number): void {
    if (total === 0 || !COUNTED.some((s) => s === signal)) this.#deliver(signal);
    else setTimeout(() => this.#settle(signal, total), GRACE_MS);
  }

  #settle(signal: Signal, total: number): void {
    const passed = this.#passed.get(signal) ?? 0;
    if (total <= (this.#seen.get(signal) ?? 0) + passed) return;
    this.#passed.set(signal, passed + 1);
    this.#deliver(signal);
  }
}
