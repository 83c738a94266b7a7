/**
 * SCRAM's keys and signatures (RFC 5802 section 3) for SHA-256 (RFC 7677). Deriving them is slow on purpose, so it is done off the
 * event loop; all the rest is cheap. Secrets are compared in constant time.
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { preparePassword } from "./prepare.ts";

export const SCRAM_SHA_256 = "SCRAM-SHA-256";
export const SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS";

/**
 * A server that asks for fewer makes the password cheap to guess from what we send (RFC 7677 section 4); one that asks for more
 * keeps a thread busy for a second and longer.
 */
export const ITERATIONS = { least: 4_096, most: 1_000_000 } as const;

const KEY_BYTES = 32;

export interface ScramKeys {
  readonly client: Buffer;
  /** H(client): what a server keeps to check a proof. */
  readonly stored: Buffer;
  readonly server: Buffer;
}

/** SaltedPassword := Hi(Normalize(password), salt, i). Rejects only on a fault of the machine. */
export async function deriveKeys(password: string, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
  const text = await preparePassword(password);
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(text, salt, iterations, KEY_BYTES, "sha256", (fault, key) =>
      fault === null ? resolve(key) : reject(fault),
    );
  });
  const client = hmac(salted, "Client Key");
  return { client, stored: createHash("sha256").update(client).digest(), server: hmac(salted, "Server Key") };
}

export function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text, "utf8").digest();
}

/** ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage), and back again. */
export function proof(keys: ScramKeys, authMessage: string): Buffer {
  return xor(keys.client, hmac(keys.stored, authMessage));
}

/** Whether a proof was made by somebody who has the client key. */
export function provesKey(keys: ScramKeys, authMessage: string, given: Uint8Array): boolean {
  if (given.length !== KEY_BYTES) return false;
  const client = xor(given, hmac(keys.stored, authMessage));
  return timingSafeEqual(createHash("sha256").update(client).digest(), keys.stored);
}

export function serverSignature(keys: ScramKeys, authMessage: string): Buffer {
  return hmac(keys.server, authMessage);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  const out = Buffer.alloc(KEY_BYTES);
  for (let i = 0; i < KEY_BYTES; i++) out[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return out;
}
