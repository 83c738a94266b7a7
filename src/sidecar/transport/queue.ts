/**
 * Upstream bytes that wait: for the connection, and for the records of their operations to be written. They leave in the order
 * in which they came, and never before what they depend on.
 *
 * Fails closed: the gate's answer covers only what was queued when it was asked, unless by then nothing is unwritten at all.
 */
import type { CommitGate } from "#contract/record.ts";

export class UpstreamQueue {
  readonly #gate: CommitGate;
  readonly #freed: (ok: boolean) => void;
  #items: (Uint8Array | string)[] = [];
  /** Items from the front that may leave. */
  #free = 0;
  /** Items from the front that the outstanding question to the gate covers. */
  #asked = 0;
  #waiting = false;
  bytes = 0;

  /** `freed`: the gate answered; ok=false: nothing of it may ever be sent. */
  constructor(gate: CommitGate, freed: (ok: boolean) => void) {
    this.#gate = gate;
    this.#freed = freed;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: Uint8Array | string): void {
    this.#items.push(item);
    this.bytes += item.length;
    if (this.#waiting) return;
    if (this.#gate.clean) this.#free = this.#items.length;
    else this.#ask();
  }

  /** What may leave now; it is the caller's from here on. Null: nothing. */
  take(): (Uint8Array | string)[] | null {
    const count = this.#free;
    if (count === 0) return null;
    this.#free = 0;
    this.#asked = Math.max(0, this.#asked - count);
    if (count === this.#items.length) {
      const all = this.#items;
      this.#items = [];
      this.bytes = 0;
      return all;
    }
    const some = this.#items.splice(0, count);
    for (const item of some) this.bytes -= item.length;
    return some;
  }

  clear(): void {
    this.#items = [];
    this.#free = 0;
    this.#asked = 0;
    this.bytes = 0;
  }

  #ask(): void {
    this.#waiting = true;
    this.#asked = this.#items.length;
    this.#gate.committed(this.#answered);
  }

  readonly #answered = (ok: boolean): void => {
    this.#waiting = false;
    if (ok) {
      if (this.#gate.clean) this.#free = this.#items.length;
      else {
        this.#free = this.#asked;
        if (this.#items.length > this.#asked) this.#ask();
      }
    }
    this.#freed(ok);
  };
}
