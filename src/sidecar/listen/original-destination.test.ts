import net from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { originalDestination, readSockaddr, unmapped } from "./original-destination.ts";
import { handleUnder } from "./take.ts";

/** struct sockaddr_in (family in host order, the rest in network order). */
function sockaddrIn(address: readonly number[], port: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(2, 0);
  bytes.writeUInt16BE(port, 2);
  Buffer.from(address).copy(bytes, 4);
  return bytes;
}

/** struct sockaddr_in6. */
function sockaddrIn6(groups: readonly number[], port: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(10, 0);
  bytes.writeUInt16BE(port, 2);
  groups.forEach((group, i) => bytes.writeUInt16BE(group, 8 + 2 * i));
  return bytes;
}

describe("what the kernel says", () => {
  test("is read as an address and a port", () => {
    expect(readSockaddr(sockaddrIn([93, 184, 216, 34], 443))).toEqual({ address: "93.184.216.34", port: 443 });
    expect(readSockaddr(sockaddrIn6([0xfd53, 0x6467, 0x6174, 0x6500, 0, 0, 0, 7], 5432))).toEqual({
      address: "fd53:6467:6174:6500::7",
      port: 5432,
    });
  });

  test("is v4 where it is a mapped v4 address", () => {
    expect(readSockaddr(sockaddrIn6([0, 0, 0, 0, 0, 0xffff, 0x0a01, 0x0203], 80))).toEqual({
      address: "10.1.2.3",
      port: 80,
    });
    expect([unmapped("::ffff:10.1.2.3"), unmapped("::ffff:1"), unmapped("10.1.2.3")]).toEqual([
      "10.1.2.3",
      "::ffff:1",
      "10.1.2.3",
    ]);
  });

  test("is nothing where it is no address of ours to understand", () => {
    expect(readSockaddr(sockaddrIn([1, 2, 3, 4], 0))).toBeNull();
    expect(readSockaddr(Buffer.alloc(28))).toBeNull();
    const unix = sockaddrIn([1, 2, 3, 4], 80);
    unix.writeUInt16LE(1, 0);
    expect(readSockaddr(unix)).toBeNull();
  });

  test("is written as the rest of the system writes v6 addresses", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(0), fc.nat({ max: 0xffff })), { minLength: 8, maxLength: 8 }),
        (groups) => {
          fc.pre(!(groups.slice(0, 5).every((group) => group === 0) && (groups[5] === 0xffff || groups[5] === 0)));
          const read = readSockaddr(sockaddrIn6(groups, 1));
          const canonical = new net.SocketAddress({
            address: groups.map((g) => g.toString(16)).join(":"),
            family: "ipv6",
          });
          expect(read?.address).toBe(canonical.address);
        },
      ),
    );
  });
});

test("a socket that nobody redirected, and no socket at all, have no original destination", async () => {
  const lookUp = originalDestination();
  if (lookUp === null) throw new Error("this Node has no node:ffi");
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  const client = net.connect(port, "127.0.0.1");
  const socket = await new Promise<net.Socket>((resolve) => server.on("connection", resolve));
  const fd = handleUnder({ kind: "socket", socket })?.fd ?? -1;
  // With connection tracking the kernel may answer with our own address, which the capture refuses.
  const found = lookUp(fd, "127.0.0.1");
  expect(found === null || found.port === port).toBe(true);
  expect(lookUp(-1, "127.0.0.1")).toBeNull();
  expect(lookUp(fd, "fd00::1")).toBeNull();
  client.destroy();
  socket.destroy();
  server.close();
});
