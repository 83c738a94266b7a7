/**
 * A bundle's signature in OPA's own format: `.signatures.json` holds one JWT (EdDSA, Ed25519) whose payload lists every file of
 * the bundle with its hash. Ours adds claims: for whom the bundle is (`scope`), which in a rising row it is (`sequence`), and
 * until when it may be taken (`exp`, seconds). `opa` verifies what we sign and we verify what `opa sign` signs.
 *
 * Errs towards refusal: a file that is not listed, a listed file that is missing, another algorithm than EdDSA, a key that we were
 * not given, a claim that is absent: all refused.
 * Format: openpolicyagent.org/docs/management-bundles/#signing; RFC 7515, RFC 8037.
 */
import { type KeyObject, sign, verify } from "node:crypto";
import { hashBytes, hashJson } from "./canonical.ts";
import type { BundleFault } from "./refusal.ts";

export const SIGNATURES = ".signatures.json";
const MAX_TOKEN_CHARS = 256 * 1024;

export interface BundleClaims {
  /** Whom the bundle is for: equal on both sides, else refused. */
  readonly scope: string;
  /** Only rises. */
  readonly sequence: number;
  /** Wall milliseconds; null: no end. Kept in whole seconds. */
  readonly notAfterMs: number | null;
}

export interface SigningKey {
  readonly id: string;
  readonly privateKey: KeyObject;
}

export interface TrustedKey {
  readonly id: string;
  readonly publicKey: KeyObject;
}

/** Files whose hash is of the JSON value (OPA: "structured documents"), not of the bytes. */
function isStructured(name: string): boolean {
  const base = name.slice(name.lastIndexOf("/") + 1);
  return base === ".manifest" || base === "data.json";
}

function hashFile(name: string, content: Uint8Array): string {
  return isStructured(name) ? hashJson(utf8(content)) : hashBytes(content);
}

function utf8(content: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(content);
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The text of `.signatures.json` over exactly these files. The key stays in memory. */
export function signFiles(files: ReadonlyMap<string, Uint8Array>, claims: BundleClaims, key: SigningKey): string {
  const payload = {
    files: [...files].map(([name, content]) => ({ name, hash: hashFile(name, content), algorithm: "SHA-256" })),
    scope: claims.scope,
    sequence: claims.sequence,
    ...(claims.notAfterMs === null ? {} : { exp: Math.floor(claims.notAfterMs / 1000) }),
  };
  const signed = `${encode({ alg: "EdDSA", typ: "JWT", kid: key.id })}.${encode(payload)}`;
  const signature = sign(null, Buffer.from(signed), key.privateKey).toString("base64url");
  return JSON.stringify({ signatures: [`${signed}.${signature}`] });
}

/** `files`: all of the archive, with `.signatures.json`. */
export function verifyFiles(
  files: ReadonlyMap<string, Uint8Array>,
  keys: readonly TrustedKey[],
): { readonly kind: "verified"; readonly claims: BundleClaims } | BundleFault {
  const text = files.get(SIGNATURES);
  if (text === undefined) return refuse("bundle_unsigned", "it has no .signatures.json");
  let header: Record<string, unknown>;
  let payload: Record<string, unknown>;
  let parts: string[];
  try {
    const token = readToken(utf8(text));
    parts = token.split(".");
    if (parts.length !== 3) throw new TypeError("not three parts");
    header = decode(parts[0]);
    payload = decode(parts[1]);
  } catch (fault) {
    return refuse("bundle_signature", `its signature cannot be read: ${String(fault)}`);
  }
  if (header["alg"] !== "EdDSA") return refuse("bundle_signature", `algorithm ${String(header["alg"])} is not EdDSA`);
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  const signature = Buffer.from(parts[2] ?? "", "base64url");
  if (!keys.some((key) => verify(null, signed, key.publicKey, signature)))
    return refuse("bundle_signature", "no trusted key made its signature");
  return checkFiles(files, payload["files"]) ?? readClaims(payload);
}

function readToken(text: string): string {
  const parsed = JSON.parse(text) as { signatures?: unknown };
  const tokens = parsed.signatures;
  if (!Array.isArray(tokens) || tokens.length !== 1 || typeof tokens[0] !== "string")
    throw new TypeError("not one signature");
  if (tokens[0].length > MAX_TOKEN_CHARS) throw new RangeError("signature is too long");
  return tokens[0];
}

function decode(part: string | undefined): Record<string, unknown> {
  const value = JSON.parse(Buffer.from(part ?? "", "base64url").toString("utf8")) as unknown;
  if (typeof value !== "object" || value === null) throw new TypeError("not an object");
  return value as Record<string, unknown>;
}

function checkFiles(files: ReadonlyMap<string, Uint8Array>, listed: unknown): BundleFault | null {
  if (!Array.isArray(listed)) return refuse("bundle_signature", "it lists no files");
  const seen = new Set<string>();
  for (const item of listed as { name?: unknown; hash?: unknown; algorithm?: unknown }[]) {
    if (typeof item !== "object" || item === null || typeof item.name !== "string")
      return refuse("bundle_signature", "its list of files cannot be read");
    const content = files.get(item.name);
    if (content === undefined) return refuse("bundle_file", `${item.name} is signed and missing`);
    if (item.algorithm !== "SHA-256") return refuse("bundle_file", `${item.name}: hash algorithm is not SHA-256`);
    let hash: string;
    try {
      hash = hashFile(item.name, content);
    } catch (fault) {
      return refuse("bundle_file", `${item.name} cannot be read: ${String(fault)}`);
    }
    if (hash !== item.hash) return refuse("bundle_file", `${item.name} is not the file that was signed`);
    seen.add(item.name);
  }
  for (const name of files.keys())
    if (name !== SIGNATURES && !seen.has(name)) return refuse("bundle_file", `${name} is there and not signed`);
  return null;
}

function readClaims(
  payload: Record<string, unknown>,
): { readonly kind: "verified"; readonly claims: BundleClaims } | BundleFault {
  const { scope, sequence, exp } = payload;
  if (typeof scope !== "string") return refuse("bundle_scope", "the signature names no scope");
  if (typeof sequence !== "number" || !Number.isSafeInteger(sequence) || sequence < 0)
    return refuse("bundle_signature", "the signature has no sequence");
  if (exp !== undefined && (typeof exp !== "number" || !Number.isFinite(exp)))
    return refuse("bundle_signature", "the signature's end cannot be read");
  return {
    kind: "verified",
    claims: { scope, sequence, notAfterMs: exp === undefined ? null : exp * 1000 },
  };
}

function refuse(code: BundleFault["code"], message: string): BundleFault {
  return { kind: "refused", code, message };
}
