/**
 * The client of SCRAM-SHA-256 and -PLUS (RFC 5802, 7677): proves that it has the password without saying it, and accepts no
 * server that cannot prove the same.
 *
 * Fails closed: whatever the server says wrong is a fault, and after one nothing more is said.
 */
import {
  deriveKeys,
  ITERATIONS,
  proof,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  type ScramKeys,
  sameBytes,
  serverSignature,
} from "./scram-keys.ts";
import { readServerFinal, readServerFirst } from "./scram-text.ts";

export type ScramFault =
  | "malformed"
  | "nonce" // not our own, continued: somebody answers for an exchange that is not this one
  | "too-few-iterations"
  | "too-many-iterations"
  | "refused" // the server says that the password is wrong
  | "server-unproven"; // it does not know the password: not the server that the credential belongs to

export interface ScramClientOptions {
  readonly password: string;
  /** At least 18 random bytes. */
  readonly nonce: Uint8Array;
  /** tls-server-end-point of the connection (RFC 5929); null: none, and then the server is told that we could not bind. */
  readonly endPoint: Uint8Array | null;
}

export class ScramClient {
  readonly mechanism: typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS;
  /** client-first-message. PostgreSQL takes the user from its startup message, so the name in here is empty. */
  readonly first: string;
  readonly #password: string;
  readonly #nonce: string;
  readonly #header: string;
  readonly #endPoint: Uint8Array;
  #keys: ScramKeys | null = null;
  #authMessage = "";

  constructor({ password, nonce, endPoint }: ScramClientOptions) {
    if (nonce.length < 18) throw new RangeError("a nonce needs 18 bytes");
    this.#password = password;
    this.#nonce = Buffer.from(nonce).toString("base64");
    this.mechanism = endPoint === null ? SCRAM_SHA_256 : SCRAM_SHA_256_PLUS;
    this.#header = endPoint === null ? "n,," : "p=tls-server-end-point,,";
    this.#endPoint = endPoint ?? new Uint8Array(0);
    this.first = `${this.#header}${this.#bare()}`;
  }

  /** client-final-message, or why there is none. */
  async answer(serverFirst: string): Promise<{ readonly final: string } | ScramFault> {
    const read = readServerFirst(serverFirst);
    if (read === null) return "malformed";
    if (!read.nonce.startsWith(this.#nonce) || read.nonce.length === this.#nonce.length) return "nonce";
    if (read.iterations < ITERATIONS.least) return "too-few-iterations";
    if (read.iterations > ITERATIONS.most) return "too-many-iterations";
    const binding = Buffer.concat([Buffer.from(this.#header), this.#endPoint]).toString("base64");
    const withoutProof = `c=${binding},r=${read.nonce}`;
    this.#authMessage = `${this.#bare()},${serverFirst},${withoutProof}`;
    this.#keys = await deriveKeys(this.#password, read.salt, read.iterations);
    return { final: `${withoutProof},p=${proof(this.#keys, this.#authMessage).toString("base64")}` };
  }

  /** Null: the server has proven that it knows the password, too. */
  verify(serverFinal: string): ScramFault | null {
    const keys = this.#keys;
    this.#keys = null;
    const read = readServerFinal(serverFinal);
    if (read === null) return "malformed";
    if (read.kind === "error") return "refused";
    return keys !== null && sameBytes(read.signature, serverSignature(keys, this.#authMessage))
      ? null
      : "server-unproven";
  }

  #bare(): string {
    return `n=,r=${this.#nonce}`;
  }
}
