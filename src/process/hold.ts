/**
 * Named things that somebody waits for. Whoever is not done holds one; what is still held can be named in the log, so that a
 * start or an end that hangs says why.
 */

/** Ends once; ending again does nothing. `using hold = …` ends it with the block. */
export interface Hold extends Disposable {
  release(): void;
}

export class Holds {
  readonly #held = new Map<string, number>();
  readonly #empty: () => void;

  /** `empty` is called each time the last one ends. */
  constructor(empty: () => void = () => undefined) {
    this.#empty = empty;
  }

  get size(): number {
    return this.#held.size;
  }

  take(name: string): Hold {
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      this.#drop(name);
    };
    return { release, [Symbol.dispose]: release };
  }

  #drop(name: string): void {
    const left = (this.#held.get(name) ?? 1) - 1;
    if (left > 0) this.#held.set(name, left);
    else this.#held.delete(name);
    if (this.#held.size === 0) this.#empty();
  }

  /** What is held, "connections (3)", in the order in which it was first taken; at most 20. */
  names(): string[] {
    const names = [...this.#held].slice(0, 20).map(([name, count]) => (count === 1 ? name : `${name} (${count})`));
    if (this.#held.size > names.length) names.push(`and ${this.#held.size - names.length} more`);
    return names;
  }
}
