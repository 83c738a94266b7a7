import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request as dial } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { createHttpSink } from "#audit/http-sink.ts";
import type { Batch, RecordSink } from "#contract/record.ts";
import { systemClock } from "#core/clock.ts";
import { bootOf } from "../../test/support/collected.ts";
import { WORKLOAD } from "../../test/support/record.ts";
import { startCollector } from "./collector.ts";
import type { Sender } from "./ingest.ts";
import { Limiter } from "./limits.ts";
import { type ClusterDoor, type CollectorServer, type HttpRequest, respond, serveCollector } from "./server.ts";
import { openSqlite } from "./store/sqlite.ts";

const undo: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), "collector-"));
  undo.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function local(at = folder()): Promise<{ server: CollectorServer; at: string; socket: string }> {
  const socket = path.join(at, "run", "c.sock");
  const server = await startCollector({
    database: path.join(at, "audit.db"),
    listen: { kind: "unix", path: socket },
    authenticate: null,
    clock: systemClock,
    onFinding: () => {},
    onError: (fault) => {
      throw fault;
    },
  });
  undo.push(() => server.close());
  return { server, at, socket };
}

function sinkTo(socket: string): RecordSink {
  const sink = createHttpSink({ address: { kind: "unix", path: socket }, token: null });
  undo.push(() => sink.close());
  return sink;
}

async function batch(): Promise<Batch> {
  const { boot, lines } = await bootOf((recorder) => void recorder.note("x", ""));
  return { boot, lines, firstSeq: 1, lastSeq: 2, gap: false };
}

test("takes a shipper's batch over a socket that only its owner may open, and keeps key and store private", async () => {
  const { at, socket } = await local();
  expect(await sinkTo(socket).send(await batch())).toBe(2);
  for (const name of ["run/c.sock", "audit.db", "audit.db.key"])
    expect(statSync(path.join(at, name)).mode & 0o077, name).toBe(0);
});

test("what was acknowledged is there after the collector is started again", async () => {
  const { at, socket, server } = await local();
  const sent = await batch();
  await sinkTo(socket).send(sent);
  await server.close();
  await local(at);
  const store = openSqlite(path.join(at, "audit.db"), "read");
  undo.push(() => store.close());
  expect((await store.boot(sent.boot))?.lastSeq).toBe(2);
  expect(await sinkTo(socket).send(sent)).toBe(2);
});

test("a second collector on the same socket is refused, a dead one's socket is taken over", async () => {
  const { at, socket } = await local();
  await expect(local(at)).rejects.toThrow("another collector listens");
  expect(await sinkTo(socket).send(await batch())).toBe(2);
  const dead = path.join(folder(), "dead.sock");
  writeFileSync(dead, "");
  const server = await serveCollector({
    listen: { kind: "unix", path: dead },
    ingest: () => Promise.resolve({ kind: "acknowledged", seq: 5 }),
    authenticate: () => Promise.resolve({ subject: "x", claims: null }),
  });
  undo.push(() => server.close());
  expect(existsSync(dead)).toBe(true);
});

test("a network listener without an authenticator does not start", async () => {
  const at = folder();
  await expect(
    startCollector({
      database: path.join(at, "audit.db"),
      listen: { kind: "tls", host: "127.0.0.1", port: 0, cert: "", key: "" },
      authenticate: null,
      clock: systemClock,
      onFinding: () => {},
      onError: () => {},
    }),
  ).rejects.toThrow("authenticator");
});

const SENDER: Sender = {
  subject: "pod",
  claims: { namespace: WORKLOAD.namespace, pod: WORKLOAD.pod, uid: WORKLOAD.uid },
};

function request(over: Partial<HttpRequest> = {}): HttpRequest {
  return {
    method: "POST",
    url: "/v1/records/k3v09xq2m1ab?first=1&last=2",
    authorization: "Bearer good",
    body: Buffer.alloc(0),
    ...over,
  };
}

test("answers only who it knows, and only what it has", async () => {
  const seen: unknown[] = [];
  const options = {
    listen: { kind: "unix", path: "" } as const,
    ingest: (r: unknown) => {
      seen.push(r);
      return Promise.resolve({ kind: "acknowledged", seq: 2 } as const);
    },
    authenticate: (authorization: string | null) => Promise.resolve(authorization === "Bearer good" ? SENDER : null),
  };
  const status = async (over: Partial<HttpRequest>): Promise<number> => (await respond(options, request(over))).status;
  expect(await status({})).toBe(200);
  expect(await status({ authorization: null })).toBe(401);
  expect(await status({ authorization: "Bearer bad" })).toBe(401);
  expect(await status({ method: "GET" })).toBe(405);
  expect(await status({ url: "/v1/records/UPPER000" })).toBe(404);
  expect(await status({ url: "/v1/records/../x" })).toBe(404);
  expect(await status({ url: "//evil.example/v1/records/k3v09xq2m1ab/x" })).toBe(404);
  for (const url of ["//[", "http://[", "http://a:b/v1/find"]) expect(await status({ url })).toBe(400);
  expect(await status({ method: "GET", url: "/ready", authorization: null })).toBe(200);
  expect(seen).toEqual([{ boot: "k3v09xq2m1ab", lines: Buffer.alloc(0), gap: false, sender: SENDER }]);
});

test("a store that fails is answered 503, without its words", async () => {
  const at = folder();
  const socket = path.join(at, "c.sock");
  const faults: string[] = [];
  const server = await serveCollector({
    listen: { kind: "unix", path: socket },
    ingest: () => Promise.reject(new Error("disk I/O error at /secret/place")),
    authenticate: () => Promise.resolve(SENDER),
    onError: (fault) => faults.push(fault.message),
  });
  undo.push(() => server.close());
  await expect(sinkTo(socket).send(await batch())).rejects.toThrow(
    'the collector answered 503: {"error":"not stored"}',
  );
  expect(faults).toEqual(["disk I/O error at /secret/place"]);
});

test("a body larger than any batch is refused while it comes", async () => {
  const { socket } = await local();
  const answer = await new Promise<string>((resolve) => {
    const client = connect(socket);
    let text = "";
    client.on("data", (bytes) => (text += bytes.toString("latin1")));
    client.on("error", () => {});
    client.on("close", () => resolve(text));
    client.write("POST /v1/records/k3v09xq2m1ab HTTP/1.1\r\nHost: c\r\nContent-Length: 30000000\r\n\r\n");
    client.write(Buffer.alloc(21 * 1024 * 1024));
  });
  expect(answer).toContain(" 413 ");
});

test("questions of people whom nobody knows yet take none of the room that batches have", async () => {
  const socket = path.join(folder(), "c.sock");
  const limits = { bytesPerSecond: 1, burstBytes: 1_000, bodyBytes: 100 };
  const door: ClusterDoor = {
    actor: () => Promise.resolve(null),
    act: () => Promise.resolve({ status: 200, body: "" }),
    read: (_path, _token, body) => Promise.resolve({ outcome: "unknown", status: 401, body: { length: body.length } }),
    readAnswered: () => undefined,
    metrics: () => "",
    ready: () => true,
  };
  const server = await serveCollector({
    listen: { kind: "unix", path: socket },
    ingest: () => Promise.resolve({ kind: "acknowledged", seq: 2 }),
    authenticate: () => Promise.resolve(SENDER),
    cluster: door,
    limiter: new Limiter(limits, systemClock),
  });
  undo.push(() => server.close());
  const post = (url: string, length: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const asked = dial({ socketPath: socket, method: "POST", path: url, agent: false }, (answer) => {
        let text = String(answer.statusCode);
        answer.setEncoding("utf8").on("data", (part: string) => (text += ` ${part}`));
        answer.on("end", () => resolve(text));
      });
      asked.on("error", reject).end("x".repeat(length));
    });
  expect(await post("/v1/records/k3v09xq2m1ab", 200)).toMatch(/^429 /);
  expect(await post("/v1/find", 200)).toBe('401 {"length":200}');
  expect(await post("/v1/records/k3v09xq2m1ab", 50)).toMatch(/^200 /);
});

test("closing answers the batch that is under way, and then keeps no connection open", async () => {
  const socket = path.join(folder(), "c.sock");
  let release = (): void => {};
  let entered = (): void => {};
  const reached = new Promise<void>((resolve) => (entered = resolve));
  const server = await serveCollector({
    listen: { kind: "unix", path: socket },
    ingest: () =>
      new Promise((resolve) => {
        release = () => resolve({ kind: "acknowledged", seq: 2 });
        entered();
      }),
    authenticate: () => Promise.resolve(SENDER),
  });
  const sent = sinkTo(socket).send(await batch());
  await reached;
  const closed = server.close();
  release();
  expect(await sent).toBe(2);
  await closed;
});

test("the sink's own idea of a socket path is a path, not a port", async () => {
  const at = folder();
  const server = createServer().listen(path.join(at, "plain.sock"));
  undo.push(() => void server.close());
  await expect(sinkTo(path.join(at, "nothing.sock")).send(await batch())).rejects.toMatchObject({
    code: "unreachable",
  });
});
