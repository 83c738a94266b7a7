/**
 * The sockets of our resolver: UDP and TCP, IPv4 and IPv6, where the kernel redirects port 53 to. Each query is answered at
 * once and nothing is queued, so a flood costs its own answers and no memory.
 *
 * Fails towards silence: what is not a query is dropped, a TCP client that reads slowly or says too much is cut off.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { type Answerer, type AnswerOptions, createAnswerer } from "./answer.ts";

export interface ResolverOptions extends AnswerOptions {
  /** A socket's fault, for the log. Never a query's. */
  readonly onFault: (error: Error) => void;
}

export interface Resolver {
  /** Answers on a bound socket (made here, or handed over by another process). */
  serveUdp(socket: UdpSocket): void;
  /** Answers on a listening server. */
  serveTcp(server: Server): void;
  /** Binds UDP and TCP on 127.0.0.1 and, where `v6`, on ::1; resolves to the port. Rejects when it is taken: then `close`. */
  listen(port: number): Promise<number>;
  close(): void;
}

const MAX_CONNECTIONS = 64;
/** A query with EDNS options; longer ones are nobody's. */
const MAX_MESSAGE = 4_096;
const IDLE_MS = 10_000;
/** Answers a client may leave unread. */
const MAX_UNREAD = 65_536;

export function createResolver(options: ResolverOptions): Resolver {
  const answer = createAnswerer(options);
  const udp = new Set<UdpSocket>();
  const tcp = new Set<Server>();
  const clients = new Set<Socket>();

  function serveUdp(socket: UdpSocket): void {
    udp.add(socket);
    socket.on("error", options.onFault);
    socket.on("close", () => udp.delete(socket));
    socket.on("message", (message, from) => {
      answer(message, null, (bytes) => {
        // Sent or lost, as UDP is: the callback only keeps a failure from being an event. A late answer may find it closed.
        if (udp.has(socket) && from.port > 0) socket.send(bytes, from.port, from.address, ignore);
      });
    });
  }

  function serveTcp(server: Server): void {
    tcp.add(server);
    server.maxConnections = MAX_CONNECTIONS;
    server.on("error", options.onFault);
    server.on("close", () => tcp.delete(server));
    server.on("connection", (socket) => {
      clients.add(socket);
      socket.on("close", () => clients.delete(socket));
      serveClient(socket, answer);
    });
  }

  return {
    serveUdp,
    serveTcp,
    async listen(port) {
      let bound = port;
      for (const [family, address] of [["udp4", "127.0.0.1"] as const, ["udp6", "::1"] as const]) {
        if (family === "udp6" && !options.v6) continue;
        const server = createServer();
        server.listen({ port: bound, host: address });
        try {
          await once(server, "listening");
        } catch (error) {
          // A pod without IPv6: nobody can ask there either.
          if (family === "udp6" && withoutV6(error)) continue;
          throw error;
        }
        serveTcp(server);
        const at = server.address();
        if (at !== null && typeof at === "object") bound = at.port;
        const socket = createSocket({ type: family, ipv6Only: family === "udp6" });
        serveUdp(socket);
        socket.bind({ port: bound, address, exclusive: true });
        await once(socket, "listening");
      }
      return bound;
    },
    close() {
      for (const socket of udp) socket.close();
      for (const server of tcp) server.close();
      for (const client of clients) client.destroy();
    },
  };
}

/** RFC 1035 section 4.2.2: each message behind its length in two bytes. */
function serveClient(socket: Socket, answer: Answerer): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on("error", ignore);
  const send = (bytes: Uint8Array): void => {
    if (socket.destroyed) return;
    const framed = Buffer.allocUnsafe(2 + bytes.length);
    framed.writeUInt16BE(bytes.length, 0);
    framed.set(bytes, 2);
    socket.write(framed);
    if (socket.writableLength > MAX_UNREAD) socket.destroy();
  };
  socket.on("data", (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    let from = 0;
    while (pending.length - from >= 2) {
      const length = pending.readUInt16BE(from);
      if (length > MAX_MESSAGE) {
        socket.destroy();
        return;
      }
      if (pending.length - from - 2 < length) break;
      answer(pending.subarray(from + 2, from + 2 + length), 65_535, send);
      from += 2 + length;
    }
    pending = pending.subarray(from);
  });
}

function withoutV6(error: unknown): boolean {
  if (typeof error !== "object" || error === null || !("code" in error)) return false;
  return error.code === "EADDRNOTAVAIL" || error.code === "EAFNOSUPPORT";
}

function ignore(): void {}
