/** A small billing API on loopback, HTTP and HTTPS, with an authority of its own. It remembers what reached it. */
import { generateKeyPairSync } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";

export interface Api {
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly caPem: string;
  /** `METHOD path`, in order of arrival. */
  readonly seen: readonly string[];
  close(): Promise<void>;
}

export async function startApi(host: string): Promise<Api> {
  const authority = makeAuthority(systemClock);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = Date.now();
  const cert = pem(
    leafCertificate(authority, host, spkiOf(publicKey), { fromMs: now - 3_600_000, untilMs: now + 86_400_000 }),
  );
  const seen: string[] = [];
  const answer: http.RequestListener = (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    request.resume();
    response.setHeader("Content-Type", "application/json");
    response.end(
      request.url?.startsWith("/v1/invoices") === true ? '{"invoice":7,"amount":120.5,"currency":"EUR"}\n' : "{}\n",
    );
  };
  const plain = http.createServer(answer);
  const secure = https.createServer({ key: privateKey.export({ type: "pkcs8", format: "pem" }), cert }, answer);
  const portOf = (server: http.Server | https.Server): Promise<number> =>
    new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
  const close = (server: http.Server | https.Server): Promise<void> =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return {
    httpPort: await portOf(plain),
    httpsPort: await portOf(secure),
    caPem: authority.caPem,
    seen,
    async close() {
      await close(plain);
      await close(secure);
    },
  };
}
