/** The collector is found by our own lookup, and proven by its certificate, whatever address that gave. */
import { generateKeyPairSync } from "node:crypto";
import { createServer, type Server } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { certificateFor } from "../../test/support/sidecar-upstream.ts";
import { createHttpSink } from "./http-sink.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function collector(name: string): Promise<{ port: number; ca: string; tokens: string[] }> {
  const { cert, key, caPem } = certificateFor(name);
  const tokens: string[] = [];
  const server = createServer({ cert, key, minVersion: "TLSv1.3" }, (socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      const token = /Bearer (\S+)/.exec(bytes.toString())?.[1];
      if (token === undefined) return;
      tokens.push(token);
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"acknowledged":7}');
    });
  });
  server.on("tlsClientError", () => undefined);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, ca: caPem, tokens };
}

const BATCH = { boot: "k3v09xq2m1ab", lines: Buffer.from("{}\n"), firstSeq: 1, lastSeq: 7, gap: false };
const HOST = "sidegate-collector.sidegate.svc.cluster.local";

test("dials what our lookup gives, asks for the certificate of the name, and takes the next address after a failure", async () => {
  const { port, ca, tokens } = await collector(HOST);
  const asked: string[] = [];
  const sink = createHttpSink({
    address: { kind: "tls", host: HOST, port, ca },
    token: () => "t0k3n",
    lookup: (host) => {
      asked.push(host);
      return Promise.resolve(["127.0.0.2", "127.0.0.1"]);
    },
  });
  await expect(sink.send(BATCH)).rejects.toMatchObject({ code: "unreachable" });
  expect(await sink.send(BATCH)).toBe(7);
  expect([asked, tokens]).toEqual([[HOST, HOST], ["t0k3n"]]);
  await sink.close();
});

test("whoever an author's resolver would send it to gets no token without the certificate", async () => {
  const real = certificateFor(HOST);
  const impostor = await collector(HOST);
  const sink = createHttpSink({
    address: { kind: "tls", host: HOST, port: impostor.port, ca: real.caPem },
    token: () => "t0k3n",
    lookup: () => Promise.resolve(["127.0.0.1"]),
  });
  await expect(sink.send(BATCH)).rejects.toMatchObject({ code: "unreachable" });
  expect(impostor.tokens).toEqual([]);
  await sink.close();
});

test("a name without an address is a fault like any other: the lines stay", async () => {
  const { publicKey } = generateKeyPairSync("ed25519");
  const sink = createHttpSink({
    address: { kind: "tls", host: HOST, port: 1, ca: publicKey.export({ type: "spki", format: "pem" }) },
    token: null,
    lookup: () => Promise.reject(new Error("nxdomain")),
  });
  await expect(sink.send(BATCH)).rejects.toMatchObject({ code: "unreachable", message: "nxdomain" });
  await sink.close();
});
