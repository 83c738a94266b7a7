/**
 * Remembers decisions of one bundle by the exact input text. Only made for a policy whose decision is a pure function of its
 * input and data: one that reads the time gets none. A hold may be remembered, a grant never is: it is looked up afterwards.
 */
import type { Decision } from "#contract/decision.ts";
import { Lru } from "#core/lru.ts";

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
  const entries = new Lru<string, Decision>(limits.entries);
  return {
    get: (input) => (input.length > limits.maxInputChars ? undefined : entries.get(input)),
    set: (input, decision) => {
      if (input.length <= limits.maxInputChars) entries.set(input, decision);
    },
    get size() {
      return entries.size;
    },
  };
}
