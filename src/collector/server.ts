/**
 * The collector's door: HTTP/1.1 on a Unix socket (`sidegate run`: who may open it is who may write) or TLS (a cluster: bearer
 * token). POST /v1/records/<boot> from sidecars, POST /v1/acts from the control plane, questions of readers; /live, /ready, /metrics.
 *
 * Who asks is found out before a body is read, and bodies in memory are bounded, all together.
 */
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer, Server as TlsServer } from "node:https";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import type { TlsOptions } from "node:tls";
import { ACTS_PATH } from "#audit/acts.ts";
import { shareConnections } from "#process/fair-connections.ts";
import { CONTENT_TYPE } from "#process/metrics.ts";
import type { Ingest, IngestAnswer, Sender } from "./ingest.ts";
import { type BodyPool, type Limiter, Pool } from "./limits.ts";
import type { ReadApi, ReadOutcome } from "./read-api.ts";
import { READ_PATHS } from "./read-paths.ts";
import { isFull } from "./store/sqlite.ts";

export type Listen =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tls"; readonly host: string; readonly port: number; readonly cert: string; readonly key: string };

export interface ServerOptions {
  readonly listen: Listen;
  readonly ingest: Ingest;
  /** Null: not known, answered 401. `authorization`: the header, or null. */
  readonly authenticate: (authorization: string | null) => Promise<Sender | null>;
  /** Absent: not in a cluster. */
  readonly cluster?: ClusterDoor;
  readonly limiter?: Limiter;
  /** Told how each batch was answered. */
  readonly answered?: (outcome: "stored" | "refused" | "limited" | "full" | "failed", bytes: number) => void;
  readonly onError?: (fault: Error) => void;
}

/** What there is in a cluster besides taking batches. */
export interface ClusterDoor {
  /** The service account that may put acts on record; null: it may not. */
  readonly actor: (authorization: string | null) => Promise<string | null>;
  readonly act: (actor: string, body: string) => Promise<HttpResponse>;
  readonly read: ReadApi;
  readonly readAnswered: (outcome: ReadOutcome) => void;
  readonly metrics: () => string;
  readonly ready: () => boolean;
}

export interface CollectorServer {
  /** The port in use; 0 for a Unix socket. */
  readonly port: number;
  /** Takes no new connection, answers what is under way, then resolves. */
  close(): Promise<void>;
  /** Connections made from now on are answered with it. TLS only. */
  useCertificate(certificate: { readonly cert: string; readonly key: string }): void;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | null;
  /** A reader's token where the API server's proxy took the usual header for itself. */
  readonly token?: string | null;
  readonly body: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

/** How a reader's token comes through the API server's proxy. */
export const READER_HEADER = "sidegate-token";

/** The sender's batches are smaller (shipper.ts); one commit may be as long as this. */
const MAX_BODY_BYTES = 20 * 1024 * 1024;
const BOOT_PATH = /^\/v1\/records\/([a-z0-9]{8,32})$/;
const REQUEST_MS = 30_000;
/** How long a batch under way may take when the collector is asked to end. */
const DRAIN_MS = 5_000;

const DENIED: HttpResponse = { status: 401, body: '{"error":"who is this?"}' };
const LATER: HttpResponse = { status: 429, body: '{"error":"one batch at a time, and not so much at once"}' };
const MAX_QUESTION_BYTES = 64 * 1024;
/** Of questions in memory, all together: nobody knows yet who asks them, and they must not take the room of batches. */
const QUESTIONS_BYTES = 8 * 1024 * 1024;
const MAX_CONNECTIONS = 4_096;
const HANDSHAKE_MS = 10_000;
const STUCK_MS = 180_000;

/** What a request needs before its body is read; what then comes of the body. */
type Admitted =
  | { readonly kind: "answer"; readonly answer: HttpResponse }
  | {
      readonly kind: "body";
      readonly maxBytes: number;
      /** Where its bytes are counted while they are in memory. */
      readonly pool: "batches" | "questions";
      readonly take: (body: Uint8Array) => Promise<HttpResponse>;
      /** Called once, whatever came of it. */
      readonly done: () => void;
    };

const answer = (status: number, body: string): Admitted => ({ kind: "answer", answer: { status, body } });

export async function respond(options: ServerOptions, request: HttpRequest): Promise<HttpResponse> {
  const admitted = await admit(options, request);
  if (admitted.kind === "answer") return admitted.answer;
  try {
    return await admitted.take(request.body);
  } finally {
    admitted.done();
  }
}

async function admit(options: ServerOptions, request: Omit<HttpRequest, "body">): Promise<Admitted> {
  const { cluster } = options;
  const url = URL.parse(request.url, "http://collector");
  if (url === null) return answer(400, '{"error":"no such path"}');
  if (request.method === "GET") {
    if (url.pathname === "/live") return answer(200, "ok\n");
    if (url.pathname === "/ready") return cluster?.ready() === false ? answer(503, "not ready\n") : answer(200, "ok\n");
    if (url.pathname === "/metrics" && cluster !== undefined)
      return { kind: "answer", answer: { status: 200, body: cluster.metrics(), type: CONTENT_TYPE } };
  }
  const boot = BOOT_PATH.exec(url.pathname)?.[1];
  const reads = cluster !== undefined && (READ_PATHS as readonly string[]).includes(url.pathname);
  const acts = cluster !== undefined && url.pathname === ACTS_PATH;
  if (boot === undefined && !reads && !acts) return answer(404, '{"error":"no such path"}');
  if (request.method !== "POST") return answer(405, '{"error":"POST only"}');
  if (boot !== undefined) return await admitBatch(options, request, boot, url.searchParams.get("gap") === "1");
  if (cluster === undefined) return answer(404, '{"error":"no such path"}');
  if (acts) {
    const actor = await cluster.actor(request.authorization);
    if (actor === null) return { kind: "answer", answer: DENIED };
    const take = (body: Uint8Array): Promise<HttpResponse> => cluster.act(actor, Buffer.from(body).toString("utf8"));
    return { kind: "body", pool: "questions", maxBytes: MAX_QUESTION_BYTES, take, done: () => undefined };
  }
  const bearer = /^Bearer (.+)$/.exec(request.authorization ?? "")?.[1] ?? null;
  const token = request.token ?? bearer;
  return {
    kind: "body",
    pool: "questions",
    maxBytes: MAX_QUESTION_BYTES,
    done: () => undefined,
    async take(body) {
      try {
        const read = await cluster.read(url.pathname, token, Buffer.from(body).toString("utf8"));
        cluster.readAnswered(read.outcome);
        return { status: read.status, body: JSON.stringify(read.body) };
      } catch (fault) {
        cluster.readAnswered("failed");
        throw fault;
      }
    },
  };
}

async function admitBatch(
  options: ServerOptions,
  request: Omit<HttpRequest, "body">,
  boot: string,
  gap: boolean,
): Promise<Admitted> {
  const { limiter, answered } = options;
  const sender = await options.authenticate(request.authorization);
  if (sender === null) return { kind: "answer", answer: DENIED };
  const done = limiter === undefined ? (): void => undefined : limiter.begin(sender.subject);
  if (done === null) {
    answered?.("limited", 0);
    return { kind: "answer", answer: LATER };
  }
  return {
    kind: "body",
    pool: "batches",
    maxBytes: MAX_BODY_BYTES,
    done,
    async take(body) {
      limiter?.spend(sender.subject, body.length);
      let said: IngestAnswer;
      try {
        said = await options.ingest({ boot, lines: body, gap, sender });
      } catch (fault) {
        if (!isFull(fault)) {
          answered?.("failed", body.length);
          throw fault;
        }
        options.onError?.(fault as Error);
        said = { kind: "refused", status: 507, why: "the collector's volume has no room" };
      }
      if (said.kind === "acknowledged") {
        answered?.("stored", body.length);
        return { status: 200, body: `{"acknowledged":${said.seq}}` };
      }
      answered?.(said.status === 507 ? "full" : said.status === 503 ? "failed" : "refused", body.length);
      return { status: said.status, body: JSON.stringify({ error: said.why }) };
    },
  };
}

/** Rejects where the address cannot be had: also when another collector listens on that socket. */
export async function serveCollector(options: ServerOptions): Promise<CollectorServer> {
  const { listen } = options;
  let closing = false;
  const pools = { batches: options.limiter, questions: new Pool(QUESTIONS_BYTES) };
  const handler: RequestListener = (request, response) => void handle(options, pools, request, response, () => closing);
  const server = listen.kind === "unix" ? createServer(handler) : createTlsServer(tlsOptions(listen), handler);
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 120_000;
  // Whoever takes no answer.
  server.timeout = STUCK_MS;
  shareConnections(server, MAX_CONNECTIONS);
  if (listen.kind === "unix") await freeSocket(listen.path);
  await listening(server, listen);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    useCertificate(certificate) {
      if (server instanceof TlsServer) server.setSecureContext({ ...certificate, minVersion: "TLSv1.3" });
    },
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

function tlsOptions(listen: Listen & { kind: "tls" }): TlsOptions {
  return { cert: listen.cert, key: listen.key, minVersion: "TLSv1.3", handshakeTimeout: HANDSHAKE_MS };
}

interface Pools {
  readonly batches: BodyPool | undefined;
  readonly questions: BodyPool;
}

async function handle(
  options: ServerOptions,
  pools: Pools,
  request: IncomingMessage,
  response: ServerResponse,
  closing: () => boolean,
): Promise<void> {
  let said: HttpResponse;
  try {
    const { method = "GET", url = "/" } = request;
    const authorization = request.headers.authorization ?? null;
    const given = request.headers[READER_HEADER];
    const token = typeof given === "string" ? given : null;
    const admitted = await admit(options, { method, url, authorization, token });
    said = admitted.kind === "answer" ? admitted.answer : await takeBody(pools[admitted.pool], request, admitted);
  } catch (fault) {
    // A store that fails (a full disk) acknowledges nothing: the sender keeps its lines and tries again.
    options.onError?.(fault instanceof Error ? fault : new Error(String(fault)));
    said = { status: 503, body: '{"error":"not stored"}' };
  }
  // A kept connection would keep a closing server open.
  const close = !request.complete || closing() ? { connection: "close" } : {};
  response.writeHead(said.status, {
    "content-type": said.type ?? (said.body.startsWith("{") ? "application/json" : "text/plain"),
    "content-length": Buffer.byteLength(said.body),
    ...close,
  });
  response.end(said.body);
  // What was not read is thrown away as it comes, so that the answer is not lost with a reset.
  if (!request.complete) request.resume();
}

async function takeBody(
  pool: BodyPool | undefined,
  request: IncomingMessage,
  admitted: Admitted & { readonly kind: "body" },
): Promise<HttpResponse> {
  try {
    const body = await readBody(request, admitted.maxBytes, pool);
    switch (body.kind) {
      case "large":
        return { status: 413, body: '{"error":"too large"}' };
      case "crowded":
        return LATER;
      default:
        try {
          return await admitted.take(body.bytes);
        } finally {
          pool?.release(body.bytes.length);
        }
    }
  } finally {
    admitted.done();
  }
}

type Body =
  | { readonly kind: "whole"; readonly bytes: Uint8Array }
  | { readonly kind: "large" }
  /** All bodies together are too many bytes just now. */
  | { readonly kind: "crowded" };

/** What has come is counted, not what was announced: who says much and sends little keeps nobody out. A whole body is released by the caller. */
async function readBody(request: IncomingMessage, maxBytes: number, pool: BodyPool | undefined): Promise<Body> {
  const parts: Buffer[] = [];
  let length = 0;
  let whole = false;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      if (length + part.length > maxBytes) return { kind: "large" };
      if (pool?.hold(part.length) === false) return { kind: "crowded" };
      length += part.length;
      parts.push(part);
    }
    whole = true;
    return { kind: "whole", bytes: Buffer.concat(parts, length) };
  } finally {
    if (!whole) pool?.release(length);
  }
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
