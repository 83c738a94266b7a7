/**
 * Reads a TLS ClientHello out of a connection's first bytes: the name that the client asks for, the protocols it offers, and
 * whether it hides another name.
 *
 * Errs towards "unknown": whoever answers TLS behind us reads these bytes too (passthrough), so whatever two readers could read
 * differently is refused: a length that lies, an extension or a name given twice, bytes left over. A client that is refused by
 * mistake fails loudly; a name misread would be judged by another's rules.
 *
 * Encrypted Client Hello (RFC 9849). A real outer hello and GREASE (section 6.2: random bytes of the same shape, sent by
 * Chromium and Firefox on every connection) are alike on purpose, so nobody can tell them apart here; `ech` says only that the
 * extension is there. What follows from it depends on who answers (see `hidesName`).
 */
import { isHostName } from "#core/host-name.ts";
import type { ClientHello } from "../seam/stages.ts";

export type HelloReading =
  | { readonly kind: "hello"; readonly hello: ClientHello }
  | { readonly kind: "no" } // not a TLS record
  | { readonly kind: "more"; readonly atLeast: number } // of the whole head, in bytes
  | { readonly kind: "malformed"; readonly why: string };

/** Post-quantum hellos have about 1,800 bytes; RFC 8446 has no limit, OpenSSL's is 131,396. Ours: */
export const MAX_HELLO_BYTES = 16_384;
/** A hello in one byte records would make each look a long walk. No client splits so much. */
const MAX_RECORDS = 32;
const MAX_PROTOCOLS = 32;

const RECORD_HEADER = 5;
const HANDSHAKE_HEADER = 4;
const MAX_RECORD = 16_384; // RFC 8446 5.1
const CONTENT_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
const EXTENSION_ECH = 0xfe0d;

/** More bytes than this are never needed: the hello and the headers of its records. */
export const MAX_HEAD_BYTES: number = HANDSHAKE_HEADER + MAX_HELLO_BYTES + MAX_RECORDS * RECORD_HEADER;

/**
 * Whether a hello with ECH must be refused. Where we answer TLS ourselves, no inner hello can be opened by anyone: GREASE is
 * ignored as RFC 9849 7.1 says, and a client with a real one gets a certificate for the outer name, sees that its name was not
 * accepted, and stops. Where the upstream answers (passthrough) it could open the inner hello and serve a name that we never
 * judged; there any ECH is refused, GREASE too, since the two cannot be told apart.
 */
export function hidesName(hello: ClientHello, intercepted: boolean): boolean {
  return hello.ech && !intercepted;
}

/**
 * `struct { type(1)=22, version(2), length(2), fragment }` records (RFC 8446 5.1), whose fragments together are
 * `struct { type(1)=1, length(3), ClientHello }` (section 4).
 */
export function readClientHello(head: Uint8Array): HelloReading {
  if (!beginsRecord(head)) return { kind: "no" };
  const parts: Uint8Array[] = [];
  let have = 0;
  let need = HANDSHAKE_HEADER;
  let at = 0;
  for (let records = 0; have < need; records++) {
    if (records === MAX_RECORDS) return malformed("ClientHello in too many records");
    if (head.length < at + RECORD_HEADER) return checkPartialHeader(head, at);
    const length = u16(head, at + 3);
    if (!beginsRecord(head.subarray(at))) return malformed("another record inside the ClientHello");
    if (length === 0 || length > MAX_RECORD) return malformed("record length");
    const from = at + RECORD_HEADER;
    const part = head.subarray(from, Math.min(from + length, head.length));
    if (records === 0 && part.length > 0 && part[0] !== CLIENT_HELLO) return malformed("not a ClientHello");
    parts.push(part);
    have += part.length;
    if (need === HANDSHAKE_HEADER && have >= HANDSHAKE_HEADER) {
      const start = parts.length === 1 ? part : concat(parts, have);
      const body = (byte(start, 1) << 16) | u16(start, 2);
      if (body > MAX_HELLO_BYTES) return malformed("ClientHello too long");
      if (body === 0) return malformed("ClientHello too short");
      need = HANDSHAKE_HEADER + body;
    }
    // Bytes of this record beyond the hello would be a second message, which no client sends before it is answered.
    if (have - part.length + length > need && need > HANDSHAKE_HEADER) return malformed("bytes after the ClientHello");
    at = from + length;
    if (at > head.length) return { kind: "more", atLeast: Math.min(at, from + (need - (have - part.length))) };
  }
  const message = parts.length === 1 ? (parts[0] ?? new Uint8Array()) : concat(parts, have);
  return readBody(message.subarray(HANDSHAKE_HEADER, need));
}

function checkPartialHeader(head: Uint8Array, at: number): HelloReading {
  if (!beginsRecord(head.subarray(at))) return malformed("another record inside the ClientHello");
  return { kind: "more", atLeast: at + RECORD_HEADER };
}

/**
 * Whether these bytes are, or could become, a handshake record of TLS 1.0 or later. The third byte counts: a MongoDB message of
 * 790 bytes begins with 0x16 0x03 0x00.
 */
function beginsRecord(head: Uint8Array): boolean {
  const [type = CONTENT_HANDSHAKE, major = 3, minor = 1] = head;
  return type === CONTENT_HANDSHAKE && major === 3 && minor >= 1 && minor <= 4;
}

/** `legacy_version(2) random(32) session_id<0..32> cipher_suites<2..2^16-2> compression<1..255> extensions<0..2^16-1>`. */
function readBody(body: Uint8Array): HelloReading {
  const read = new Reader(body);
  const version = read.u16();
  if (version < 0x0301 || version > 0x0303) return malformed("protocol version");
  read.skip(32);
  if (read.vector8().length > 32) return malformed("session id");
  const ciphers = read.vector16();
  if (ciphers.length < 2 || ciphers.length % 2 !== 0) return malformed("cipher suites");
  if (read.vector8().length === 0) return malformed("compression methods");
  // Before TLS 1.3 a hello may have no extensions at all (RFC 5246 7.4.1.2).
  const extensions = read.left === 0 ? new Uint8Array() : read.vector16();
  if (read.failed || read.left !== 0) return malformed("ClientHello length");
  return readExtensions(extensions);
}

function readExtensions(bytes: Uint8Array): HelloReading {
  const read = new Reader(bytes);
  const seen = new Set<number>();
  let sni: string | null = null;
  let alpn: readonly string[] = [];
  let ech = false;
  while (read.left > 0) {
    const type = read.u16();
    const data = read.vector16();
    if (read.failed) return malformed("extension length");
    if (seen.has(type)) return malformed("extension given twice"); // RFC 8446 4.2
    seen.add(type);
    if (type === EXTENSION_SERVER_NAME) {
      sni = readServerName(data);
      if (sni === null) return malformed("server name");
    } else if (type === EXTENSION_ALPN) {
      const list = readProtocols(data);
      if (list === null) return malformed("protocol list");
      alpn = list;
    } else if (type === EXTENSION_ECH) {
      // type(1): outer = 0; inner = 1 stands only inside an encrypted hello (RFC 9849 5).
      if (data[0] !== 0) return malformed("encrypted hello");
      ech = true;
    }
  }
  return { kind: "hello", hello: { sni, alpn, ech } };
}

/** `ServerNameList<1..2^16-1>` of `name_type(1)=0, HostName<1..2^16-1>` (RFC 6066 3): exactly one name, or nothing that we can trust. */
function readServerName(data: Uint8Array): string | null {
  const outer = new Reader(data);
  const list = new Reader(outer.vector16());
  const type = list.u8();
  const name = list.vector16();
  if (outer.failed || list.failed || outer.left !== 0 || list.left !== 0 || type !== 0) return null;
  return hostName(name);
}

/** Lower case, without the dot at the end; null where it is no host name. */
function hostName(bytes: Uint8Array): string | null {
  if (bytes.length > 254) return null;
  const text = String.fromCharCode(...bytes).toLowerCase();
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  return isHostName(name) ? name : null;
}

/** `ProtocolNameList<2..2^16-1>` of `ProtocolName<1..2^8-1>` (RFC 7301 3.1). Names as latin1; GREASE values (RFC 8701) are left out. */
function readProtocols(data: Uint8Array): readonly string[] | null {
  const outer = new Reader(data);
  const list = new Reader(outer.vector16());
  const names: string[] = [];
  if (outer.failed || outer.left !== 0 || list.left === 0) return null;
  while (list.left > 0) {
    const name = list.vector8();
    if (list.failed || name.length === 0 || names.length === MAX_PROTOCOLS) return null;
    if (!isGrease(name)) names.push(String.fromCharCode(...name));
  }
  return names;
}

/** 0x0a0a, 0x1a1a, … 0xfafa. */
function isGrease(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === name[1] && (byte(name, 0) & 0x0f) === 0x0a;
}

/** Reads on past the end give zeros and set `failed`; the caller looks once, at the end of a structure. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  failed = false;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.#at;
  }
  u8(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : byte(this.#bytes, at);
  }
  u16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : u16(this.#bytes, at);
  }
  skip(count: number): void {
    this.#take(count);
  }
  vector8(): Uint8Array {
    return this.#vector(this.u8());
  }
  vector16(): Uint8Array {
    return this.#vector(this.u16());
  }
  #vector(length: number): Uint8Array {
    const at = this.#take(length);
    return at < 0 ? new Uint8Array() : this.#bytes.subarray(at, at + length);
  }
  #take(count: number): number {
    if (this.failed || this.left < count) {
      this.failed = true;
      return -1;
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }
}

function malformed(why: string): HelloReading {
  return { kind: "malformed", why };
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function u16(bytes: Uint8Array, at: number): number {
  return (byte(bytes, at) << 8) | byte(bytes, at + 1);
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
