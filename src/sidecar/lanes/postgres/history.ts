/**
 * What an approval covers besides the statement itself (THREATS E4): everything that could have changed what it means. Who the session
 * is and how it was opened, each statement that did more than read or write rows, and what the open transaction has done so far.
 *
 * Errs towards "another": a statement that failed, or that changed nothing, still makes a difference.
 */
import { hash } from "node:crypto";
import type { Act } from "./act.ts";

export class History {
  #session: string;
  #transaction = "";

  /** `opened`: target, identity, parameters; whatever JSON can say. */
  constructor(opened: unknown) {
    this.#session = hash("sha256", JSON.stringify(opened), "hex");
  }

  done(act: Act): void {
    if (act.pure) return;
    const line = digest(act.wire);
    this.#transaction = digest(this.#transaction + line);
    if (act.opaque || act.effects.length > 0 || act.operation.action !== "write")
      this.#session = digest(this.#session + line);
  }

  /** Outside a transaction. */
  idle(): void {
    this.#transaction = "";
  }

  /** SHA-256, hex, over all of it and these wire bytes (latin1). */
  cover(wire: string): string {
    return digest(`${this.#session}\n${this.#transaction}\n${digest(wire)}`);
  }
}

function digest(text: string): string {
  return hash("sha256", Buffer.from(text, "latin1"), "hex");
}
