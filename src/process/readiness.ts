/**
 * Whether this process can do its work: ready when nothing that it needs is still awaited, and it is not ending.
 *
 * Errs towards "not ready": before the first need is known, nothing is ready (`sealed` says that all needs are named).
 */
import { type Hold, Holds } from "./hold.ts";

export interface Readiness {
  /** Something without which we are not ready: until it is released, and again whenever it is taken. */
  need(name: string): Hold;
  /** All needs of the start are named. */
  sealed(): void;
  /** From now on never ready. */
  end(): void;
  state(): ReadyState;
}

export type ReadyState = { readonly ready: true } | { readonly ready: false; readonly waiting: readonly string[] };

export function createReadiness(): Readiness {
  const needs = new Holds();
  const start = needs.take("start");
  let ended = false;
  return {
    need: (name) => needs.take(name),
    sealed: () => start.release(),
    end() {
      ended = true;
    },
    state() {
      if (ended) return { ready: false, waiting: ["draining"] };
      return needs.size === 0 ? { ready: true } : { ready: false, waiting: needs.names() };
    },
  };
}
