/**
 * Makes the listening sockets inside the namespace and gives them away. What is sent is the raw handle, not the `net.Server`:
 * a server would start accepting wherever it arrives, and the kernel gives a connection to any process that does. The copy in
 * here is closed at once for the same reason.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { CAPTURE_PORT, DNS_PORT } from "#contract/names.ts";
import type { SocketName } from "./protocol.ts";

type Give = (name: SocketName, handle: unknown) => Promise<void>;

const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;

/** Binds loopback only, gives each handle to `give`, then closes its own copy. Throws what listen() says. */
export async function makeListeners(ipv6: boolean, give: Give): Promise<void> {
  for (const family of ipv6 ? ([4, 6] as const) : ([4] as const)) {
    await giveTcp(`tcp${family}`, CAPTURE_PORT, family, give);
    await giveUdp(`dnsUdp${family}`, DNS_PORT, family, give);
    await giveTcp(`dnsTcp${family}`, DNS_PORT, family, give);
  }
}

async function giveTcp(name: SocketName, port: number, family: 4 | 6, give: Give): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: LOOPBACK[family], ipv6Only: family === 6, backlog: 1024 }, resolve);
  });
  await give(name, rawTcpHandle(server));
  server.close();
}

async function giveUdp(name: SocketName, port: number, family: 4 | 6, give: Give): Promise<void> {
  const socket = createSocket({ type: `udp${family}`, ipv6Only: family === 6 });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ port, address: LOOPBACK[family], exclusive: true }, resolve);
  });
  await give(name, rawUdpHandle(socket));
  socket.close();
}

function rawTcpHandle(server: Server): unknown {
  const handle: unknown = Reflect.get(server, "_handle");
  if (handle === null || handle === undefined) throw new Error("this Node has no raw handle in net.Server");
  return handle;
}

/** `socket._handle` is deprecated with a warning; the state object behind it is not. */
function rawUdpHandle(socket: UdpSocket): unknown {
  const symbol = Object.getOwnPropertySymbols(socket).find((s) => s.description === "state symbol");
  const state: unknown = symbol === undefined ? undefined : Reflect.get(socket, symbol);
  const handle: unknown = typeof state === "object" && state !== null ? Reflect.get(state, "handle") : undefined;
  if (handle === null || handle === undefined) throw new Error("this Node has no raw handle in dgram.Socket");
  return handle;
}
