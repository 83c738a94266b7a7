/**
 * Credentials from a controller: `GET <url>/<target>/<name>` with the pod's token, an answer as `writeIssued` makes it. 404: there is
 * none; 401 and 403: it is not handed out here; everything else counts as not now.
 *
 * What was handed out is watched: a `HEAD` with its ETag is held by the controller until the Secret changes (`Prefer: wait`, as for
 * bundles), so that the next connection gets the new value. A watch ends when its credential was not asked for again in its lifetime.
 *
 * Fails closed: only https, no redirect is followed, and an answer over the bound or of another shape is none. A refusal's words
 * are the controller's own, cut and escaped; of anything else nothing is in any error.
 */
import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { CREDENTIAL_BINDING_HEADER } from "#contract/control-environment.ts";
import {
  CredentialFault,
  type CredentialSource,
  type IssuedCredential,
  readIssued,
  type WantedCredential,
} from "#contract/credential.ts";
import { limitConnect } from "#core/connect-limit.ts";
import { escapeAndCut } from "#core/escape.ts";
import type { Alarm } from "#core/wheel.ts";

export interface HttpSourceOptions {
  /** `https://…`, without a slash at the end. */
  readonly url: string;
  /** The bearer token, read anew for each request: a projected token rotates. */
  readonly token: () => Promise<string>;
  /** PEM; trusted instead of the system's roots. */
  readonly ca: string | null;
  readonly after: (ms: number, fire: () => void) => Alarm;
  /** How long the controller may hold a watch. */
  readonly waitS?: number;
  /** How the controller's name is looked up. Absent: the system's resolver. */
  readonly lookup?: LookupFunction;
}

const MAX_BYTES = 262_144;
const MAX_WHY = 400;
const WAIT_S = 50;
/** Beyond `waitS`, for connecting. */
const GRACE_MS = 15_000;
/** What nobody watches is asked for again when it wants to be refreshed. */
const MAX_WATCHES = 16;
/** Before a watch is begun again: at first, and at most, while it fails. */
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/** Where an answer names no lifetime. */
const LIFETIME_MS = 300_000;

export function createHttpSource(options: HttpSourceOptions): CredentialSource {
  const base = new URL(options.url);
  if (base.protocol !== "https:") throw new TypeError(`credentials come over https only, not ${base.protocol}`);
  const changed: ((name: string, target: string | null) => void)[] = [];
  const watches = new Map<string, Watch>();
  let closed = false;

  function watch(wanted: WantedCredential, etag: string, lifetimeMs: number): void {
    const key = JSON.stringify([wanted.target, wanted.binding, wanted.name]);
    watches.get(key)?.end();
    watches.delete(key);
    if (closed || watches.size >= MAX_WATCHES) return;
    const end = (): void => {
      if (watches.get(key) === made) watches.delete(key);
    };
    const tell = (): void => {
      for (const then of changed) then(wanted.name, wanted.target);
    };
    const made = new Watch(options, wanted, { etag, lifetimeMs, end, tell });
    watches.set(key, made);
    made.begin(0);
  }

  return {
    async fetch(wanted, signal) {
      const { status, body, etag } = await ask(options, {
        method: "GET",
        wanted,
        signal,
        headers: wanted.fresh ? { "cache-control": "no-cache" } : {},
      });
      const issued = read(wanted.name, status, body);
      if (etag !== "") watch(wanted, etag, issued.expiresInMs ?? LIFETIME_MS);
      return issued;
    },
    onChanged: (then) => void changed.push(then),
    close() {
      closed = true;
      for (const each of watches.values()) each.end();
      watches.clear();
    },
  };
}

interface Watching {
  readonly etag: string;
  readonly lifetimeMs: number;
  readonly end: () => void;
  readonly tell: () => void;
}

/** One credential's: asks until it changed, was not fetched again for its lifetime, or was ended. */
class Watch {
  readonly #options: HttpSourceOptions;
  readonly #wanted: WantedCredential;
  readonly #watching: Watching;
  readonly #abort = new AbortController();
  readonly #limit: Alarm;
  #pause: Alarm | null = null;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(options: HttpSourceOptions, wanted: WantedCredential, watching: Watching) {
    this.#options = options;
    this.#wanted = wanted;
    this.#watching = watching;
    this.#limit = options.after(watching.lifetimeMs, () => this.end());
  }

  begin(afterMs: number): void {
    if (this.#abort.signal.aborted) return;
    if (afterMs === 0) void this.#ask();
    else this.#pause = this.#options.after(afterMs, () => void this.#ask());
  }

  end(): void {
    this.#limit.cancel();
    this.#pause?.cancel();
    this.#abort.abort();
    this.#watching.end();
  }

  async #ask(): Promise<void> {
    const waitS = this.#options.waitS ?? WAIT_S;
    const late = AbortSignal.timeout(waitS * 1_000 + GRACE_MS);
    const signal = AbortSignal.any([this.#abort.signal, late]);
    const headers = { "if-none-match": this.#watching.etag, prefer: `wait=${waitS}` };
    const status = await ask(this.#options, { method: "HEAD", wanted: this.#wanted, signal, headers }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (this.#abort.signal.aborted) return;
    // Also one that is gone, or not for us any more, is another one: the next use hears why.
    if (status === 200 || status === 403 || status === 404) {
      this.end();
      this.#watching.tell();
      return;
    }
    if (status === 304) {
      this.#pauseMs = FIRST_PAUSE_MS;
      return this.begin(FIRST_PAUSE_MS);
    }
    this.begin(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
  }
}

function read(name: string, status: number, body: string): IssuedCredential {
  const why = status === 200 ? "" : reasonIn(body);
  if (status === 404) throw new CredentialFault("unknown", why || `there is no credential ${name}`);
  if (status === 401 || status === 403)
    throw new CredentialFault("unknown", why || `the credential ${name} is not handed out here`);
  if (status !== 200) throw new CredentialFault("unavailable", why || `the controller answered ${status}`);
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    // A syntax error would quote what it could not read.
    throw new CredentialFault("unavailable", "the controller's answer is no JSON");
  }
  return readIssued(value);
}

/** `{"why": "…"}`, as the controller refuses; "" for anything else. */
function reasonIn(body: string): string {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null || !("why" in value)) return "";
    return typeof value.why === "string" ? escapeAndCut(value.why, MAX_WHY) : "";
  } catch {
    return "";
  }
}

interface Call {
  readonly method: "GET" | "HEAD";
  readonly wanted: WantedCredential;
  readonly signal: AbortSignal;
  readonly headers: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly etag: string;
}

async function ask({ url, ca, lookup, token: tokenOf }: HttpSourceOptions, call: Call): Promise<Answer> {
  const { method, wanted, signal, headers: more } = call;
  const token = (await tokenOf()).trim();
  signal.throwIfAborted();
  const at = new URL(`${url}/${encodeURIComponent(wanted.target)}/${encodeURIComponent(wanted.name)}`);
  const headers = {
    ...more,
    authorization: `Bearer ${token}`,
    accept: "application/json",
    [CREDENTIAL_BINDING_HEADER]: wanted.binding,
  };
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new CredentialFault("unavailable", "the controller could not be reached"));
    // Not by `import`: that would load Node's fetch as well (policy/source/http.ts).
    const asked = process.getBuiltinModule("node:https").request(
      at,
      {
        method,
        headers,
        signal,
        agent: false,
        rejectUnauthorized: true,
        ...(ca === null ? {} : { ca }),
        ...(lookup === undefined ? {} : { lookup }),
      },
      (response: IncomingMessage) => {
        const pieces: Buffer[] = [];
        let length = 0;
        response.on("data", (piece: Buffer) => {
          length += piece.length;
          if (length <= MAX_BYTES) pieces.push(piece);
          else asked.destroy(new Error("too long"));
        });
        response.once("end", () => {
          const whole = Buffer.concat(pieces);
          const body = whole.toString("utf8");
          whole.fill(0);
          for (const piece of pieces) piece.fill(0);
          resolve({ status: response.statusCode ?? 0, body, etag: response.headers.etag ?? "" });
        });
        response.once("error", lost);
      },
    );
    limitConnect(asked);
    asked.once("error", lost);
    asked.end();
  });
}
