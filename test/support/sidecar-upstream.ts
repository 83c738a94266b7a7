/** Upstreams of a test on loopback: HTTP, HTTPS with an authority of its own, or raw TCP; and the targets that lead to them. */
import { generateKeyPairSync } from "node:crypto";
import http from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import type { Target } from "#contract/target.ts";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { leafCertificate, pem, spkiOf } from "#sidecar/tls/certificate.ts";

export interface Upstream {
  readonly port: number;
  /** Connections that were ever accepted. */
  readonly connections: () => number;
  close(): Promise<void>;
}

export interface SecureUpstream extends Upstream {
  readonly caPem: string;
}

export async function httpUpstream(answer: http.RequestListener): Promise<Upstream> {
  const server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0, maxHeaderSize: 131_072 }, answer);
  return opened(server, () => server.closeAllConnections());
}

export async function httpsUpstream(host: string, answer: http.RequestListener): Promise<SecureUpstream> {
  const { caPem, key, cert } = certificateFor(host);
  const server = https.createServer({ key, cert, keepAliveTimeout: 0, requestTimeout: 0 }, answer);
  return { ...(await opened(server, () => server.closeAllConnections())), caPem };
}

/** Speaks whatever `serve` does. */
export async function rawUpstream(serve: (socket: net.Socket) => void): Promise<Upstream> {
  const open = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => open.delete(socket));
    serve(socket);
  });
  return opened(server, () => {
    for (const socket of open) socket.destroy();
  });
}

export function certificateFor(host: string): { readonly caPem: string; readonly key: string; readonly cert: string } {
  const authority = makeAuthority(systemClock);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = Date.now();
  const during = { fromMs: now - 3_600_000, untilMs: now + 86_400_000 };
  return {
    caPem: authority.caPem,
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: pem(leafCertificate(authority, host, spkiOf(publicKey), during)),
  };
}

/** A target whose only endpoint is this upstream. */
export function targetTo(upstream: Upstream, spec: Omit<Target, "ports" | "endpoints"> & Partial<Target>): Target {
  return { ports: [80], ...spec, endpoints: [`127.0.0.1:${upstream.port}`] };
}

async function opened(server: net.Server, end: () => void): Promise<Upstream> {
  let count = 0;
  server.on("connection", () => count++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        end();
      }),
  };
}
