/**
 * Sockets that Node does not make (ICMP, raw, bound to an interface or to a forbidden source port), for the probe: one datagram,
 * and what the kernel said to it. Through node:ffi.
 *
 * Format: struct sockaddr_in, sockaddr_in6 (ip(7), ipv6(7)), little-endian family, big-endian port.
 */

import ffi from "node:ffi";
import { isIPv4 } from "node:net";
import { getSystemErrorMap } from "node:util";

export const FAMILY = { inet: 2, inet6: 10 } as const;
export const TYPE = { stream: 1, datagram: 2, raw: 3 } as const;
export const PROTOCOL = { default: 0, icmp: 1, icmp6: 58 } as const;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SO_REUSEADDR = 2;
const CLOSE_ON_EXEC = 0o2_000_000;

const libc = ffi.dlopen(null, {
  socket: { arguments: ["int32", "int32", "int32"], return: "int32" },
  setsockopt: { arguments: ["int32", "int32", "int32", "buffer", "uint32"], return: "int32" },
  bind: { arguments: ["int32", "buffer", "uint32"], return: "int32" },
  sendto: { arguments: ["int32", "buffer", "uint64", "int32", "buffer", "uint32"], return: "int64" },
  close: { arguments: ["int32"], return: "int32" },
  __errno_location: { arguments: [], return: "pointer" },
}).functions;
// oxlint-disable-next-line no-underscore-dangle -- the C library calls it so
const errnoAt = libc.__errno_location();

export interface Datagram {
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  readonly to: { readonly address: string; readonly port: number };
  readonly fromPort?: number;
  /** Name of an interface. */
  readonly device?: string;
  readonly payload: Uint8Array;
}

/** At which step the kernel refused, and with what (`EPERM`); `sent` when it did not. */
export type Sent = { readonly step: "socket" | "device" | "bind" | "send"; readonly code: string } | "sent";

export function sendOne(datagram: Datagram): Sent {
  const { family, type, protocol, to, fromPort, device, payload } = datagram;
  const fd = libc.socket(family, type | CLOSE_ON_EXEC, protocol);
  if (fd < 0) return refused("socket");
  try {
    if (device !== undefined) {
      const name = Buffer.from(`${device}\0`);
      if (libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length) < 0) return refused("device");
    }
    if (fromPort !== undefined) {
      const one = Buffer.from([1, 0, 0, 0]);
      libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, one.length);
      const own = socketAddress(family === FAMILY.inet ? "0.0.0.0" : "::", fromPort);
      if (libc.bind(fd, own, own.length) < 0) return refused("bind");
    }
    const target = socketAddress(to.address, to.port);
    const sent = libc.sendto(fd, Buffer.from(payload), BigInt(payload.length), 0, target, target.length);
    return Number(sent) < 0 ? refused("send") : "sent";
  } finally {
    libc.close(fd);
  }
}

function refused(step: "socket" | "device" | "bind" | "send"): Sent {
  const errno = ffi.getInt32(errnoAt, 0);
  return { step, code: getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}` };
}

function socketAddress(address: string, port: number): Buffer {
  if (isIPv4(address)) {
    const out = Buffer.alloc(16);
    out.writeUInt16LE(FAMILY.inet, 0);
    out.writeUInt16BE(port, 2);
    for (const [i, part] of address.split(".").entries()) out.writeUInt8(Number(part), 4 + i);
    return out;
  }
  const out = Buffer.alloc(28);
  out.writeUInt16LE(FAMILY.inet6, 0);
  out.writeUInt16BE(port, 2);
  ipv6Bytes(address).copy(out, 8);
  return out;
}

/** Of an address without a dotted part. */
function ipv6Bytes(address: string): Buffer {
  const [head = "", tail = ""] = address.split("::");
  const left = head.split(":").filter(Boolean);
  const right = tail.split(":").filter(Boolean);
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  const out = Buffer.alloc(16);
  for (const [i, group] of groups.entries()) out.writeUInt16BE(Number.parseInt(group, 16), i * 2);
  return out;
}
