/**
 * Messages as they are written: latin1 strings, one character a byte. Small messages are cheapest so, and several of them become
 * one write by gluing.
 */

/** The `int32` of the manual: four bytes, most significant first. */
export function int32(value: number): string {
  return String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

export function int16(value: number): string {
  return String.fromCharCode((value >>> 8) & 255, value & 255);
}

/** A typed message. `body` is latin1; the length counts itself. */
export function message(type: string, body: string): string {
  return type + int32(body.length + 4) + body;
}

/** Text of ours, or of a policy, as the wire carries it: UTF-8 bytes, one character each. NUL would end a string early. */
export function utf8(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  const clean = text.includes("\0") ? text.replaceAll("\0", "") : text;
  return ASCII.test(clean) ? clean : Buffer.from(clean, "utf8").toString("latin1");
}

// oxlint-disable-next-line no-control-regex -- control characters are what it is about
const ASCII = /^[\x00-\x7f]*$/;

const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text; null where they are no UTF-8. Never U+FFFD: two different statements must not read alike. */
export function fromUtf8(bytes: string): string | null {
  if (ASCII.test(bytes)) return bytes;
  try {
    return STRICT.decode(Buffer.from(bytes, "latin1"));
  } catch {
    return null;
  }
}

/** Whether text is lexed alike under every `client_encoding` and `standard_conforming_strings`: ASCII without a backslash. */
export function isLexedAlike(bytes: string): boolean {
  return ASCII.test(bytes) && !bytes.includes("\\");
}

/** Whether `body` is one String of the manual: NUL at its end, and nowhere before. */
export function isOneString(body: string): boolean {
  return body !== "" && body.indexOf("\0") === body.length - 1;
}

export function readInt32(bytes: string, at: number): number {
  return (
    (bytes.charCodeAt(at) << 24) |
    (bytes.charCodeAt(at + 1) << 16) |
    (bytes.charCodeAt(at + 2) << 8) |
    bytes.charCodeAt(at + 3)
  );
}

export function readInt16(bytes: string, at: number): number {
  return (bytes.charCodeAt(at) << 8) | bytes.charCodeAt(at + 1);
}
