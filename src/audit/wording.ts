/**
 * The texts of an operation on their way into its lines: redacted, bounded, and in one line, whatever a lane or a policy wrote.
 */
import { redact } from "./redact.ts";

/** A detail beyond this is left out, and its length said. Characters. */
const MAX_DETAIL = 128 * 1024;
const SALT_BYTES = 12;
const SALT_LENGTH = 16;

/** Remembers the last preamble and decision: those of one connection and one policy are the same string again and again. */
export class Wording {
  readonly #random: (bytes: number) => Uint8Array;
  #salts = "";
  #saltAt = 0;
  #lastPre = "";
  #cleanPre = "";
  #lastDecision = "";
  #cleanDecision = "";

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  preamble(text: string): string {
    if (text !== this.#lastPre) {
      this.#lastPre = text;
      // The run's intent may be a command line.
      this.#cleanPre = oneLine(redact(text, "name"), "pre");
    }
    return this.#cleanPre;
  }

  decision(text: string): string {
    if (text !== this.#lastDecision) {
      this.#lastDecision = text;
      this.#cleanDecision = oneLine(redact(text, "shape"), "text");
    }
    return this.#cleanDecision;
  }

  /** 96 random bits, base64url: without it nobody can find out an erased detail by guessing. */
  salt(): string {
    if (this.#saltAt >= this.#salts.length) {
      this.#salts = Buffer.from(this.#random(SALT_BYTES * 256)).toString("base64url");
      this.#saltAt = 0;
    }
    const salt = this.#salts.slice(this.#saltAt, this.#saltAt + SALT_LENGTH);
    this.#saltAt += SALT_LENGTH;
    return salt;
  }
}

/** The erasable JSON object of an op. */
export function detailText(facts: string, detail: string): string {
  const joined = facts === "" ? detail : detail === "" ? facts : `${facts},${detail}`;
  if (joined.length > MAX_DETAIL) return `{"omitted":${joined.length}}`;
  return `{${oneLine(redact(joined, "name"), "text")}}`;
}

/**
 * Facts that are the same for many details, looked through once. Null: they and a detail must be looked through together, because a secret
 * could reach from one into the other.
 */
export function cleanFacts(facts: string): string | null {
  if (!facts.endsWith("}")) return null;
  const clean = redact(facts, "name");
  return clean.endsWith("}") && !clean.includes("\n") ? clean : null;
}

/**
 * `detailText` of facts that are clean already. Null: this detail takes the long way. Nothing that counts as a secret holds a quote, so
 * none begins in front of `},"` and ends behind it.
 */
export function likeDetailText(clean: string, detail: string): string | null {
  if (!detail.startsWith('"') || detail.includes("\n") || clean.length + detail.length >= MAX_DETAIL) return null;
  return `{${clean},${redact(detail, "name")}}`;
}

/** A raw line feed would let a text forge lines: such a text is no JSON, so it is kept as a string. */
export function oneLine(members: string, name: string): string {
  return members.includes("\n") ? `"${name}":${JSON.stringify(members)}` : members;
}
