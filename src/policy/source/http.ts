/**
 * Bundles over HTTP, by OPA's bundle protocol: `If-None-Match` with the ETag that we have, `Prefer: wait=…` for a long poll,
 * 304 where nothing is new. Any OPA bundle server or CDN will do; one that does not hold the request is asked at intervals.
 *
 * Errs towards an error: a redirect, a body over the bound, an answer without an ETag's worth of time. The token goes over TLS,
 * or to loopback, never anywhere else. Who may sign is not this file's affair: whatever comes is verified afterwards.
 * Format: openpolicyagent.org/docs/management-bundles/#bundle-service-api.
 */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { BundleSource } from "#contract/policy-port.ts";
import { limitConnect } from "#core/connect-limit.ts";
import { ARCHIVE_LIMITS } from "../tar.ts";

export interface HttpBundleOptions {
  readonly url: string;
  /** The bearer token, read anew for each request: a projected token rotates. Null: none is sent. */
  readonly token: (() => Promise<string>) | null;
  /** PEM; trusted instead of the system's roots. */
  readonly ca?: string;
  /** How long the server may hold a request. */
  readonly waitS?: number;
  /** How often a server is asked that does not hold requests. */
  readonly pollMs?: number;
  readonly maxBytes?: number;
  /** How the server's name is looked up. Absent: the system's resolver. */
  readonly lookup?: LookupFunction;
}

/** The server's answer is of no use: its status, its length, its shape. */
export class BundleServerError extends Error {
  readonly code = "bundle_server";
}

const WAIT_S = 60;
const POLL_MS = 10_000;
/** Beyond `waitS`, for connecting and for the body. */
const GRACE_MS = 20_000;
/** A 304 that came sooner was not a long poll. */
const HELD_MS = 1_000;

export function createHttpBundleSource(options: HttpBundleOptions): BundleSource {
  const url = new URL(options.url);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new TypeError(`bundle url: ${url.protocol}`);
  if (url.protocol === "http:" && options.token !== null && !isLoopback(url.hostname))
    throw new TypeError("a token is sent over https only");
  return {
    async next(etag, signal) {
      for (;;) {
        signal.throwIfAborted();
        const askedAt = performance.now();
        const answer = await ask(url, options, etag, signal);
        if (answer !== null && answer.etag !== etag) return answer;
        if (performance.now() - askedAt < HELD_MS) await sleep(options.pollMs ?? POLL_MS, undefined, { signal });
      }
    },
  };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

type Answer = { readonly etag: string; readonly archive: Uint8Array };

/** Null: nothing new (304). */
async function ask(
  url: URL,
  options: HttpBundleOptions,
  etag: string | null,
  signal: AbortSignal,
): Promise<Answer | null> {
  const waitS = options.waitS ?? WAIT_S;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(waitS * 1_000 + GRACE_MS)]);
  const headers: Record<string, string> = {
    accept: "application/gzip, application/octet-stream",
    prefer: `modes=snapshot;wait=${waitS}`,
    "user-agent": "sidegate",
  };
  if (etag !== null) headers["if-none-match"] = etag;
  if (options.token !== null) headers["authorization"] = `Bearer ${(await options.token()).trim()}`;
  const response = await send(url, options, headers, deadline);
  try {
    if (response.statusCode === 304) return null;
    if (response.statusCode !== 200) throw new BundleServerError(`${url.host} answered ${response.statusCode}`);
    const archive = await readBody(response, options.maxBytes ?? ARCHIVE_LIMITS.maxCompressedBytes);
    // A server without ETags: the content's own hash stands in, so that the same bundle is not loaded again and again.
    return { etag: response.headers.etag ?? createHash("sha256").update(archive).digest("hex"), archive };
  } finally {
    response.destroy();
  }
}

/**
 * Resolves with the answer's head. Rejects on abort, a time limit or a network fault. `import "node:http"` would also load Node's
 * fetch (an export of it is made on demand, and an import demands all): 50 ms and 3 MB in a sidecar that reads its bundle from a file.
 */
async function send(
  url: URL,
  { ca, lookup }: Pick<HttpBundleOptions, "ca" | "lookup">,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const http = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http");
  const sent = http.request(url, {
    agent: false,
    headers,
    signal,
    maxHeaderSize: 16 * 1024,
    ...(ca === undefined ? {} : { ca }),
    ...(lookup === undefined ? {} : { lookup }),
  });
  limitConnect(sent);
  sent.on("response", resolve);
  sent.on("error", reject);
  sent.end();
  return promise;
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBytes) throw new BundleServerError(`the bundle is over ${maxBytes} bytes`);
    parts.push(part);
  }
  if (!response.complete) throw new BundleServerError("the answer was cut short");
  return Buffer.concat(parts);
}
