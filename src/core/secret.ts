/**
 * A secret in memory: bytes that can be wiped, and that show themselves to nobody who did not ask with `reveal`. Whatever prints,
 * logs or serialises the object around it gets "[credential]".
 *
 * The text that `reveal` gives lies in the engine's own heap until it is collected: ask as late as possible, and keep nothing.
 */

/** What stands in a secret's place wherever it would be shown. */
export const SHOWN = "[credential]";

export class Secret {
  #bytes: Buffer | null;

  /** `text`: any text; kept as UTF-8. */
  constructor(text: string) {
    // Not out of Node's shared pool: wiping must not leave a copy behind, and nobody else's buffer lies beside it.
    this.#bytes = Buffer.alloc(Buffer.byteLength(text));
    this.#bytes.write(text);
  }

  /** Throws when it was wiped: an empty secret must not be sent in its place. */
  reveal(): string {
    if (this.#bytes === null) throw new Error("this secret was wiped");
    return this.#bytes.toString("utf8");
  }

  get wiped(): boolean {
    return this.#bytes === null;
  }

  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  toString(): typeof SHOWN {
    return SHOWN;
  }

  toJSON(): typeof SHOWN {
    return SHOWN;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): typeof SHOWN {
    return SHOWN;
  }
}
