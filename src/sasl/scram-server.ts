/**
 * The server of SCRAM-SHA-256 (RFC 5802, 7677), for a password that it knows: the placeholder that an agent was given. A server
 * must prove that it knows the password, so no other one can be accepted this way.
 */
import { deriveKeys, ITERATIONS, provesKey, type ScramKeys, sameBytes, serverSignature } from "./scram-keys.ts";
import { type ClientFirst, readClientFinal, readClientFirst } from "./scram-text.ts";

export interface ScramServerOptions {
  readonly password: string;
  /** At least 18 random bytes, for this exchange only. */
  readonly nonce: Uint8Array;
  readonly salt: Uint8Array;
  readonly iterations?: number;
  /** tls-server-end-point of our own certificate; null: the connection has none, and -PLUS is not offered. */
  readonly endPoint: Uint8Array | null;
}

export class ScramServer {
  readonly #options: ScramServerOptions;
  #first: ClientFirst | null = null;
  #nonce = "";
  #serverFirst = "";

  constructor(options: ScramServerOptions) {
    if (options.nonce.length < 18) throw new RangeError("a nonce needs 18 bytes");
    this.#options = options;
  }

  /** server-first-message; null: the client's is malformed, or binds to what we do not have. `plus`: the mechanism it chose. */
  begin(clientFirst: string, plus: boolean): string | null {
    const { nonce, salt, iterations = ITERATIONS.least, endPoint } = this.#options;
    const first = readClientFirst(clientFirst);
    if (first === null) return null;
    const { binding } = first;
    const binds = typeof binding === "object";
    if (binds !== plus || (binds && (endPoint === null || binding.name !== "tls-server-end-point"))) return null;
    // "y" where we offer binding: somebody between took it out of our offer (RFC 5802 section 6).
    if (binding === "y" && endPoint !== null) return null;
    this.#first = first;
    this.#nonce = first.nonce + Buffer.from(nonce).toString("base64");
    this.#serverFirst = `r=${this.#nonce},s=${Buffer.from(salt).toString("base64")},i=${iterations}`;
    return this.#serverFirst;
  }

  /** server-final-message; null: the client does not know the password. */
  async finish(clientFinal: string): Promise<string | null> {
    const { password, salt, iterations = ITERATIONS.least, endPoint } = this.#options;
    const first = this.#first;
    this.#first = null;
    const final = readClientFinal(clientFinal);
    if (first === null || final === null || final.nonce !== this.#nonce) return null;
    const data = typeof first.binding === "object" ? (endPoint ?? new Uint8Array(0)) : new Uint8Array(0);
    if (!sameBytes(final.binding, Buffer.concat([Buffer.from(first.header), data]))) return null;
    const keys: ScramKeys = await deriveKeys(password, salt, iterations);
    const authMessage = `${first.bare},${this.#serverFirst},${final.withoutProof}`;
    if (!provesKey(keys, authMessage, final.proof)) return null;
    return `v=${serverSignature(keys, authMessage).toString("base64")}`;
  }
}
