import { once } from "node:events";
import net from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AdminServer, startAdmin } from "./admin.ts";
import type { ReadyState } from "./readiness.ts";

let server: AdminServer;
let ready: ReadyState = { ready: true };
let live = true;
const start = (timeoutMs?: number) =>
  startAdmin(
    { addresses: ["127.0.0.1"], port: 0, ...(timeoutMs === undefined ? {} : { timeoutMs }) },
    { metrics: () => "x 1\n# EOF\n", ready: () => ready, live: () => live },
  );
beforeEach(async () => {
  ready = { ready: true };
  live = true;
  server = await start();
});
afterEach(() => server.close());

function connect(): net.Socket {
  const socket = net.connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  return socket;
}

/** Everything that comes until the server closes. */
async function all(socket: net.Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (part: string) => {
    text += part;
  });
  await once(socket, "close");
  return text;
}

async function ask(head: string): Promise<string> {
  const socket = connect();
  socket.write(head);
  return all(socket);
}

const get = (target: string): Promise<string> => ask(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);

describe("the three pages", () => {
  test("metrics are OpenMetrics, whole, and the connection ends", async () => {
    expect(await get("/metrics")).toBe(
      "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: 10\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nx 1\n# EOF\n",
    );
  });

  test("ready says what is waited for", async () => {
    expect(await get("/ready")).toContain(" 200 OK\r\n");
    ready = { ready: false, waiting: ["bundle", "spool"] };
    expect(await get("/ready")).toMatch(/^HTTP\/1\.1 503 .*waiting for bundle, spool\n$/s);
  });

  test("live is asked apart from ready", async () => {
    ready = { ready: false, waiting: ["bundle"] };
    expect(await get("/live")).toContain(" 200 OK\r\n");
    live = false;
    expect(await get("/live")).toContain(" 503 ");
  });
});

test.each([
  ["/", 404],
  ["/metrics/", 404],
  ["/metrics?x=1", 404],
  ["/../metrics", 404],
  ["/debug/pprof", 404],
  ["//metrics", 404],
])("GET %s is %i", async (target, status) => {
  expect(await get(target)).toContain(`HTTP/1.1 ${status} `);
});

test.each([
  ["POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405],
  ["HEAD /ready HTTP/1.1\r\n\r\n", 405],
  ["CONNECT x:443 HTTP/1.1\r\n\r\n", 400],
  ["GET http://x/metrics HTTP/1.1\r\n\r\n", 400],
  ["GET /metrics\r\n\r\n", 400],
  ["GET /metrics HTTP/2.0\r\n\r\n", 400],
  ["get /metrics HTTP/1.1\r\n\r\n", 400],
  ["\r\n\r\n", 400],
  ["\x16\x03\x01\r\n\r\n", 400],
  [`GET /${"a".repeat(101)} HTTP/1.1\r\n\r\n`, 400],
  [`GET /ready HTTP/1.1\r\nX: ${"a".repeat(5000)}`, 431],
])("%j is answered %i", async (head, status) => {
  expect(await ask(head)).toContain(`HTTP/1.1 ${status} `);
});

test("a head that comes byte by byte is answered once", async () => {
  const socket = connect();
  socket.setNoDelay();
  for (const byte of "GET /live HTTP/1.1\r\n\r\n") {
    socket.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.write("GET /metrics HTTP/1.1\r\n\r\n"); // pipelining: one answer, then the end
  expect((await all(socket)).match(/HTTP\/1\.1/g)).toHaveLength(1);
});

test("a client that sends nothing is closed after the limit", async () => {
  await server.close();
  server = await start(50);
  expect(await all(connect())).toBe("");
});

test("four may wait; a fifth is served, in the place of the oldest", async () => {
  const slow: net.Socket[] = [];
  for (let i = 0; i < 4; i++) {
    const socket = connect();
    await once(socket, "connect");
    socket.write("GET /live HTTP/1.1\r\n");
    slow.push(socket);
  }
  const [oldest, second] = slow;
  const gone = once(oldest ?? connect(), "close");
  expect(await get("/ready")).toContain(" 200 OK\r\n");
  await gone;
  second?.write("\r\n");
  expect(await all(second ?? connect())).toContain(" 200 OK\r\n");
  for (const socket of slow) socket.destroy();
});

test("an address that cannot be bound ends the start, and leaves no listener", async () => {
  const taken = server.port;
  await expect(
    startAdmin(
      { addresses: ["127.0.0.2", "127.0.0.1"], port: taken },
      { metrics: () => "", ready: () => ready, live: () => live },
    ),
  ).rejects.toThrow("EADDRINUSE");
  const again = net.createServer().listen(taken, "127.0.0.2");
  await once(again, "listening");
  again.close();
});
