/**
 * The collector's door: HTTP/1.1 on a Unix socket (`sidegate run`: who may open it is who may write) or TLS (a cluster: bearer
 * token). Reads nothing but POST /v1/records/<boot>, and says /live and /ready.
 */
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import type { Ingest, Sender } from "./ingest.ts";

export type Listen =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tls"; readonly host: string; readonly port: number; readonly cert: string; readonly key: string };

export interface ServerOptions {
  readonly listen: Listen;
  readonly ingest: Ingest;
  /** Null: not known, answered 401. `authorization`: the header, or null. */
  readonly authenticate: (authorization: string | null) => Promise<Sender | null>;
  readonly onError?: (fault: Error) => void;
}

export interface CollectorServer {
  /** The port in use; 0 for a Unix socket. */
  readonly port: number;
  /** Takes no new connection, answers what is under way, then resolves. */
  close(): Promise<void>;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | null;
  readonly body: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly body: string;
}

/** The sender's batches are smaller (shipper.ts); one commit may be as long as this. */
const MAX_BODY_BYTES = 20 * 1024 * 1024;
const BOOT_PATH = /^\/v1\/records\/([a-z0-9]{8,32})$/;
const REQUEST_MS = 30_000;
/** How long a batch under way may take when the collector is asked to end. */
const DRAIN_MS = 5_000;

export async function respond(options: ServerOptions, request: HttpRequest): Promise<HttpResponse> {
  const url = new URL(request.url, "http://collector");
  if (request.method === "GET" && (url.pathname === "/live" || url.pathname === "/ready"))
    return { status: 200, body: "ok\n" };
  const boot = BOOT_PATH.exec(url.pathname)?.[1];
  if (boot === undefined) return { status: 404, body: '{"error":"no such path"}' };
  if (request.method !== "POST") return { status: 405, body: '{"error":"POST only"}' };
  const sender = await options.authenticate(request.authorization);
  if (sender === null) return { status: 401, body: '{"error":"who is this?"}' };
  const gap = url.searchParams.get("gap") === "1";
  const answer = await options.ingest({ boot, lines: request.body, gap, sender });
  return answer.kind === "acknowledged"
    ? { status: 200, body: `{"acknowledged":${answer.seq}}` }
    : { status: answer.status, body: JSON.stringify({ error: answer.why }) };
}

/** Rejects where the address cannot be had: also when another collector listens on that socket. */
export async function serveCollector(options: ServerOptions): Promise<CollectorServer> {
  const { listen } = options;
  let closing = false;
  const handler: RequestListener = (request, response) => void handle(options, request, response, () => closing);
  const server = listen.kind === "unix" ? createServer(handler) : createTlsServer(tlsOptions(listen), handler);
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 120_000;
  server.maxConnections = 4_096;
  if (listen.kind === "unix") await freeSocket(listen.path);
  await listening(server, listen);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async close() {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const limit = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(limit);
    },
  };
}

function tlsOptions(listen: Listen & { kind: "tls" }): { cert: string; key: string; minVersion: "TLSv1.3" } {
  return { cert: listen.cert, key: listen.key, minVersion: "TLSv1.3" };
}

async function handle(
  options: ServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  closing: () => boolean,
): Promise<void> {
  let answer: HttpResponse;
  try {
    const body = await readBody(request);
    const { method = "GET", url = "/" } = request;
    const authorization = request.headers.authorization ?? null;
    answer =
      body === null
        ? { status: 413, body: '{"error":"too large"}' }
        : await respond(options, { method, url, authorization, body });
  } catch (fault) {
    // A store that fails (a full disk) acknowledges nothing: the sender keeps its lines and tries again.
    options.onError?.(fault instanceof Error ? fault : new Error(String(fault)));
    answer = { status: 503, body: '{"error":"not stored"}' };
  }
  // A kept connection would keep a closing server open.
  const close = answer.status === 413 || closing() ? { connection: "close" } : {};
  response.writeHead(answer.status, {
    "content-type": answer.body.startsWith("{") ? "application/json" : "text/plain",
    "content-length": Buffer.byteLength(answer.body),
    ...close,
  });
  response.end(answer.body);
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | null> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_BODY_BYTES) return null;
    parts.push(part);
  }
  return Buffer.concat(parts, length);
}

function listening(server: Server, listen: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const ready = (): void => {
      server.off("error", reject);
      if (listen.kind === "unix") chmodSync(listen.path, 0o600);
      resolve();
    };
    if (listen.kind === "unix") server.listen(listen.path, ready);
    else server.listen(listen.port, listen.host, ready);
  });
}

/** Removes the socket of a collector that was killed; throws where one still answers. */
async function freeSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (!existsSync(path)) return;
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (alive) throw new Error(`another collector listens on ${path}`);
  rmSync(path, { force: true });
}
