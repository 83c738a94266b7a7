/**
 * A bounded map that forgets what was used least recently. Built on Map's insertion order: a hit moves its entry to the end.
 */
export class Lru<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #capacity: number;
  readonly #evicted: ((key: K, value: V) => void) | undefined;

  /** `capacity` is a count of entries, at least 1. */
  constructor(capacity: number, evicted?: (key: K, value: V) => void) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity: ${capacity}`);
    this.#capacity = capacity;
    this.#evicted = evicted;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: K, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#capacity) return;
    const oldest = this.#entries.entries().next();
    if (oldest.done === true) return;
    this.#entries.delete(oldest.value[0]);
    this.#evicted?.(oldest.value[0], oldest.value[1]);
  }

  delete(key: K): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  entries(): Iterable<readonly [K, V]> {
    return this.#entries.entries();
  }

  values(): Iterable<V> {
    return this.#entries.values();
  }
}
