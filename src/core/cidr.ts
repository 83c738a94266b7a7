/**
 * Numeric addresses and ranges, read strictly: what two parsers could read differently (leading zeros, hexadecimal, short
 * forms, zones) is no address here. Fails towards null, which every caller treats as a refusal.
 *
 * Texts: RFC 4291 section 2.2 and RFC 5952 (IPv6), RFC 4632 (CIDR). `127.1` and `0x7f.1` are inet_aton's, and refused.
 */

export interface Address {
  readonly family: 4 | 6;
  /** Network order: 4 or 16 bytes. */
  readonly bytes: Uint8Array;
}

export interface Cidr {
  readonly family: 4 | 6;
  /** The first address; the host bits are zero. */
  readonly bytes: Uint8Array;
  readonly prefix: number;
}

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

/** `x:x:x:x:x:x:255.255.255.255` is the longest text of an address. */
const MAX_TEXT = 45;
const COLON = 0x3a;

export function parseAddress(text: string): Address | null {
  if (text.length === 0 || text.length > MAX_TEXT) return null;
  return text.includes(":") ? parseV6(text) : parseV4(text);
}

/** As parseAddress; `::ffff:a.b.c.d` comes out as `a.b.c.d`, so that one place has one name. */
export function parsePlainAddress(text: string): Address | null {
  const address = parseAddress(text);
  return address === null ? null : unmapped(address);
}

/** An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) as the IPv4 address that it means; others unchanged. */
export function unmapped(address: Address): Address {
  return isMapped(address) ? { family: 4, bytes: address.bytes.slice(12) } : address;
}

function isMapped({ family, bytes }: Address): boolean {
  if (family !== 6 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** `address/prefix`, or a single address. Host bits that are set make it null: its author meant something else. */
export function parseCidr(text: string): Cidr | null {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === null) return null;
  const bits = address.family === 4 ? 32 : 128;
  const prefix = slash < 0 ? bits : decimal(text.slice(slash + 1), bits);
  if (prefix === null) return null;
  for (let i = prefix; i < bits; i++) if ((byte(address.bytes, i >> 3) & (0x80 >> (i & 7))) !== 0) return null;
  if (isMapped(address) && prefix >= 96) return { family: 4, bytes: address.bytes.slice(12), prefix: prefix - 96 };
  return { family: address.family, bytes: address.bytes, prefix };
}

/** `address:port` or `[address]:port`. */
export function parseEndpoint(text: string): Endpoint | null {
  const colon = text.lastIndexOf(":");
  if (colon < 0) return null;
  const host = text.slice(0, colon);
  const bracketed = host.startsWith("[") && host.endsWith("]");
  const address = parsePlainAddress(bracketed ? host.slice(1, -1) : host);
  const port = decimal(text.slice(colon + 1), 65_535);
  if (address === null || port === null || port === 0) return null;
  if (bracketed !== host.includes(":")) return null;
  return { address, port };
}

export function contains(range: Cidr, address: Address): boolean {
  if (range.family !== address.family) return false;
  const whole = range.prefix >> 3;
  for (let i = 0; i < whole; i++) if (range.bytes[i] !== address.bytes[i]) return false;
  const rest = range.prefix & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return (byte(range.bytes, whole) & mask) === (byte(address.bytes, whole) & mask);
}

/** The one text of an address: dotted quad, or RFC 5952 section 4. */
export function formatAddress({ family, bytes }: Address): string {
  return family === 4 ? `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` : formatV6(bytes);
}

export function formatCidr(range: Cidr): string {
  return `${formatAddress(range)}/${range.prefix}`;
}

/** The longest run of two or more zero groups, the first of equals, becomes `::`. */
function formatV6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((byte(bytes, i) << 8) | byte(bytes, i + 1));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) {
      start = i;
      length = run;
    }
    i += run;
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

function parseV4(text: string): Address | null {
  const parts = text.split(".", 5);
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const value = decimal(parts[i] ?? "", 255);
    if (value === null) return null;
    bytes[i] = value;
  }
  return { family: 4, bytes };
}

function parseV6(text: string): Address | null {
  const gap = text.indexOf("::");
  if (gap < 0) {
    const all = groupsOf(text);
    return all === null || all.length !== 16 ? null : { family: 6, bytes: Uint8Array.from(all) };
  }
  if (text.includes("::", gap + 1)) return null;
  const before = gap === 0 ? [] : groupsOf(text.slice(0, gap));
  const after = gap + 2 === text.length ? [] : groupsOf(text.slice(gap + 2));
  // `::` stands for at least one group of zeros; a dotted quad stands only at the very end.
  if (before === null || after === null || before.length + after.length > 14) return null;
  if (text.lastIndexOf(".", gap) >= 0) return null;
  const bytes = new Uint8Array(16);
  bytes.set(before, 0);
  bytes.set(after, 16 - after.length);
  return { family: 6, bytes };
}

/** Groups of one to four hexadecimal digits, the last of which may be a dotted quad, as bytes. */
function groupsOf(text: string): number[] | null {
  if (text.charCodeAt(0) === COLON || text.charCodeAt(text.length - 1) === COLON) return null;
  const parts = text.split(":", 9);
  const bytes: number[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] ?? "";
    if (i === parts.length - 1 && part.includes(".")) {
      const quad = parseV4(part);
      if (quad === null) return null;
      bytes.push(...quad.bytes);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      const group = Number.parseInt(part, 16);
      bytes.push(group >> 8, group & 0xff);
    }
  }
  return bytes.length > 16 ? null : bytes;
}

/** Digits only, no leading zero, at most `max`. */
function decimal(text: string, max: number): number | null {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(text)) return null;
  const value = Number(text);
  return value > max ? null : value;
}

function byte(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}
