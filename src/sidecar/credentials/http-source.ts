/**
 * Credentials from a controller: `GET <url>/<name>` with the pod's token, an answer as `writeIssued` makes it. 404: there is none;
 * 401 and 403: it is not handed out here; everything else counts as not now.
 *
 * Fails closed: only https, no redirect is followed, and an answer over the bound or of another shape is none. Nothing of an answer is
 * in any error.
 */
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { CredentialFault, type CredentialSource, type IssuedCredential, readIssued } from "#contract/credential.ts";

export interface HttpSourceOptions {
  /** `https://…`, without a slash at the end. */
  readonly url: string;
  /** The bearer token, read anew for each request: a projected token rotates. */
  readonly token: () => Promise<string>;
  /** PEM; trusted instead of the system's roots. */
  readonly ca: string | null;
}

const MAX_BYTES = 262_144;

export function createHttpSource(options: HttpSourceOptions): CredentialSource {
  const base = new URL(options.url);
  if (base.protocol !== "https:") throw new TypeError(`credentials come over https only, not ${base.protocol}`);
  return {
    async fetch(name, signal) {
      const token = (await options.token()).trim();
      signal.throwIfAborted();
      const url = new URL(`${options.url}/${encodeURIComponent(name)}`);
      const { status, body } = await ask(url, token, options.ca, signal);
      return read(name, status, body);
    },
    // The controller is asked again when a value wants to be refreshed: it calls nobody.
    onChanged() {},
    close() {},
  };
}

function read(name: string, status: number, body: string): IssuedCredential {
  if (status === 404) throw new CredentialFault("unknown", `there is no credential ${name}`);
  if (status === 401 || status === 403)
    throw new CredentialFault("unknown", `the credential ${name} is not handed out here`);
  if (status !== 200) throw new CredentialFault("unavailable", `the controller answered ${status}`);
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    // A syntax error would quote what it could not read.
    throw new CredentialFault("unavailable", "the controller's answer is no JSON");
  }
  return readIssued(value);
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function ask(url: URL, token: string, ca: string | null, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new CredentialFault("unavailable", "the controller could not be reached"));
    const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
    const asked = request(
      url,
      { headers, signal, agent: false, rejectUnauthorized: true, ...(ca === null ? {} : { ca }) },
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
          resolve({ status: response.statusCode ?? 0, body });
        });
        response.once("error", lost);
      },
    );
    asked.once("error", lost);
    asked.end();
  });
}
