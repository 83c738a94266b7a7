/**
 * Remembers decisions of one bundle by the exact input text. Only made for a policy whose decision is a pure function of its
 * input and data: one that reads the time gets none. A hold may be remembered, a grant never is: it is looked up afterwards.
 *
 * Two generations instead of an order of use: what was not asked for during a whole generation is forgotten with it. A Map that
 * forgets its oldest entry each time would walk over deleted ones; requests that never repeat pay for that, and hit nothing.
 */
import type { Decision } from "#contract/decision.ts";

export interface CacheLimits {
  /** Entries; each keeps at most `maxInputChars` characters of key. */
  readonly entries: number;
  readonly maxInputChars: number;
}

/** At most 4 MiB of keys. */
export const CACHE_LIMITS: CacheLimits = { entries: 1_024, maxInputChars: 4_096 };

export interface DecisionCache {
  get(input: string): Decision | undefined;
  set(input: string, decision: Decision): void;
  readonly size: number;
}

export function createDecisionCache(limits: CacheLimits = CACHE_LIMITS): DecisionCache {
  const half = Math.max(1, limits.entries >> 1);
  let young = new Map<string, Decision>();
  let old = new Map<string, Decision>();

  function keep(input: string, decision: Decision): void {
    if (young.size >= half) {
      old = young;
      young = new Map();
    }
    young.set(input, decision);
  }

  return {
    get(input) {
      if (input.length > limits.maxInputChars) return undefined;
      const recent = young.get(input);
      if (recent !== undefined) return recent;
      const known = old.get(input);
      if (known !== undefined) keep(input, known);
      return known;
    },
    set(input, decision) {
      if (input.length <= limits.maxInputChars) keep(input, decision);
    },
    get size() {
      return young.size + old.size;
    },
  };
}
