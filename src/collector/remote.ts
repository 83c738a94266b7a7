/**
 * A cluster's collector as a reader sees it from outside: the questions of read-api.ts over HTTPS, directly or through the API
 * server's proxy. Answers are bounded; what the collector refuses comes back in its words.
 */
import { type RequestOptions, request } from "node:https";
import type { CoveredBoot } from "./coverage.ts";
import { type FoundWire, fromWire } from "./found-wire.ts";
import { MAX_FOUND, NO_RECORD } from "./read-paths.ts";
import type { Filter, Found, LogTip, RecordStore } from "./store/port.ts";

/** What reading sub-commands need of a store. */
export type Records = Pick<RecordStore, "find" | "get" | "log">;

export class RemoteFault extends Error {
  readonly code = "collector";
  readonly status: number;
  /** The collector said itself that there is no such record. */
  readonly noRecord: boolean;
  constructor(status: number, message: string, noRecord = false) {
    super(message);
    this.status = status;
    this.noRecord = noRecord;
  }
}

export interface RemoteOptions {
  /** Before the collector's paths: `https://host:port`, or the API server's with the proxy's path. */
  readonly base: URL;
  /** TLS members and headers of each request; with the reader's own token in it. */
  readonly options: () => Promise<RequestOptions>;
  /** Absent: every namespace. */
  readonly namespaces?: readonly string[];
}

interface FoundAnswer {
  readonly found: readonly FoundWire[];
  readonly more?: boolean;
}

const LIMIT_MS = 30_000;
const MAX_BYTES = 256 * 1024 * 1024;

export class RemoteRecords implements Records {
  readonly #options: RemoteOptions;

  constructor(options: RemoteOptions) {
    this.#options = options;
  }

  /** In as many questions as it takes: an answer is bounded, in records and in bytes. */
  async find(filter: Filter): Promise<readonly Found[]> {
    const { namespaces } = this.#options;
    const all: Found[] = [];
    for (let place: Pick<Filter, "after" | "before"> = {}; ; ) {
      const limit = Math.min(filter.limit - all.length, MAX_FOUND);
      const body = { ...filter, ...place, limit, ...(namespaces === undefined ? {} : { namespaces }) };
      const { found, more = false } = (await this.#ask("/v1/find", body)) as FoundAnswer;
      all.push(...found.map(fromWire));
      const last = found.at(-1)?.index;
      if (last === undefined || all.length >= filter.limit || (!more && found.length < limit)) return all;
      place = filter.after === undefined ? { before: last } : { after: last };
    }
  }

  async get(boot: string, seq: number): Promise<Found | null> {
    try {
      const { found } = (await this.#ask("/v1/get", { boot, seq })) as { found: FoundWire };
      return fromWire(found);
    } catch (fault) {
      if (fault instanceof RemoteFault && fault.noRecord) return null;
      throw fault;
    }
  }

  async log(): Promise<LogTip> {
    const { size } = (await this.#ask("/v1/tip", {})) as { size: number };
    return { size, peaks: new Uint8Array(0) };
  }

  /** `namespace`: null: all. */
  async coverage(namespace: string | null, sinceMs: number): Promise<readonly CoveredBoot[]> {
    const body = { sinceMs, ...(namespace === null ? {} : { namespace }) };
    const { boots } = (await this.#ask("/v1/coverage", body)) as { boots: readonly CoveredBoot[] };
    return boots;
  }

  async accept(boot: string, reason: string): Promise<{ readonly through: number }> {
    return (await this.#ask("/v1/accept", { boot, reason })) as { through: number };
  }

  async #ask(path: string, question: object): Promise<unknown> {
    const { base } = this.#options;
    const { headers, ...tls } = await this.#options.options();
    const body = Buffer.from(JSON.stringify(question));
    const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
    const outgoing = request(new URL(`${base.pathname.replace(/\/$/, "")}${path}`, base), {
      ...tls,
      agent: false,
      method: "POST",
      signal: AbortSignal.timeout(LIMIT_MS),
      headers: {
        ...(headers as Record<string, string>),
        "content-type": "application/json",
        "content-length": body.length,
        "user-agent": "sidegate",
      },
    });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_BYTES) outgoing.destroy(new Error("too large an answer"));
        else parts.push(part);
      });
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }));
    });
    outgoing.end(body);
    const { status, text } = await promise;
    if (status === 200) return JSON.parse(text);
    throw faultOf(status, text);
  }
}

/** Of the collector ({error}), or of the API server whose proxy it was (a Status with a message). */
function faultOf(status: number, text: string): RemoteFault {
  try {
    const { error, code, message } = JSON.parse(text) as { error?: unknown; code?: unknown; message?: unknown };
    if (typeof error === "string") return new RemoteFault(status, error, code === NO_RECORD);
    if (typeof message === "string") return new RemoteFault(status, `the API server answered ${status}: ${message}`);
  } catch {
    // Said below.
  }
  return new RemoteFault(status, `the collector answered ${status}`);
}
