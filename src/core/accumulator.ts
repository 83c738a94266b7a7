/**
 * Collects bytes until there are enough of them: first bytes of a connection, a head that came in pieces. Doubles as it grows,
 * so that a sender of single bytes costs no quadratic copying. The owner bounds it: `append` refuses what exceeds the capacity.
 */
export class Accumulator {
  readonly #capacity: number;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #length = 0;

  /** `capacity`: the most bytes it ever holds. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies the bytes; false, and nothing is taken, when they would exceed the capacity. */
  append(bytes: Uint8Array): boolean {
    const length = this.#length + bytes.length;
    if (length > this.#capacity) return false;
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.#capacity, Math.max(length, this.#bytes.length * 2, 256)));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
    return true;
  }

  /** What is there now. Valid until the next `append` or `take`. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Gives all of it away and starts anew. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.view();
    this.#bytes = new Uint8Array(0);
    this.#length = 0;
    return taken;
  }
}
