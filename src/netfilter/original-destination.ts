/**
 * Where a redirected connection was going, for the probe only; the sidecar has its own. getsockopt SO_ORIGINAL_DST (80) at
 * level SOL_IP, IP6T_SO_ORIGINAL_DST (80) at SOL_IPV6 (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
 */

import ffi from "node:ffi";
import type { Socket } from "node:net";

const LEVEL = { 4: 0, 6: 41 } as const;
const SO_ORIGINAL_DST = 80;

const libc = ffi.dlopen(null, {
  getsockopt: { arguments: ["int32", "int32", "int32", "buffer", "buffer"], return: "int32" },
}).functions;

/** `address port`, IPv6 in its shortest form; `unreadable` when the kernel does not say. */
export function readOriginal(socket: Socket, family: 4 | 6): string {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd !== "number") return "unreadable";
  const address = Buffer.alloc(28);
  const length = Buffer.from([28, 0, 0, 0]);
  if (libc.getsockopt(fd, LEVEL[family], SO_ORIGINAL_DST, address, length) !== 0) return "unreadable";
  const port = address.readUInt16BE(2);
  if (family === 4) return `${address.subarray(4, 8).join(".")} ${port}`;
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(8 + i * 2).toString(16));
  return `${new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1)} ${port}`;
}
