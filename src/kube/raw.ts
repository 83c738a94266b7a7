/**
 * What a command line asks of an API server beyond objects: logs as text, the server's own clock, paths through its proxy, dry runs.
 * Bodies and times are bounded; a status is a value.
 */
import { type Agent, request as requestHttps } from "node:https";
import type { KubeAccess } from "./pod-access.ts";

export interface RawAnswer {
  readonly status: number;
  readonly text: string;
  /** The server's `Date`, in wall milliseconds; NaN where it says none. */
  readonly dateMs: number;
}

export interface RawCall {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly limitMs?: number;
}

/** Rejects where nothing answers in time. */
export type Raw = (call: RawCall) => Promise<RawAnswer>;

const LIMIT_MS = 15_000;
const MAX_BYTES = 32 * 1024 * 1024;

export function createRaw(access: KubeAccess, agent?: Agent): Raw {
  return async ({ method = "GET", path, body, limitMs = LIMIT_MS }) => {
    const { headers, ...tls } = await access.options();
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
    const outgoing = requestHttps(new URL(path, access.server), {
      ...tls,
      agent: agent ?? false,
      method,
      signal: AbortSignal.timeout(limitMs),
      headers: {
        ...(headers as Record<string, string>),
        accept: "application/json, */*;q=0.5",
        "user-agent": "sidegate",
        ...(bytes === null ? {} : { "content-type": "application/json", "content-length": bytes.length }),
      },
    });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      const parts: Buffer[] = [];
      let held = 0;
      response.on("data", (part: Buffer) => {
        held += part.length;
        if (held > MAX_BYTES) response.destroy(new Error(`an answer of over ${MAX_BYTES} bytes`));
        else parts.push(part);
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(parts).toString("utf8"),
          dateMs: Date.parse(response.headers.date ?? ""),
        }),
      );
    });
    outgoing.end(bytes ?? undefined);
    return promise;
  };
}
