import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Batch, RecordSink } from "#contract/record.ts";
import { createHttpSink, SinkFault } from "./http-sink.ts";
import { parseCollector } from "./open.ts";

const folders: string[] = [];
const servers: Server[] = [];
const sinks: RecordSink[] = [];
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close();
  for (const server of servers.splice(0)) server.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const BATCH: Batch = { boot: "k3v09xq2m1ab", lines: Buffer.from("{}\n"), firstSeq: 1, lastSeq: 7, gap: false };

/** A collector that answers each request with the next of these texts ("" = closes). */
async function answering(...answers: string[]): Promise<{ path: string; seen: string[]; connections: () => number }> {
  const folder = mkdtempSync(path.join(tmpdir(), "sink-"));
  folders.push(folder);
  const seen: string[] = [];
  let connections = 0;
  const server = createServer((socket: Socket) => {
    connections++;
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (end < 0 || text.length < end + 4 + length) return;
      seen.push(text);
      text = "";
      const answer = answers.shift() ?? "";
      if (answer === "") socket.destroy();
      else socket.write(answer);
    });
  });
  servers.push(server);
  const socketPath = path.join(folder, "s");
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return { path: socketPath, seen, connections: () => connections };
}

function sinkTo(socketPath: string, token: (() => string) | null = null, timeoutMs = 5_000): RecordSink {
  const sink = createHttpSink({ address: { kind: "unix", path: socketPath }, token, timeoutMs });
  sinks.push(sink);
  return sink;
}

const ok = (seq: number): string => {
  const body = `{"acknowledged":${seq}}`;
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
};

async function faultOf(promise: Promise<unknown>): Promise<SinkFault> {
  try {
    await promise;
  } catch (fault) {
    if (fault instanceof SinkFault) return fault;
  }
  throw new Error("no SinkFault");
}

test("sends batches over one connection and reads the acknowledged line", async () => {
  const collector = await answering(ok(7), ok(9));
  const sink = sinkTo(collector.path, () => "abc.def");
  expect(await sink.send(BATCH)).toBe(7);
  expect(await sink.send({ ...BATCH, gap: true })).toBe(9);
  expect(collector.connections()).toBe(1);
  expect(collector.seen[0]).toContain("POST /v1/records/k3v09xq2m1ab?first=1&last=7 HTTP/1.1\r\n");
  expect(collector.seen[0]).toContain("Authorization: Bearer abc.def\r\n");
  expect(collector.seen[1]).toContain("&gap=1");
});

test.each([
  ["closes", "", "unreachable"],
  ["speaks something else", "SSH-2.0-x\r\n\r\n\r\n\r\n", "malformed"],
  ["names no length", "HTTP/1.1 200 OK\r\n\r\n", "malformed"],
  ["answers longer than it says", `${ok(7)}x`, "malformed"],
  ["never stops", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}`, "malformed"],
  ["refuses", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "refused"],
  ["acknowledges nonsense", 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"acknowledged":"7"}', "refused"],
] as const)(
  "a collector that %s has acknowledged nothing, and the next try is a new connection",
  async (_what, answer, code) => {
    const collector = await answering(answer, ok(7));
    const sink = sinkTo(collector.path);
    expect((await faultOf(sink.send(BATCH))).code).toBe(code);
    expect(await sink.send(BATCH)).toBe(7);
    expect(collector.connections()).toBe(2);
  },
);

test("a collector that never answers is given up", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "sink-"));
  folders.push(folder);
  const server = createServer((socket) => socket.on("error", () => {}));
  servers.push(server);
  const socketPath = path.join(folder, "s");
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  expect((await faultOf(sinkTo(socketPath, null, 20).send(BATCH))).code).toBe("timeout");
});

test("no collector at all is unreachable", async () => {
  expect((await faultOf(sinkTo("/nonexistent/socket").send(BATCH))).code).toBe("unreachable");
});

test("a token that could forge a header is never sent, and no fault shows it", async () => {
  const collector = await answering(ok(7));
  const fault = await faultOf(sinkTo(collector.path, () => "a\r\nX-Evil: 1").send(BATCH));
  expect(fault.message).not.toContain("Evil");
  expect(collector.seen).toEqual([]);
});

test("reads the collector's address as the configuration gives it", () => {
  expect(parseCollector("unix:/run/c.sock", null)).toEqual({ kind: "unix", path: "/run/c.sock" });
  expect(parseCollector("https://collector.sidegate.svc:8443", "PEM")).toEqual({
    kind: "tls",
    host: "collector.sidegate.svc",
    port: 8443,
    ca: "PEM",
  });
  expect(parseCollector("https://[::1]:1", null)).toMatchObject({ host: "::1", port: 1 });
  for (const bad of ["http://x", "https://u@x", "https://x/path", "unix:rel", "", "https://x?y"])
    expect(parseCollector(bad, null)).toBe(null);
});
