/**
 * Where a redirected connection wanted to go: getsockopt(SO_ORIGINAL_DST) through node:ffi, the one system call that Node has no
 * function for. Linux only; the values are those of linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h.
 *
 * Fails closed: whatever is not understood is null, and a connection without an original destination is refused.
 */
import type { SocketAddress } from "../seam/stages.ts";

/** `peer`: the client's address, which shows the family of a connection on a dual-stack listener. */
export type OriginalDestination = (fd: number, peer: string) => SocketAddress | null;

const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;
/** struct sockaddr_in6: family 2, port 2, flow 4, address 16, scope 4; sockaddr_in (16 bytes) fits too. */
const SOCKADDR_BYTES = 28;

type GetSockOpt = (fd: number, level: number, name: number, value: bigint, length: bigint) => number;

interface Ffi {
  dlopen(library: null, functions: object): { readonly functions: { readonly getsockopt: GetSockOpt } };
  getRawPointer(buffer: Uint8Array): bigint;
}

/** Null: this Node has no node:ffi, or this system no getsockopt; then nothing can be captured. Call once a process. */
export function originalDestination(): OriginalDestination | null {
  const ffi = process.platform === "linux" ? loadFfi() : null;
  if (ffi === null) return null;
  let getsockopt: GetSockOpt;
  try {
    const signature = { arguments: ["int32", "int32", "int32", "pointer", "pointer"], return: "int32" };
    getsockopt = ffi.dlopen(null, { getsockopt: signature }).functions.getsockopt;
  } catch {
    return null;
  }
  // Two buffers for the whole process: the call is synchronous, and nothing is kept in them.
  const address = Buffer.allocUnsafeSlow(SOCKADDR_BYTES);
  const length = Buffer.allocUnsafeSlow(4);
  const addressAt = ffi.getRawPointer(address);
  const lengthAt = ffi.getRawPointer(length);
  return (fd, peer) => {
    if (fd < 0) return null;
    address.fill(0);
    length.writeUInt32LE(SOCKADDR_BYTES);
    const level = isV4(peer) ? SOL_IP : SOL_IPV6;
    return getsockopt(fd, level, SO_ORIGINAL_DST, addressAt, lengthAt) === 0 ? readSockaddr(address) : null;
  };
}

/** Reads a struct sockaddr_in or sockaddr_in6 (family in host order, port and address in network order). */
export function readSockaddr(bytes: Buffer): SocketAddress | null {
  const family = bytes.readUInt16LE(0);
  const port = bytes.readUInt16BE(2);
  if (port === 0) return null;
  if (family === AF_INET) return { address: v4(bytes, 4), port };
  if (family === AF_INET6 && bytes.length >= SOCKADDR_BYTES) return { address: v6(bytes.subarray(8, 24)), port };
  return null;
}

/** A v4-mapped address (::ffff:1.2.3.4) is the v4 one. */
export function unmapped(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

function isV4(address: string): boolean {
  return unmapped(address).includes(".");
}

function v4(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups shortened, the first of equal ones.
function v6(bytes: Buffer): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(i));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return v4(bytes, 12);
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > longest) {
      start = i;
      longest = end - i;
    }
  }
  const text = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return start < 0 ? text(0, 8) : `${text(0, start)}::${text(start + longest, 8)}`;
}

function loadFfi(): Ffi | null {
  const module: unknown = process.getBuiltinModule("node:ffi");
  return typeof module === "object" && module !== null && "dlopen" in module ? (module as Ffi) : null;
}
