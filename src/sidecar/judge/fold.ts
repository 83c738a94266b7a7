/**
 * Repeated denials. An agent in a retry loop must neither fill the record nor learn nothing: the first five of one kind in a
 * minute are recorded one by one; after that the answer carries the same `instance` with a `Retry-After`, and the record gets
 * one line with the count. A flood of *different* denials is folded too, by target and code, so that a hijacked agent cannot
 * buy the gateway's disk or its CPU with nonsense (THREATS N14, E7).
 *
 * Errs towards recording: what is not known to be a repeat gets a line.
 */
import { Lru } from "#core/lru.ts";

export interface Folding {
  /** How many of one kind in a window get a line each. */
  readonly distinct: number;
  readonly windowMs: number;
  /** Lines a window for all kinds together; beyond it denials fold by target and code. */
  readonly flood: number;
  /** Kinds remembered at once. */
  readonly kinds: number;
}

export const FOLDING: Folding = { distinct: 5, windowMs: 60_000, flood: 2_000, kinds: 1_024 };

interface Kind {
  seq: number;
  event: string;
  since: number;
  seen: number;
  folded: number;
  readonly what: string; // names the kind: target, host, code
}

export type Folded =
  | { readonly kind: "record" }
  | { readonly kind: "folded"; readonly seq: number; readonly event: string; readonly retryAfterS: number };

const RECORD: Folded = { kind: "record" };

/** `op`: the first one's line; `what` names the kind. */
export type FoldWriter = (op: number, count: number, what: string) => void;

export class Folder {
  readonly #kinds: Lru<string, Kind>;
  readonly #limits: Folding;
  readonly #write: FoldWriter;
  #windowStart = 0;
  #lines = 0;

  /** `write` is told once for each kind and window how many were folded into the line `op`. */
  constructor(write: FoldWriter, limits: Folding = FOLDING) {
    this.#write = write;
    this.#limits = limits;
    this.#kinds = new Lru(limits.kinds, (_key, kind) => this.#close(kind));
  }

  /** `exact` names the denial exactly, `coarse` by target and code; `quiet` folds from the second on. */
  ask(exact: string, coarse: string, quiet: boolean, nowMs: number): Folded {
    if (nowMs - this.#windowStart >= this.#limits.windowMs) {
      this.#windowStart = nowMs;
      this.#lines = 0;
    }
    const known = this.#repeat(exact, quiet ? 1 : this.#limits.distinct, nowMs);
    if (known !== null) return known;
    if (this.#lines >= this.#limits.flood) {
      const flooded = this.#repeat(coarse, 1, nowMs);
      if (flooded !== null) return flooded;
    }
    this.#lines++;
    return RECORD;
  }

  /** Says what line and event the denial got that `ask` wanted recorded. */
  recorded(exact: string, coarse: string, seq: number, event: string, nowMs: number): void {
    this.#remember(exact, coarse, seq, event, nowMs);
    if (this.#lines >= this.#limits.flood) this.#remember(coarse, coarse, seq, event, nowMs);
  }

  /** Writes what was folded so far; called from time to time and at the end. */
  flush(): void {
    for (const kind of this.#kinds.values()) this.#close(kind);
  }

  #repeat(key: string, distinct: number, nowMs: number): Folded | null {
    const kind = this.#kinds.get(key);
    if (kind === undefined) return null;
    const age = nowMs - kind.since;
    if (age >= this.#limits.windowMs) {
      this.#close(kind);
      this.#kinds.delete(key);
      return null;
    }
    if (kind.seen < distinct) return null;
    kind.seen++;
    kind.folded++;
    return {
      kind: "folded",
      seq: kind.seq,
      event: kind.event,
      retryAfterS: Math.max(1, Math.ceil((this.#limits.windowMs - age) / 1000)),
    };
  }

  #remember(key: string, what: string, seq: number, event: string, nowMs: number): void {
    const kind = this.#kinds.get(key);
    if (kind === undefined) this.#kinds.set(key, { seq, event, since: nowMs, seen: 1, folded: 0, what });
    else kind.seen++;
  }

  #close(kind: Kind): void {
    if (kind.folded === 0) return;
    this.#write(kind.seq, kind.folded, kind.what);
    kind.folded = 0;
  }
}
