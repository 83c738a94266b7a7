/**
 * What a backend sends (manual: Message Formats), one small function a message, fields in the manual's order. `body`: everything
 * behind the length, latin1.
 */
import { int32, isOneString, message, readInt16, readInt32, utf8 } from "./text.ts";

/** Type bytes. */
export const BACKEND = {
  authentication: 0x52, // R
  backendKeyData: 0x4b, // K
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  commandComplete: 0x43, // C
  copyBothResponse: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  dataRow: 0x44, // D
  emptyQueryResponse: 0x49, // I
  errorResponse: 0x45, // E
  negotiateProtocolVersion: 0x76, // v
  noData: 0x6e, // n
  noticeResponse: 0x4e, // N
  notificationResponse: 0x41, // A
  parameterDescription: 0x74, // t
  parameterStatus: 0x53, // S
  parseComplete: 0x31, // 1
  portalSuspended: 0x73, // s
  readyForQuery: 0x5a, // Z
  rowDescription: 0x54, // T
} as const;

/** I: idle; T: in a transaction block; E: in one that failed. */
export type TransactionStatus = "I" | "T" | "E";

export type Authentication =
  | { readonly kind: "ok" }
  | { readonly kind: "cleartext" }
  | { readonly kind: "md5"; readonly salt: string }
  | { readonly kind: "sasl"; readonly mechanisms: readonly string[] }
  | { readonly kind: "sasl-continue"; readonly data: string }
  | { readonly kind: "sasl-final"; readonly data: string }
  | { readonly kind: "other"; readonly code: number }; // Kerberos, GSSAPI, SSPI, OAuth's SASL, …

export const AUTHENTICATION_OK = message("R", int32(0));
export const AUTHENTICATION_CLEARTEXT = message("R", int32(3));

/** Null: malformed. */
export function readAuthentication(body: string): Authentication | null {
  if (body.length < 4) return null;
  const code = readInt32(body, 0);
  const data = body.slice(4);
  switch (code) {
    case 0:
      return data === "" ? { kind: "ok" } : null;
    case 3:
      return data === "" ? { kind: "cleartext" } : null;
    case 5:
      return data.length === 4 ? { kind: "md5", salt: data } : null;
    case 10: {
      // String mechanism, …, Byte1 0
      if (!data.endsWith("\0\0")) return null;
      return { kind: "sasl", mechanisms: data.slice(0, -2).split("\0") };
    }
    case 11:
      return { kind: "sasl-continue", data };
    case 12:
      return { kind: "sasl-final", data };
    default:
      return { kind: "other", code };
  }
}

export function md5RequestText(salt: string): string {
  return message("R", int32(5) + salt);
}

export function saslRequestText(mechanisms: readonly string[]): string {
  return message("R", `${int32(10)}${mechanisms.map((name) => `${name}\0`).join("")}\0`);
}

export function saslContinueText(data: string): string {
  return message("R", int32(11) + data);
}

export function saslFinalText(data: string): string {
  return message("R", int32(12) + data);
}

// BackendKeyData: Int32 pid, Byte[n] key (4 bytes in protocol 3.0, up to 256 in 3.2)
export function readKeyData(body: string): { readonly pid: number; readonly key: string } | null {
  return body.length < 8 || body.length > 260 ? null : { pid: readInt32(body, 0), key: body.slice(4) };
}

export function keyDataText(pid: number, key: string): string {
  return message("K", int32(pid) + key);
}

// ParameterStatus: String name, String value
export function readParameterStatus(body: string): { readonly name: string; readonly value: string } | null {
  const [name, value, rest, ...more] = body.split("\0");
  return name === undefined || value === undefined || rest !== "" || more.length > 0 ? null : { name, value };
}

// ReadyForQuery: Byte1
export function readReady(body: string): TransactionStatus | null {
  return body === "I" || body === "T" || body === "E" ? body : null;
}

export function readyText(status: TransactionStatus): string {
  return message("Z", status);
}

// CommandComplete: String
export function readCommandTag(body: string): string | null {
  return isOneString(body) ? body.slice(0, -1) : null;
}

// NegotiateProtocolVersion: Int32 newest minor version (or all of the version), Int32 n, String[n]
export function readNegotiation(body: string): { readonly minor: number } | null {
  return body.length < 8 ? null : { minor: readInt32(body, 0) & 0xffff };
}

/** One field of a RowDescription. */
export interface Field {
  readonly name: string;
  /** OID of the table that it is a plain column of; 0: an expression. */
  readonly table: number;
  /** Attribute number in that table; 0 likewise. */
  readonly column: number;
  readonly type: number;
  readonly size: number;
  readonly modifier: number;
  /** 0: text, 1: binary. */
  readonly format: number;
}

// RowDescription: Int16 n, then each: String name, Int32 table, Int16 column, Int32 type, Int16 size, Int32 modifier, Int16 format
export function readRowDescription(body: string): Field[] | null {
  if (body.length < 2) return null;
  const count = readInt16(body, 0);
  const fields: Field[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    const end = body.indexOf("\0", at);
    if (end < 0 || body.length < end + 19) return null;
    fields.push({
      name: body.slice(at, end),
      table: readInt32(body, end + 1) >>> 0,
      column: (readInt16(body, end + 5) << 16) >> 16,
      type: readInt32(body, end + 7) >>> 0,
      size: (readInt16(body, end + 11) << 16) >> 16,
      modifier: readInt32(body, end + 13),
      format: readInt16(body, end + 17),
    });
    at = end + 19;
  }
  return at === body.length ? fields : null;
}

// DataRow: Int16 n, then each: Int32 length (-1: NULL), Byte[length]
export function readDataRow(body: string): (string | null)[] | null {
  if (body.length < 2) return null;
  const count = readInt16(body, 0);
  const row: (string | null)[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    if (body.length < at + 4) return null;
    const length = readInt32(body, at);
    at += 4;
    if (length < -1 || body.length < at + length) return null;
    row.push(length === -1 ? null : body.slice(at, at + length));
    at += Math.max(length, 0);
  }
  return at === body.length ? row : null;
}

// CopyOutResponse: Int8 overall format (0: text, 1: binary), Int16 n, Int16[n]
export function readCopyOut(body: string): { readonly binary: boolean; readonly columns: number } | null {
  if (body.length < 3) return null;
  const columns = readInt16(body, 1);
  return body.length === 3 + 2 * columns ? { binary: body.charCodeAt(0) === 1, columns } : null;
}

/** Fields of an ErrorResponse or NoticeResponse by their letter (manual: Error and Notice Message Fields). */
export function readNotice(body: string): ReadonlyMap<string, string> | null {
  const fields = new Map<string, string>();
  let at = 0;
  for (;;) {
    const letter = body[at];
    if (letter === undefined) return null;
    if (letter === "\0") return at === body.length - 1 ? fields : null;
    const end = body.indexOf("\0", at + 1);
    if (end < 0) return null;
    fields.set(letter, body.slice(at + 1, end));
    at = end + 1;
  }
}

/** As `readNotice` gave them: bytes as latin1. */
export function noticeBytes(type: "E" | "N", fields: ReadonlyMap<string, string>): string {
  let body = "";
  for (const [letter, bytes] of fields) body += `${letter}${bytes}\0`;
  return message(type, `${body}\0`);
}

/** `fields`: letter and text, as JavaScript text; empty ones are left out. */
export function noticeText(type: "E" | "N", fields: readonly (readonly [string, string])[]): string {
  let body = "";
  for (const [letter, text] of fields) if (text !== "") body += `${letter}${utf8(text)}\0`;
  return message(type, `${body}\0`);
}
