/**
 * Stands for a confidential value without saying it: equal values get equal tokens, so that an agent can join, count and compare, and
 * nobody without the key can go back, nor try values out. One key a run or namespace: tokens of one mean nothing in another.
 */
import { createHmac } from "node:crypto";

export interface Tokens {
  /** `tok_<what>_<16 characters>`. `what` is a hint for people; the characters depend on the value only. */
  token(what: string, value: Uint8Array | string): string;
  /** Sixteen bytes that depend on the value only, for what must keep a form (a number, a UUID). */
  bytes(value: Uint8Array | string): Buffer;
}

/** Crockford's, in lower case: nothing in it can be taken for something else. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH = 16;
const MAX_WHAT = 24;
const MIN_KEY = 32;

/** `key`: at least 32 random bytes. */
export function createTokens(key: Uint8Array): Tokens {
  if (key.length < MIN_KEY) throw new RangeError(`a key of ${key.length} bytes is too short`);
  const mac = (value: Uint8Array | string): Buffer => createHmac("sha256", key).update(value).digest();
  return {
    token(what, value) {
      const digest = mac(value);
      let text = "";
      // five bits a character: 80 bits
      for (let i = 0; i < LENGTH; i++) {
        const bit = i * 5;
        const pair = ((digest[bit >> 3] ?? 0) << 8) | (digest[(bit >> 3) + 1] ?? 0);
        text += ALPHABET.charAt((pair >> (11 - (bit & 7))) & 31);
      }
      return `tok_${labelOf(what)}_${text}`;
    },
    bytes: (value) => mac(value).subarray(0, 16),
  };
}

function labelOf(what: string): string {
  const label = what
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, MAX_WHAT);
  return label === "" || label === "-" ? "value" : label;
}
