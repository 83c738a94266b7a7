/**
 * Reads an HTTP request-target in origin-form (RFC 9112 section 3.2.1): what a policy judges must be what every server
 * understands, so a path that two servers could resolve differently is a fault, never normalised.
 *
 *   origin-form = absolute-path [ "?" query ]      absolute-path = 1*( "/" segment )      segment = *pchar
 *
 * Refused: an empty segment (`//`), a dot segment in any spelling, an encoded slash, backslash or control byte, a percent sign
 * without two digits, bytes that are no UTF-8. `ambiguous` marks what is common enough to be left to the policy's author:
 * path parameters (`;`, which some servers cut off) and double encoding of a delimiter.
 */

export interface RequestTarget {
  /** As on the wire, with its query. */
  readonly raw: string;
  /** Decoded once, without the query; `*` for the asterisk-form. */
  readonly path: string;
  /** The path's parts, decoded one by one; `/` has none, a trailing slash makes an empty last one. */
  readonly segments: readonly string[];
  /** As on the wire, without its question mark; null: there was none. */
  readonly query: string | null;
  /** Servers differ on what this path names. */
  readonly ambiguous: boolean;
}

export type TargetFault =
  | "target_form"
  | "target_character"
  | "double_slash"
  | "dot_segment"
  | "encoded_slash"
  | "encoded_control"
  | "percent_encoding"
  | "target_utf8";

// pchar (RFC 3986 section 3.3), and what browsers' URL parsers leave unencoded in a path: [ ] | ^
const PATH_CHARACTER = classOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/[]|^");
// Any printable ASCII but the fragment's sign: servers do not resolve a query, they only split it.
const QUERY_CHARACTER = classOf(String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i)).replace("#", ""));

const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;
const SEMICOLON = 0x3b;
const QUESTION = 0x3f;

/** `raw`: latin1, starting with `/`. The caller bounds its length. */
export function readTarget(raw: string): RequestTarget | TargetFault {
  if (raw.charCodeAt(0) !== SLASH) return "target_form";
  const length = raw.length;
  let encoded = false;
  let ambiguous = false;
  let start = 1;
  let i = 1;
  const parts: string[] = [];
  for (; ; i++) {
    const c = i < length ? raw.charCodeAt(i) : QUESTION;
    if (c === SLASH || c === QUESTION) {
      // Only the last segment may be empty.
      if (i === start && c === SLASH) return "double_slash";
      const part = raw.slice(start, i);
      if (isDotSegment(part, encoded)) return "dot_segment";
      parts.push(part);
      start = i + 1;
      if (c === QUESTION) break;
    } else if (c === PERCENT) {
      const fault = badEscape(raw, i);
      if (fault !== null) return fault;
      encoded = true;
      if (isDoubleEncoding(raw, i)) ambiguous = true;
      i += 2;
    } else if (PATH_CHARACTER[c] !== 1) return "target_character";
    else if (c === SEMICOLON) ambiguous = true;
  }
  const query = i < length ? raw.slice(i + 1) : null;
  if (query !== null) {
    const fault = queryFault(query);
    if (fault !== null) return fault;
  }
  if (parts.length === 1 && parts[0] === "") parts.length = 0;
  if (!encoded) return { raw, path: query === null ? raw : raw.slice(0, i), segments: parts, query, ambiguous };
  const segments: string[] = [];
  for (const part of parts) {
    const text = decode(part);
    if (text === null) return "target_utf8";
    segments.push(text);
  }
  return { raw, path: `/${segments.join("/")}`, segments, query, ambiguous };
}

export const ASTERISK: RequestTarget = { raw: "*", path: "*", segments: [], query: null, ambiguous: false };

/** One query parameter's name or value, read as a form (`+` is a space). Null: no UTF-8. */
export function decodeQueryPart(part: string): string | null {
  if (!part.includes("%") && !part.includes("+")) return part;
  return decode(part.replaceAll("+", " "));
}

function decode(part: string): string | null {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

function queryFault(query: string): TargetFault | null {
  for (let i = 0; i < query.length; i++) {
    const c = query.charCodeAt(i);
    if (QUERY_CHARACTER[c] !== 1) return "target_character";
    if (c !== PERCENT) continue;
    const value = hexPair(query, i + 1);
    if (value < 0) return "percent_encoding";
    if (value === 0) return "encoded_control";
    i += 2;
  }
  return null;
}

function badEscape(raw: string, at: number): TargetFault | null {
  const value = hexPair(raw, at + 1);
  if (value < 0) return "percent_encoding";
  if (value === 0x2f || value === 0x5c) return "encoded_slash";
  if (value < 0x20 || value === 0x7f) return "encoded_control";
  return null;
}

/** `%25` in front of two digits that would become a delimiter, a dot or NUL for whoever decodes twice. */
function isDoubleEncoding(raw: string, at: number): boolean {
  if (hexPair(raw, at + 1) !== PERCENT) return hexPair(raw, at + 1) === SEMICOLON;
  const inner = hexPair(raw, at + 3);
  return inner === SLASH || inner === 0x5c || inner === DOT || inner === 0 || inner === PERCENT || inner === SEMICOLON;
}

/** `.` and `..`, also encoded, also in front of a path parameter (`..;x`): such a server cuts it off, and then resolves. */
function isDotSegment(part: string, mayBeEncoded: boolean): boolean {
  const first = part.charCodeAt(0);
  if (first !== DOT && !(mayBeEncoded && first === PERCENT)) {
    // An empty name in front of a parameter (`/;x/`) is an empty segment for whoever cuts it off.
    return first === SEMICOLON;
  }
  const plain = mayBeEncoded ? part.replace(/%2e/gi, ".").replace(/%3b/gi, ";") : part;
  const name = plain.includes(";") ? plain.slice(0, plain.indexOf(";")) : plain;
  return name === "." || name === ".." || (name === "" && plain !== "");
}

function hexPair(text: string, at: number): number {
  const high = hex(text.charCodeAt(at));
  const low = hex(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hex(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function classOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const c of characters) table[c.charCodeAt(0)] = 1;
  return table;
}
