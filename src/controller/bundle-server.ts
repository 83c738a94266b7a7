/**
 * OPA's bundle protocol over TLS for pods: one path; who asks, by the token that the kubelet gave the pod, decides what comes.
 * ETag, 304, and `Prefer: wait=N` holds the request until there is something else for that pod.
 *
 * Errs towards refusing: a token that is bound to no living pod that we know, or that comes from another address, gets nothing.
 * Format: openpolicyagent.org/docs/management-bundles/#bundle-service-api.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { BUNDLE_PATH, CREDENTIAL_BINDING_HEADER, CREDENTIAL_PATH } from "#contract/control-environment.ts";
import { CREDENTIAL_NAME } from "#contract/credential.ts";
import type { PodIdentity, PodTokenReading } from "#identity/pod-token.ts";
import { shareConnections } from "#process/fair-connections.ts";
import type { Asked, HandOut } from "./credentials/asking.ts";
import type { Issued } from "./issue.ts";

export type Offer =
  | { readonly kind: "bundle"; readonly etag: string; readonly issue: () => Issued }
  /** Nothing can be given: why, for the pod's log. */
  | { readonly kind: "none"; readonly status: 403 | 404 | 503; readonly why: string };

export interface BundleServerOptions {
  readonly certificate: Serving;
  readonly authenticate: (authorization: string | null) => Promise<PodTokenReading>;
  /** What this pod is to have now. `address`: the caller's. */
  readonly offer: (uid: string, address: string) => Offer;
  /** Absent: nobody is given any. */
  readonly credentials?: Pick<HandOut, "give" | "watch">;
  readonly ready: () => boolean;
  readonly metrics: () => { readonly type: string; readonly text: string };
  readonly onFault: (fault: unknown) => void;
  readonly answered: (status: number) => void;
}

export interface Serving {
  readonly cert: string;
  readonly key: string;
}

export interface BundleServer {
  readonly port: number;
  /** Pods that wait in a long poll. */
  readonly waiting: number;
  /** Looks again for these pods; what they wait for may have come. */
  wake(uids: Iterable<string>): void;
  useCertificate(certificate: Serving): void;
  close(): Promise<void>;
}

const MAX_WAIT_S = 120;
/** How long a pod that nothing is known for is kept waiting before it is told why. */
const MAX_UNKNOWN_MS = 5_000;
const MAX_CONNECTIONS = 20_000;
/** A sidecar has one request under way; a second may come while the first is dying. */
const MAX_WAITING_PER_POD = 2;
const TLS = { minVersion: "TLSv1.3", handshakeTimeout: 10_000 } as const;
/** Longer than anybody waits: whoever takes no answer. */
const STUCK_MS = 180_000;

export async function serveBundles(
  options: BundleServerOptions,
  listen: { readonly host: string; readonly port: number },
): Promise<BundleServer> {
  /** Called with false: somebody else waits in its place, answer now. */
  const waiters = new Map<string, Set<(again: boolean) => void>>();
  /** Ends of what is held for credentials. */
  const held = new Set<() => void>();
  let waiting = 0;
  let closing = false;
  const server: Server = createServer(
    { ...TLS, ...options.certificate, maxHeaderSize: 16 * 1024 },
    (request, response) => {
      void handle(request, response).catch((fault: unknown) => {
        options.onFault(fault);
        if (response.headersSent) response.destroy();
        else send(response, 500, "a fault of ours\n");
      });
    },
  );
  shareConnections(server, MAX_CONNECTIONS);
  server.timeout = STUCK_MS;
  server.headersTimeout = 10_000;
  server.requestTimeout = 10_000;
  server.keepAliveTimeout = 5_000;
  server.on("tlsClientError", () => undefined);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path?.startsWith(`${CREDENTIAL_PATH}/`) === true && options.credentials !== undefined)
      return giveCredential(request, response, options.credentials);
    if (request.method !== "GET") return send(response, 405, "GET only\n");
    if (path === "/healthz") return send(response, 200, "ok\n");
    if (path === "/readyz") return options.ready() ? send(response, 200, "ok\n") : send(response, 503, "not ready\n");
    if (path === "/metrics") {
      const { type, text } = options.metrics();
      return send(response, 200, text, { "content-type": type });
    }
    if (path !== BUNDLE_PATH) return send(response, 404, "no such path\n");
    const caller = await callerOf(request, response);
    if (caller !== null) await give(request, response, caller.identity.uid, caller.address);
  }

  /** Null: it has been answered. */
  async function callerOf(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<{ readonly identity: PodIdentity; readonly address: string } | null> {
    const reading = await options.authenticate(request.headers.authorization ?? null);
    if (reading.kind === "refused") {
      send(response, 401, `token: ${reading.why}\n`);
      return null;
    }
    const address = (request.socket.remoteAddress ?? "").replace(/^::ffff:/, "");
    return { identity: reading.identity, address };
  }

  /** GET: the credential. HEAD: whether it is another one than `If-None-Match`'s, held as long as `Prefer: wait` says. */
  async function giveCredential(
    request: IncomingMessage,
    response: ServerResponse,
    credentials: Pick<HandOut, "give" | "watch">,
  ): Promise<void> {
    const asked = askedFor(request);
    if (asked === null) return send(response, 404, "no such path\n");
    if (request.method !== "GET" && request.method !== "HEAD") return send(response, 405, "GET or HEAD\n");
    const caller = await callerOf(request, response);
    if (caller === null) return;
    const gone = new AbortController();
    const end = (): void => {
      gone.abort();
      held.delete(end);
    };
    held.add(end);
    response.once("close", end);
    const { headers } = request;
    const answer =
      request.method === "GET"
        ? await credentials.give({ ...caller, ...asked, fresh: headers["cache-control"] === "no-cache" })
        : await credentials.watch({
            ...caller,
            ...asked,
            etag: headers["if-none-match"] ?? "",
            waitMs: closing ? 0 : waitSeconds(headers["prefer"]) * 1000,
            gone: gone.signal,
          });
    if (response.destroyed) return;
    send(response, answer.status, answer.body, {
      "cache-control": "no-store",
      "content-type": "application/json",
      ...(answer.etag === "" ? {} : { etag: answer.etag }),
    });
  }

  async function give(request: IncomingMessage, response: ServerResponse, uid: string, address: string): Promise<void> {
    const has = request.headers["if-none-match"] ?? "";
    const start = performance.now();
    const waitMs = waitSeconds(request.headers["prefer"]) * 1000;
    for (;;) {
      const offer = options.offer(uid, address);
      if (offer.kind === "bundle" && offer.etag !== has) {
        // Made now, so of what is known now: its own tag goes with it.
        const { etag, archive } = offer.issue();
        const type = "application/vnd.openpolicyagent.bundles";
        return send(response, 200, archive, { etag, "content-type": type });
      }
      // A pod's first request may come before its address, or its set's first bundle: that is a matter of a second or two.
      const limit = offer.kind === "bundle" ? waitMs : offer.status === 503 ? Math.min(waitMs, MAX_UNKNOWN_MS) : 0;
      const left = limit - (performance.now() - start);
      if (left > 0 && !closing && !response.destroyed && (await pause(uid, left, response))) continue;
      if (offer.kind === "none") return send(response, offer.status, `${offer.why}\n`);
      return send(response, 304, "", { etag: offer.etag });
    }
  }

  /** Until somebody wakes the pod, the time is over, or the caller has gone; false: a newer request took this one's place. */
  async function pause(uid: string, ms: number, response: ServerResponse): Promise<boolean> {
    const others = waiters.get(uid) ?? new Set<(again: boolean) => void>();
    // The newest stays: the oldest is the one whose caller has probably gone.
    if (others.size >= MAX_WAITING_PER_POD) for (const oldest of [...others].slice(0, 1)) oldest(false);
    waiters.set(uid, others);
    waiting++;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const look = (): void => resolve(true);
    others.add(resolve);
    const timer = setTimeout(look, ms);
    response.once("close", look);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      response.off("close", look);
      others.delete(resolve);
      if (others.size === 0 && waiters.get(uid) === others) waiters.delete(uid);
      waiting--;
    }
  }

  function send(
    response: ServerResponse,
    status: number,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    options.answered(status);
    if (response.destroyed) return;
    const close = closing ? { connection: "close" } : {};
    const length = status === 304 ? {} : { "content-length": Buffer.byteLength(body) };
    response.writeHead(status, { "content-type": "text/plain", ...length, ...close, ...headers });
    response.end(body);
  }

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : listen.port,
    get waiting() {
      return waiting;
    },
    wake(uids) {
      for (const uid of uids) for (const resolve of waiters.get(uid) ?? []) resolve(true);
    },
    useCertificate: (certificate) => server.setSecureContext({ ...TLS, ...certificate }),
    async close() {
      closing = true;
      for (const each of waiters.values()) for (const resolve of each) resolve(true);
      for (const end of held) end();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeIdleConnections();
      const limit = setTimeout(() => server.closeAllConnections(), 5_000);
      await closed;
      clearTimeout(limit);
    },
  };
}

/** `/credentials/<target>/<name>`; null: it is none. */
function askedFor({ url = "", headers }: IncomingMessage): Asked | null {
  const [target, name, ...more] = (url.split("?", 1)[0] ?? "").slice(CREDENTIAL_PATH.length + 1).split("/");
  const binding = headers[CREDENTIAL_BINDING_HEADER];
  if (target === undefined || name === undefined || more.length > 0) return null;
  if (!CREDENTIAL_NAME.test(name) || !/^[a-z0-9.-]{1,253}$/.test(target)) return null;
  return { target, name, binding: typeof binding === "string" ? binding : "" };
}

/** RFC 7240: `modes=snapshot;wait=60`, `wait=60, …`. */
function waitSeconds(prefer: string | string[] | undefined): number {
  const text = Array.isArray(prefer) ? prefer.join() : (prefer ?? "");
  const seconds = /(?:^|[,;\s])wait=(\d{1,6})/.exec(text)?.[1];
  return seconds === undefined ? 0 : Math.min(Number(seconds), MAX_WAIT_S);
}
