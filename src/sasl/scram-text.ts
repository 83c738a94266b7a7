/**
 * SCRAM's messages as text (RFC 5802 section 7): attributes in a fixed order, separated by commas. Both sides read here.
 *
 * Errs towards "malformed": an attribute that is missing, twice or out of order, base64 that is not canonical, and mandatory
 * extensions (`m=`), which section 5.1 tells to refuse.
 */

/** Longest message that is read. PostgreSQL's own are below 300 bytes. */
export const MAX_SCRAM_BYTES = 4_096;

// printable: %x21-2B / %x2D-7E, all ASCII but the comma
const NONCE = /^[\x21-\x2b\x2d-\x7e]{1,512}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const COUNT = /^[1-9][0-9]{0,8}$/;

export interface ServerFirst {
  readonly nonce: string;
  readonly salt: Buffer;
  readonly iterations: number;
}

// server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
export function readServerFirst(text: string): ServerFirst | null {
  if (text.length > MAX_SCRAM_BYTES) return null;
  const [r, s, i] = text.split(",");
  const nonce = attribute("r", r);
  const salt = base64(attribute("s", s));
  const count = attribute("i", i);
  if (nonce === null || !NONCE.test(nonce) || salt === null || salt.length === 0) return null;
  if (count === null || !COUNT.test(count)) return null;
  return { nonce, salt, iterations: Number(count) };
}

export type ServerFinal =
  | { readonly kind: "signature"; readonly signature: Buffer }
  | { readonly kind: "error"; readonly error: string };

// server-final-message = (server-error / verifier) ["," extensions]
export function readServerFinal(text: string): ServerFinal | null {
  if (text.length > MAX_SCRAM_BYTES) return null;
  const [first] = text.split(",");
  const error = attribute("e", first);
  if (error !== null) return { kind: "error", error };
  const signature = base64(attribute("v", first));
  return signature === null ? null : { kind: "signature", signature };
}

export interface ClientFirst {
  /** gs2-header, with both its commas. */
  readonly header: string;
  /** n: the client cannot bind; y: it could, and believes that the server cannot; else the name of the binding. */
  readonly binding: "n" | "y" | { readonly name: string };
  readonly nonce: string;
  /** client-first-message-bare */
  readonly bare: string;
}

// client-first-message = gs2-cbind-flag "," [authzid] "," [reserved-mext ","] username "," nonce ["," extensions]
export function readClientFirst(text: string): ClientFirst | null {
  if (text.length > MAX_SCRAM_BYTES) return null;
  const match = /^(?:(n|y)|p=([A-Za-z0-9.-]{1,64})),(?:a=[^,]*)?,(n=[^,]*,r=([^,]*)(?:,.*)?)$/s.exec(text);
  if (match === null) return null;
  const [, flag, name, bare = "", nonce = ""] = match;
  if (!NONCE.test(nonce)) return null;
  const binding = flag === "n" || flag === "y" ? flag : { name: name ?? "" };
  return { header: text.slice(0, text.length - bare.length), binding, nonce, bare };
}

export interface ClientFinal {
  readonly binding: Buffer;
  readonly nonce: string;
  readonly proof: Buffer;
  readonly withoutProof: string;
}

// client-final-message = channel-binding "," nonce ["," extensions] "," proof
export function readClientFinal(text: string): ClientFinal | null {
  if (text.length > MAX_SCRAM_BYTES) return null;
  const at = text.lastIndexOf(",p=");
  if (at < 0) return null;
  const withoutProof = text.slice(0, at);
  const [c, r] = withoutProof.split(",");
  const binding = base64(attribute("c", c));
  const nonce = attribute("r", r);
  const proof = base64(text.slice(at + 3));
  if (binding === null || nonce === null || proof === null) return null;
  return { binding, nonce, proof, withoutProof };
}

function attribute(name: string, text: string | undefined): string | null {
  return text?.startsWith(`${name}=`) === true ? text.slice(name.length + 1) : null;
}

function base64(text: string | null): Buffer | null {
  if (text === null || !BASE64.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}
