/**
 * One value, masked: still of its column's type and format, so that a client reads it as what the RowDescription announced. What
 * cannot be made to stand for a value of its type becomes NULL.
 */
import { type Cover, coverFindings, coverJson } from "#mask/cover.ts";
import type { DetectorName } from "#mask/detectors.ts";
import type { Tokens } from "#mask/tokens.ts";
import type { Form } from "./rules.ts";

/** OIDs of pg_type.dat that are fixed for all versions. */
const TYPE = {
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  xml: 142,
  unknown: 705,
  bpchar: 1042,
  varchar: 1043,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const;

const TEXTS = new Set<number>([TYPE.text, TYPE.varchar, TYPE.bpchar, TYPE.name, TYPE.unknown]);

export interface Described {
  readonly name: string;
  readonly type: number;
  /** 0: text, 1: binary. */
  readonly format: number;
}

/** Of a column that is confidential as a whole. Null: NULL. */
export function maskWhole(
  value: Uint8Array,
  { name, type, format }: Described,
  form: Form,
  tokens: Tokens,
): Buffer | null {
  if (form === "null") return null;
  const binary = format === 1;
  if (TEXTS.has(type)) return Buffer.from(form === "token" ? tokens.token(name, value) : "[masked]", "latin1");
  if (type === TYPE.json || type === TYPE.jsonb) {
    const plain = type === TYPE.jsonb && binary ? value.subarray(1) : value;
    const text = `"${form === "token" ? tokens.token(name, plain) : "[masked]"}"`;
    return Buffer.from(type === TYPE.jsonb && binary ? `\u0001${text}` : text, "latin1");
  }
  if (form === "redact") return null;
  const bytes = tokens.bytes(canonical(value, type, binary));
  switch (type) {
    case TYPE.int2:
      return number(bytes, 2, binary);
    case TYPE.int4:
      return number(bytes, 4, binary);
    case TYPE.int8:
      return number(bytes, 8, binary);
    case TYPE.uuid:
      return uuid(bytes, binary);
    case TYPE.bytea:
      return binary ? bytes : Buffer.from(`\\x${bytes.toString("hex")}`, "latin1");
    default:
      return null;
  }
}

/** The same bytes for the same value, in either format. */
function canonical(value: Uint8Array, type: number, binary: boolean): Uint8Array | string {
  if (!binary) return type === TYPE.uuid ? Buffer.from(value).toString("latin1").toLowerCase() : value;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (type === TYPE.int2 && bytes.length === 2) return String(bytes.readInt16BE(0));
  if (type === TYPE.int4 && bytes.length === 4) return String(bytes.readInt32BE(0));
  if (type === TYPE.int8 && bytes.length === 8) return String(bytes.readBigInt64BE(0));
  if (type === TYPE.uuid && bytes.length === 16) return dashed(bytes.toString("hex"));
  if (type === TYPE.bytea) return `\\x${bytes.toString("hex")}`;
  return bytes;
}

/** Positive, so that it also fits where only such are expected. */
function number(bytes: Buffer, size: 2 | 4 | 8, binary: boolean): Buffer {
  const out = Buffer.from(bytes.subarray(0, size));
  out[0] = (out[0] ?? 0) & 0x7f;
  if (binary) return out;
  const value = size === 8 ? out.readBigInt64BE(0) : BigInt(out.readUIntBE(0, size));
  return Buffer.from(String(value), "latin1");
}

/** RFC 9562, version 8: made by a rule of our own. */
function uuid(bytes: Buffer, binary: boolean): Buffer {
  const out = Buffer.from(bytes);
  out[6] = ((out[6] ?? 0) & 0x0f) | 0x80;
  out[8] = ((out[8] ?? 0) & 0x3f) | 0x80;
  return binary ? out : Buffer.from(dashed(out.toString("hex")), "latin1");
}

function dashed(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Detectors on one value. The same bytes where nothing was found; null: NULL. */
export function coverValue(
  value: Uint8Array,
  { name, type, format }: Described,
  detectors: ReadonlyMap<DetectorName, Cover>,
  tokens: Tokens,
): Uint8Array | null {
  const text = readable(value, type, format === 1);
  if (text === null) return value;
  const isJson = type === TYPE.json || type === TYPE.jsonb;
  const covered = (isJson ? coverJson : coverFindings)(text, detectors, tokens, "latin1");
  if (covered.found === 0) return value;
  // A part of it can be replaced only where the value is a text as it is; without a type it is one where it came as text.
  if (isJson || TEXTS.has(type) || type === TYPE.xml || (type === 0 && format === 0))
    return Buffer.from(covered.text, "latin1");
  return maskWhole(value, { name, type, format }, "token", tokens);
}

/** What a person would read in it, bytes as latin1; null: nothing that a detector looks for can be in it. */
function readable(value: Uint8Array, type: number, binary: boolean): string | null {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (type === TYPE.bytea && !binary) {
    const hex = bytes.toString("latin1");
    return hex.startsWith("\\x") ? Buffer.from(hex.slice(2), "hex").toString("latin1") : hex;
  }
  if (!binary) return bytes.toString("latin1");
  if (type === TYPE.int2 || type === TYPE.int4) return null;
  if (type === TYPE.int8) return bytes.length === 8 ? String(bytes.readBigInt64BE(0)) : null;
  if (type === TYPE.numeric) return numericText(bytes);
  // Arrays, composites and whatever else: texts in them stand in them as they are.
  return bytes.toString("latin1");
}

/** Int16 ndigits, weight, sign, dscale, then digits of base 10000: only the digits before the point are of interest. */
function numericText(bytes: Buffer): string | null {
  if (bytes.length < 8) return null;
  const count = bytes.readInt16BE(0);
  const weight = bytes.readInt16BE(2);
  if (count < 0 || bytes.length < 8 + 2 * count || weight < 0 || weight > 16) return null;
  let text = "";
  for (let i = 0; i <= weight; i++) text += String(i < count ? bytes.readInt16BE(8 + 2 * i) : 0).padStart(4, "0");
  return text.replace(/^0+/, "");
}
