/**
 * The masks that statements of a session were permitted with, each once by what it says: a decision that was too long to be remembered
 * brings an equal set as another object with every statement.
 */
import type { MaskRule } from "#contract/decision.ts";

/** Different ones come of a policy's rules, and are few. */
const MAX_SETS = 64;

export class MaskSets {
  readonly #sets = new Map<string, { readonly masks: readonly MaskRule[]; quotes: boolean }>();
  #last: readonly MaskRule[] = [];
  #lastKey = "[]";

  get size(): number {
    return this.#sets.size;
  }

  /** False: there is no room for another one. What was asked for in the same Query is let in all the same. */
  takes(masks: readonly MaskRule[]): boolean {
    return this.#sets.size < MAX_SETS || this.#sets.has(this.#key(masks));
  }

  /** `quotes`: whether one of its statements may be quoted; stays, once it was so. */
  add(masks: readonly MaskRule[], quotes: boolean): void {
    const key = this.#key(masks);
    const known = this.#sets.get(key);
    if (known === undefined) this.#sets.set(key, { masks, quotes });
    else known.quotes ||= quotes;
  }

  values(): Iterable<{ readonly masks: readonly MaskRule[]; readonly quotes: boolean }> {
    return this.#sets.values();
  }

  clear(): void {
    this.#sets.clear();
  }

  #key(masks: readonly MaskRule[]): string {
    if (masks !== this.#last) {
      this.#last = masks;
      this.#lastKey = JSON.stringify(masks);
    }
    return this.#lastKey;
  }
}
