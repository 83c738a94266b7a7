/**
 * The orderly end of a process: on SIGTERM everybody who has something open is told once, finishes it, and releases their hold;
 * when all are released, or the limit is reached, the process may exit.
 *
 * Errs towards ending: a hold that nobody releases delays the end by at most the limit, and is named.
 */
import { type Hold, Holds } from "./hold.ts";

export interface Drain {
  readonly begun: boolean;
  /** Something that must finish first. Also while draining (an upstream that a last request still needs). */
  hold(name: string): Hold;
  /** Called once when draining begins; at once if it has begun. Must not throw. */
  onBegin(then: (why: string) => void): void;
  /** The first call counts; later ones return the same promise. Never rejects. */
  begin(why: string): Promise<DrainEnd>;
}

export interface DrainEnd {
  readonly why: string;
  /** Empty: everything finished. Else the limit was reached, and these had not. */
  readonly unfinished: readonly string[];
  readonly ms: number;
}

export interface DrainOptions {
  /** How long to wait at most. Shorter than the pod's grace period, so that the record can still be closed after it. */
  readonly limitMs: number;
  readonly elapsedMs: () => number;
  /** While waiting: what is still awaited, every `everyMs`. */
  readonly progress?: (waiting: readonly string[]) => void;
  readonly everyMs?: number;
}

export function createDrain(options: DrainOptions): Drain {
  const { limitMs, elapsedMs, progress, everyMs = 5_000 } = options;
  const listeners: ((why: string) => void)[] = [];
  let begun: { readonly why: string; readonly promise: Promise<DrainEnd> } | null = null;
  let finish: (() => void) | null = null;
  const holds = new Holds(() => finish?.());

  async function run(why: string): Promise<DrainEnd> {
    const start = elapsedMs();
    for (const tell of listeners.splice(0)) tell(why);
    if (holds.size > 0) {
      await new Promise<void>((resolve) => {
        const report = setInterval(() => progress?.(holds.names()), everyMs);
        const limit = setTimeout(() => finish?.(), limitMs);
        finish = () => {
          clearInterval(report);
          clearTimeout(limit);
          resolve();
        };
      });
    }
    return { why, unfinished: holds.names(), ms: Math.round(elapsedMs() - start) };
  }

  return {
    get begun() {
      return begun !== null;
    },
    hold: (name) => holds.take(name),
    onBegin(then) {
      if (begun === null) listeners.push(then);
      else then(begun.why);
    },
    begin(why) {
      if (begun !== null) return begun.promise;
      let started: (end: Promise<DrainEnd>) => void = () => undefined;
      const promise = new Promise<DrainEnd>((resolve) => {
        started = resolve;
      });
      begun = { why, promise };
      started(run(why));
      return promise;
    },
  };
}

/** What of `process` is needed: a test gives an EventEmitter. */
export interface SignalSource {
  on(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
}

/** The first signal begins the drain; a second one ends the process at once (`now`): somebody is waiting at a terminal. */
export function drainOnSignals(source: SignalSource, drain: Drain, now: () => void): void {
  const on = (signal: "SIGTERM" | "SIGINT"): void => {
    if (drain.begun) now();
    else void drain.begin(signal);
  };
  source.on("SIGTERM", () => on("SIGTERM"));
  source.on("SIGINT", () => on("SIGINT"));
}
