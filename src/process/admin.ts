/**
 * The one listener on the pod's address: GET /metrics, /ready and /live, for the kubelet and Prometheus. Everything else is
 * 404 or 405; nothing secret is ever here.
 *
 * The agent reaches it too, so it is our own responder of HTTP/1 heads and small: four connections (a fifth takes the place of
 * the oldest, so that nobody keeps the kubelet out by holding four), 4 KiB of head, five seconds for all of it, one answer.
 */
import { createServer, type Server, type Socket } from "node:net";
import { CONTENT_TYPE } from "./metrics.ts";
import type { ReadyState } from "./readiness.ts";

export interface AdminPages {
  metrics(): string;
  ready(): ReadyState;
  /** False: restart us. */
  live(): boolean;
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface AdminOptions {
  /** Numeric addresses; one listener each, on the same port. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** A whole exchange, from accept to close. */
  readonly timeoutMs?: number;
}

const MAX_CONNECTIONS = 4;
const MAX_HEAD = 4_096;
const TIMEOUT_MS = 5_000;

/** Rejects when an address cannot be bound. Port 0: the first listener's free port is taken for all. */
export async function startAdmin(options: AdminOptions, pages: AdminPages): Promise<AdminServer> {
  const { addresses, timeoutMs = TIMEOUT_MS } = options;
  const open = new Set<Socket>(); // in the order of accepting
  const servers: Server[] = [];
  let port = options.port;

  function accept(socket: Socket): void {
    if (open.size >= MAX_CONNECTIONS) for (const oldest of open) if (open.size >= MAX_CONNECTIONS) drop(oldest);
    open.add(socket);
    const limit = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on("close", () => {
      clearTimeout(limit);
      open.delete(socket);
    });
    socket.on("error", () => socket.destroy());
    converse(socket, pages);
  }

  function drop(socket: Socket): void {
    open.delete(socket);
    socket.destroy();
  }

  async function close(): Promise<void> {
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const socket of open) socket.destroy();
    await Promise.all(closed);
  }

  try {
    for (const address of addresses) {
      const server = createServer({ allowHalfOpen: true }, accept);
      servers.push(server);
      port = await listen(server, address, port);
    }
  } catch (fault) {
    await close();
    throw fault;
  }
  return { port, close };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 16, ipv6Only: true, exclusive: true }, () => {
      server.off("error", reject);
      // A fault while accepting (no descriptor left) concerns one connection.
      server.on("error", () => undefined);
      const bound = server.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : port);
    });
  });
}

/** Reads one head, answers once, and closes. What comes after the head is read and forgotten, so that closing sends no RST. */
function converse(socket: Socket, pages: AdminPages): void {
  let head = "";
  let answered = false;
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    if (answered) return;
    head += text;
    const whole = head.includes("\r\n\r\n") || head.includes("\n\n");
    if (!whole && head.length <= MAX_HEAD) return;
    answered = true;
    socket.end(whole ? answer(head, pages) : page(431, "head too large\n"));
  });
  socket.on("end", () => socket.end());
}

/** `method SP target SP HTTP/1.x` (RFC 9112 3). Only the request line matters here. */
function answer(head: string, pages: AdminPages): string {
  const [, method, target] = /^([A-Z]{1,16}) (\/[\x21-\x7e]{0,100}) HTTP\/1\.[01]\r?\n/.exec(head) ?? [];
  if (method === undefined || target === undefined) return page(400, "malformed request\n");
  const known = target === "/metrics" || target === "/ready" || target === "/live";
  if (!known) return page(404, "GET /metrics, /ready or /live\n");
  if (method !== "GET") return page(405, "GET only\n", "Allow: GET\r\n");
  if (target === "/metrics") return page(200, pages.metrics(), "", CONTENT_TYPE);
  if (target === "/live") return pages.live() ? page(200, "live\n") : page(503, "not live\n");
  const state = pages.ready();
  return state.ready ? page(200, "ready\n") : page(503, `waiting for ${state.waiting.join(", ")}\n`);
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  503: "Service Unavailable",
};

function page(status: number, body: string, fields = "", type = "text/plain; charset=utf-8"): string {
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n${fields}Cache-Control: no-store\r\nConnection: close\r\n\r\n${body}`;
}
