/** Builds TLS ClientHellos byte by byte, right ones and wrong ones, for tests of whoever reads first bytes. */
import { Buffer } from "node:buffer";

const u8 = (n: number): Buffer => Buffer.from([n & 0xff]);
const u16 = (n: number): Buffer => Buffer.from([(n >> 8) & 0xff, n & 0xff]);
const u24 = (n: number): Buffer => Buffer.from([(n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff]);
const vector8 = (bytes: Uint8Array): Buffer => Buffer.concat([u8(bytes.length), bytes]);
const vector16 = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);

export interface Extension {
  readonly type: number;
  readonly data: Uint8Array;
}

export const extension = (type: number, data: Uint8Array): Extension => ({ type, data });

/** RFC 6066 3. */
export function serverName(...names: readonly (string | Uint8Array)[]): Extension {
  const entries = names.map((name) =>
    Buffer.concat([u8(0), vector16(typeof name === "string" ? Buffer.from(name, "latin1") : name)]),
  );
  return extension(0, vector16(Buffer.concat(entries)));
}

/** RFC 7301 3.1. */
export function protocols(...names: readonly string[]): Extension {
  return extension(16, vector16(Buffer.concat(names.map((name) => vector8(Buffer.from(name, "latin1"))))));
}

/** RFC 9849 5, the outer form; GREASE has the same shape. */
export function encryptedHello(): Extension {
  return extension(
    0xfe0d,
    Buffer.concat([u8(0), u16(1), u16(1), u8(7), vector16(Buffer.alloc(32, 1)), vector16(Buffer.alloc(144, 2))]),
  );
}

export interface HelloOptions {
  readonly extensions?: readonly Extension[];
  /** Instead of `extensions`: the block as it stands, with its length; null leaves it out. */
  readonly block?: Uint8Array | null;
  readonly version?: number;
  readonly ciphers?: Uint8Array;
  readonly sessionId?: Uint8Array;
  readonly compression?: Uint8Array;
  readonly after?: Uint8Array;
}

/** The handshake message: type, length, body. */
export function helloMessage(options: HelloOptions = {}): Buffer {
  const list = (options.extensions ?? []).map(({ type, data }) => Buffer.concat([u16(type), vector16(data)]));
  const block = options.block === undefined ? vector16(Buffer.concat(list)) : (options.block ?? Buffer.alloc(0));
  const body = Buffer.concat([
    u16(options.version ?? 0x0303),
    Buffer.alloc(32, 0xab),
    vector8(options.sessionId ?? Buffer.alloc(32, 1)),
    vector16(options.ciphers ?? Buffer.from([0x13, 0x01, 0xc0, 0x2b])),
    vector8(options.compression ?? Buffer.from([0])),
    block,
    options.after ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([u8(1), u24(body.length), body]);
}

/** One handshake record. */
export function record(fragment: Uint8Array, type = 22, version = 0x0301): Buffer {
  return Buffer.concat([u8(type), u16(version), vector16(fragment)]);
}

/** The message cut into records of at most `size` bytes. */
export function records(message: Uint8Array, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) parts.push(record(message.subarray(at, at + size)));
  return Buffer.concat(parts);
}

export function clientHello(options: HelloOptions = {}): Buffer {
  return record(helloMessage(options));
}
