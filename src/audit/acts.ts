/**
 * Where acts of the control plane (a freeze, an admitted policy, …) are put on record: the collector, in a chain of its own. The
 * control plane's processes send them one by one, over TLS, with the token of their own service account.
 */
import { type RequestOptions, request } from "node:https";

export interface Act {
  /** An act whose key is on record already is not stored again, so that telling twice is harmless. */
  readonly key: string;
  readonly act: string;
  readonly members: Readonly<Record<string, unknown>>;
}

export interface Acts {
  /** Resolves when it is stored durably; rejects where the collector cannot be reached, or refuses: the caller tries again. */
  record(act: Act): Promise<void>;
}

export interface ActsOptions {
  /** `https://host:port` */
  readonly url: string;
  /** PEM, asked for each time: it is renewed while we run. */
  readonly ca: () => string;
  readonly token: () => Promise<string>;
}

export const ACTS_PATH = "/v1/acts";
const TIMEOUT_MS = 10_000;
const MAX_ANSWER = 4_096;

export function createActs({ url, ca, token }: ActsOptions): Acts {
  const target = new URL(ACTS_PATH, url);
  return {
    async record(act) {
      const body = Buffer.from(JSON.stringify(act));
      const headers = {
        authorization: `Bearer ${(await token()).trim()}`,
        "content-type": "application/json",
        "content-length": body.length,
      };
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      await send(target, { method: "POST", agent: false, ca: ca(), minVersion: "TLSv1.3", headers, signal }, body);
    },
  };
}

function send(url: URL, options: RequestOptions, body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        if (text.length < MAX_ANSWER) text += part;
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`the collector answered ${response.statusCode ?? 0}: ${text.slice(0, 200)}`));
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
