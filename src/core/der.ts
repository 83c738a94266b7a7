/**
 * Writes DER (X.690): the few types that a certificate is made of. Writing only, so there is no parser to attack; what was
 * written is read back in tests by OpenSSL, node:crypto and Java.
 *
 * Errs towards throwing: a value that has no DER form is a bug of the caller, never a certificate that clients read differently.
 */
import { Buffer } from "node:buffer";

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const SEQUENCE = 0x30;
const SET = 0x31;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const CONTEXT = 0x80;
const CONSTRUCTED = 0x20;

/** Tag, length (definite, shortest form: X.690 10.1), contents. Contents up to 2^24-1 bytes. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of contents) length += part.length;
  return Buffer.concat([header(tag, length), ...contents]);
}

function header(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  if (length < 0x100) return Buffer.from([tag, 0x81, length]);
  if (length < 0x10000) return Buffer.from([tag, 0x82, length >> 8, length & 0xff]);
  if (length < 0x1000000) return Buffer.from([tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]);
  throw new RangeError(`DER contents of ${length} bytes`);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => element(SEQUENCE, ...items);
/** A SET of one element: DER would sort more (X.690 11.6), which nothing here needs. */
export const setOf = (item: Uint8Array): Buffer => element(SET, item);
export const octets = (...contents: readonly Uint8Array[]): Buffer => element(OCTET_STRING, ...contents);
export const utf8 = (text: string): Buffer => element(UTF8_STRING, Buffer.from(text, "utf8"));
export const TRUE: Buffer = element(BOOLEAN, Buffer.from([0xff]));

/** `[n] EXPLICIT`. */
export const explicit = (n: number, item: Uint8Array): Buffer => element(CONTEXT | CONSTRUCTED | n, item);
/** `[n] IMPLICIT` over a primitive type. */
export const implicit = (n: number, contents: Uint8Array): Buffer => element(CONTEXT | n, contents);

/** A non-negative INTEGER from its big-endian bytes: leading zeros go, one comes back where the top bit is set (X.690 8.3). */
export function unsigned(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  const first = digits[0];
  if (first === undefined) throw new RangeError("INTEGER without bytes");
  return first >= 0x80 ? element(INTEGER, Buffer.from([0]), digits) : element(INTEGER, digits);
}

/** A whole number of bytes. */
export const bits = (contents: Uint8Array): Buffer => element(BIT_STRING, Buffer.from([0]), contents);

/** A named bit list: bit 0 is the leftmost; trailing zero bits are left out (X.690 11.2.2). At most 8 bits. */
export function namedBits(...set: readonly number[]): Buffer {
  let value = 0;
  let last = 0;
  for (const bit of set) {
    if (!Number.isInteger(bit) || bit < 0 || bit > 7) throw new RangeError(`named bit ${bit}`);
    value |= 0x80 >> bit;
    last = Math.max(last, bit);
  }
  return element(BIT_STRING, Buffer.from([7 - last, value]));
}

/** "1.2.840.10045.2.1" → its DER. */
export function objectId(dotted: string): Buffer {
  const arcs = dotted.split(".").map(Number);
  const [first, second, ...rest] = arcs;
  if (first === undefined || second === undefined || arcs.some((n) => !Number.isSafeInteger(n) || n < 0))
    throw new RangeError(`object identifier ${dotted}`);
  return element(OBJECT_IDENTIFIER, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(arc: number): number[] {
  const digits = [arc % 0x80];
  for (let left = Math.floor(arc / 0x80); left > 0; left = Math.floor(left / 0x80))
    digits.unshift((left % 0x80) | 0x80);
  return digits;
}

/** Whole seconds, UTC. UTCTime up to 2049, GeneralizedTime after (RFC 5280 4.1.2.5). */
export function time(epochMs: number): Buffer {
  const text = new Date(epochMs).toISOString().replace(/[-:T]/g, "");
  if (!/^\d{14}\./.test(text)) throw new RangeError(`time ${epochMs}`);
  const year = Number(text.slice(0, 4));
  if (year >= 1950 && year < 2050) return element(UTC_TIME, Buffer.from(`${text.slice(2, 14)}Z`, "latin1"));
  return element(GENERALIZED_TIME, Buffer.from(`${text.slice(0, 14)}Z`, "latin1"));
}
