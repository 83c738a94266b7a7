/**
 * Follows a store: the newest records first, then what arrives. A permitted operation is held back a moment until its outcome is
 * on record too, so that one line tells both.
 */
import { type AuditEvent, toEvent } from "./event.ts";
import type { Records } from "./remote.ts";
import type { Filter, Found } from "./store/port.ts";

/** How long a line waits for its outcome, in ms. */
const PATIENCE_MS = 2_000;
const PAGE = 500;

export class Follower {
  readonly #store: Records;
  readonly #filter: Filter;
  #after: number | null = null;
  #waiting: { readonly found: Found; readonly sinceMs: number }[] = [];

  constructor(store: Records, filter: Filter) {
    this.#store = store;
    this.#filter = filter;
  }

  /** What is new since the last call, oldest first; the first call gives the newest `filter.limit`. */
  async next(nowMs: number): Promise<AuditEvent[]> {
    const fresh = await this.#fresh();
    const shown: AuditEvent[] = [];
    const queue = [...this.#waiting, ...fresh.map((found) => ({ found, sinceMs: nowMs }))];
    this.#waiting = [];
    for (const entry of queue) {
      const { found, sinceMs } = entry;
      const now = isOpen(found) ? ((await this.#store.get(found.boot, found.seq)) ?? found) : found;
      if (isOpen(now) && nowMs - sinceMs < PATIENCE_MS) this.#waiting.push(entry);
      else shown.push(toEvent(now));
    }
    return shown;
  }

  async #fresh(): Promise<readonly Found[]> {
    if (this.#after === null) {
      const newest = await this.#store.find(this.#filter);
      const { size } = await this.#store.log();
      this.#after = newest[0]?.index ?? size - 1;
      return newest.toReversed();
    }
    const found = await this.#store.find({ ...this.#filter, after: this.#after, limit: PAGE });
    this.#after = found.at(-1)?.index ?? this.#after;
    return found;
  }
}

function isOpen(found: Found): boolean {
  return found.kind === "op" && found.end === null && !Buffer.from(found.core).includes('"verdict":"deny"');
}
