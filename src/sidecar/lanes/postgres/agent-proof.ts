/**
 * The server's side of authentication, towards an agent that holds no secret: it is asked for nothing, or for the placeholder that
 * it was given, in the way that its driver insists on. What is accepted here opens nothing by itself: `connect` was judged before.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { assertNever } from "#core/assert-never.ts";
import { md5Password } from "#sasl/md5.ts";
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from "#sasl/scram-keys.ts";
import { ScramServer } from "#sasl/scram-server.ts";
import {
  AUTHENTICATION_CLEARTEXT,
  md5RequestText,
  saslContinueText,
  saslFinalText,
  saslRequestText,
} from "./codec/backend.ts";
import { isFault } from "./codec/fault.ts";
import { readSaslInitial } from "./codec/frontend.ts";
import { fromUtf8, isOneString } from "./codec/text.ts";

/**
 * trust: nothing is asked. password, md5: any answer is accepted where `placeholder` is null, else only that one. SCRAM proves the
 * password to both sides, so it needs one that both know.
 */
export type AgentAuthentication =
  | { readonly method: "trust" }
  | { readonly method: "password" | "md5"; readonly placeholder: string | null }
  | { readonly method: "scram-sha-256"; readonly placeholder: string };

export type Proof =
  | { readonly kind: "say"; readonly text: string }
  | { readonly kind: "proven"; readonly text: string }
  | { readonly kind: "refused" };

const REFUSED: Proof = { kind: "refused" };
const PROVEN: Proof = { kind: "proven", text: "" };

export interface AgentProofOptions {
  readonly authentication: AgentAuthentication;
  /** UTF-8 bytes as latin1. */
  readonly user: string;
  readonly endPoint: Uint8Array | null;
  readonly random?: (bytes: number) => Uint8Array;
}

export class AgentProof {
  readonly #authentication: AgentAuthentication;
  readonly #user: string;
  readonly #endPoint: Uint8Array | null;
  readonly #salt: Uint8Array;
  readonly #scram: ScramServer | null;
  #begun = false;

  constructor({ authentication, user, endPoint, random = randomBytes }: AgentProofOptions) {
    this.#authentication = authentication;
    this.#user = user;
    this.#endPoint = endPoint;
    this.#salt = random(authentication.method === "md5" ? 4 : 16);
    this.#scram =
      authentication.method === "scram-sha-256"
        ? new ScramServer({ password: authentication.placeholder, nonce: random(18), salt: this.#salt, endPoint })
        : null;
  }

  /** The request; null: nothing is asked. */
  get request(): string | null {
    switch (this.#authentication.method) {
      case "trust":
        return null;
      case "password":
        return AUTHENTICATION_CLEARTEXT;
      case "md5":
        return md5RequestText(Buffer.from(this.#salt).toString("latin1"));
      case "scram-sha-256":
        return saslRequestText(this.#endPoint === null ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]);
      default:
        return assertNever(this.#authentication);
    }
  }

  /** What a PasswordMessage or SASL message amounts to. `body`: behind its length. */
  answer(body: string): Proof | Promise<Proof> {
    switch (this.#authentication.method) {
      case "trust":
        return REFUSED;
      case "password":
      case "md5":
        return this.#password(body);
      case "scram-sha-256":
        return this.#sasl(body);
      default:
        return assertNever(this.#authentication);
    }
  }

  #password(body: string): Proof {
    const authentication = this.#authentication;
    if (authentication.method !== "password" && authentication.method !== "md5") return REFUSED;
    if (!isOneString(body)) return REFUSED;
    if (authentication.placeholder === null) return PROVEN;
    const said = Buffer.from(body.slice(0, -1), "latin1");
    const expected = Buffer.from(
      authentication.method === "password"
        ? authentication.placeholder
        : md5Password(fromUtf8(this.#user) ?? "", authentication.placeholder, this.#salt),
    );
    return said.length === expected.length && timingSafeEqual(said, expected) ? PROVEN : REFUSED;
  }

  #sasl(body: string): Proof | Promise<Proof> {
    const scram = this.#scram;
    if (scram === null) return REFUSED;
    if (this.#begun)
      return scram
        .finish(body)
        .then((final): Proof => (final === null ? REFUSED : { kind: "proven", text: saslFinalText(final) }));
    this.#begun = true;
    const read = readSaslInitial(body);
    if (isFault(read)) return REFUSED;
    const plus = read.mechanism === SCRAM_SHA_256_PLUS && this.#endPoint !== null;
    if (!plus && read.mechanism !== SCRAM_SHA_256) return REFUSED;
    const first = scram.begin(read.data, plus);
    return first === null ? REFUSED : { kind: "say", text: saslContinueText(first) };
  }
}
