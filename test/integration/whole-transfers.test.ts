/**
 * Through the whole gateway, as an agent has it: 200 transfers at once, up, down and both ways, over HTTP in plain and TLS and over
 * an opaque target, readers that dawdle on both sides, and small requests in between. Both ends check every byte.
 */
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import type net from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, heard, Kept } from "../support/sidecar-client.ts";
import { httpsUpstream, httpUpstream, rawUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";

const TRANSFERS = 200;
const BULK_BYTES = 1_200_000;
const STALLED_MS = 20_000;
const SECURE = "secure.test";

let gateway: Gateway;
const upstreams: Upstream[] = [];
const serverFaults: string[] = [];
let served = 0;

beforeAll(async () => {
  const plain = await httpUpstream(answer);
  const secure = await httpsUpstream(SECURE, answer);
  const opaque = await rawUpstream((socket) => socket.pipe(socket));
  upstreams.push(plain, secure, opaque);
  gateway = await startGateway({
    policy: {
      policies: { everything: "allow if true" },
      targets: [
        targetTo(plain, { name: "plain", hosts: ["api.test"], protocol: "http" }),
        targetTo(secure, {
          name: "secure",
          hosts: [SECURE],
          ports: [443],
          protocol: "http",
          upstream: { ca: secure.caPem },
        }),
        targetTo(opaque, { name: "echo", hosts: ["echo.test"], ports: [7], protocol: "tcp" }),
      ],
    },
  });
});

afterAll(async () => {
  await gateway?.close();
  for (const upstream of upstreams) await upstream.close();
});

/** Every stream is this one from a place of its own: no two transfers expect the same byte at the same position. */
const POOL = randomBytes(1_048_573);

function placeOf(seed: string): number {
  return createHash("sha256").update(seed).digest().readUInt32LE() % POOL.length;
}

/** Bytes that depend on the seed only, in pieces of many sizes. */
function* streamOf(seed: string, total: number): Generator<Buffer> {
  let place = placeOf(seed);
  for (let left = total, turn = 1; left > 0; turn++) {
    const size = 1 + ((turn * 7_919) % (turn % 3 === 0 ? 300 : 90_000));
    const piece = POOL.subarray(place, place + Math.min(left, size));
    place = (place + piece.length) % POOL.length;
    left -= piece.length;
    yield piece;
  }
}

/** Reads to the end, a part at a time where it dawdles. Empty, or the first thing that is wrong. */
async function checked(stream: AsyncIterable<Buffer>, seed: string, total: number, dawdles: boolean): Promise<string> {
  let place = placeOf(seed);
  let count = 0;
  for await (const piece of stream) {
    for (let at = 0; at < piece.length; ) {
      const right = POOL.subarray(place, place + piece.length - at);
      if (!right.equals(piece.subarray(at, at + right.length)))
        return `differs within ${right.length} bytes of ${count}`;
      place = (place + right.length) % POOL.length;
      at += right.length;
      count += right.length;
    }
    if (dawdles) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return count === total ? "" : `${count} bytes of ${total}`;
}

/** `/<seed>/<bytes up>/<bytes down>/<who dawdles>` */
function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const [, seed = "", up = "0", down = "0", slow = ""] = request.url?.split("/") ?? [];
  const chunked = seed.endsWith("c");
  response.writeHead(200, chunked ? {} : { "content-length": Number(down) });
  const came = checked(request, `up ${seed}`, Number(up), slow === "server");
  // Both directions at once; but the end of the answer behind that of the request: Node's client stops sending where it is whole.
  const body = pipeline(Readable.from(withheld(streamOf(`down ${seed}`, Number(down)), came)), response);
  Promise.all([came, body]).then(
    ([wrong]) => {
      served++;
      if (wrong !== "") serverFaults.push(`${request.url}: ${wrong}`);
    },
    (fault: unknown) => serverFaults.push(`${request.url}: ${String(fault)}`),
  );
}

/** The last piece comes when `until` is over. */
async function* withheld(pieces: Iterable<Buffer>, until: Promise<unknown>): AsyncGenerator<Buffer> {
  let last: Buffer | null = null;
  for (const piece of pieces) {
    if (last !== null) yield last;
    last = piece;
  }
  await until;
  if (last !== null) yield last;
}

interface Transfer {
  readonly seed: string;
  readonly up: number;
  readonly down: number;
  readonly slow: "nobody" | "server" | "client";
}

function planned(i: number): Transfer {
  const bulk = Math.floor(BULK_BYTES * (0.4 + (i % 7) / 7)) + i;
  // Half of the bodies have a length, half are chunked.
  const seed = `${i}${randomBytes(4).toString("hex")}${i % 2 === 0 ? "n" : "c"}`;
  const slow = i % 4 === 3 ? "client" : i % 4 === 2 ? "server" : "nobody";
  switch (i % 5) {
    case 0:
      return { seed, slow, up: 0, down: bulk };
    case 1:
      return { seed, slow, up: bulk, down: 20 };
    case 2:
      return { seed, slow, up: bulk >> 1, down: bulk >> 1 };
    default:
      return { seed, slow, up: i * 3, down: 700 };
  }
}

/** A connection that says nothing for 5 s is refused, and this process is busy: a few are opened at a time, and speak at once. */
const DOORS = 12;
let opening = 0;
const outside: (() => void)[] = [];
/** Bodies move when all connections are open: then there are really so many at once. */
const everybody = Promise.withResolvers<void>();
let arrived = 0;
async function opened<T>(open: () => Promise<T>): Promise<T> {
  if (opening >= DOORS) await new Promise<void>((resolve) => outside.push(resolve));
  opening++;
  try {
    return await open();
  } finally {
    opening--;
    outside.shift()?.();
    if (++arrived === TRANSFERS) everybody.resolve();
  }
}

/** Empty, or what was wrong. */
async function overHttp(i: number): Promise<string> {
  const { seed, up, down, slow } = planned(i);
  const secure = i % 2 === 1;
  const host = secure ? SECURE : "api.test";
  const path = `/${seed}/${up}/${down}/${slow}`;
  const length = seed.endsWith("c") ? {} : { "content-length": up };
  const { socket, request } = await opened(async () => {
    const socket: net.Socket = secure
      ? await gateway.secure({ host, port: 443 })
      : await gateway.connect({ host, port: 80, family: i % 3 === 0 ? 6 : 4 });
    const request = http.request({
      agent: new Kept(socket),
      method: up === 0 ? "GET" : "PUT",
      path,
      headers: { host, ...(up === 0 ? {} : length) },
    });
    request.flushHeaders();
    return { socket, request };
  });
  const response = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
  await everybody.promise;
  socket.setTimeout(STALLED_MS, () => socket.destroy(new Error("nothing moved for too long")));
  const [wrong] = await Promise.all([
    response.then((stream) => checked(stream, `down ${seed}`, down, slow === "client")),
    pipeline(Readable.from(streamOf(`up ${seed}`, up)), request),
  ]);
  socket.end();
  return wrong === "" ? "" : `${path}: ${wrong}`;
}

async function overTcp(i: number): Promise<string> {
  const { seed, down, slow } = planned(i);
  const socket = await opened(() => gateway.connect({ host: "echo.test", port: 7 }));
  await everybody.promise;
  socket.setTimeout(STALLED_MS, () => socket.destroy(new Error("nothing moved for too long")));
  const [wrong] = await Promise.all([
    checked(socket, seed, down, slow === "client"),
    pipeline(Readable.from(streamOf(seed, down)), socket),
  ]);
  return wrong === "" ? "" : `echo ${seed}: ${wrong}`;
}

test("200 transfers at once arrive byte for byte on both sides, plain, TLS and opaque, with slow readers among them", async () => {
  const transfers = Array.from({ length: TRANSFERS }, (_, i) =>
    (i % 8 === 7 ? overTcp(i) : overHttp(i)).catch((fault: unknown) => `transfer ${i}: ${String(fault)}`),
  );
  // Meanwhile an agent asks small things, one after the other.
  const small: number[] = [];
  const over = new AbortController();
  const chatter = (async () => {
    while (!over.signal.aborted) small.push((await ask(gateway, { path: `/${small.length}n/0/5/nobody` })).status);
  })();
  const faults = (await Promise.all(transfers)).filter((text) => text !== "");
  over.abort();
  await chatter;
  expect(faults).toEqual([]);
  const asked = (TRANSFERS * 7) / 8 + small.length;
  await eventually(
    () => served >= asked,
    () => `${served} of ${asked} served; ${serverFaults.join("; ")}`,
  );
  expect(serverFaults).toEqual([]);
  expect(new Set(small)).toEqual(new Set([200]));
  expect(small.length).toBeGreaterThan(1);
});

test("each of them is on record with its outcome and the bytes that it moved", async () => {
  const asked = (TRANSFERS * 7) / 8;
  const events = await gateway.recordsUntil((all) => {
    const big = all.filter((e) => e.phase === "ask" && !JSON.stringify(e.op).includes("/0/5/nobody"));
    return big.length >= asked && big.every((e) => e.outcome !== null);
  });
  const big = events.filter((e) => e.phase === "ask" && !JSON.stringify(e.op).includes("/0/5/nobody"));
  expect(big).toHaveLength(asked);
  for (const { op, outcome } of big) {
    const path = /"path":"([^"]+)"/.exec(JSON.stringify(op))?.[1] ?? "";
    const [, , up, down] = path.split("/").map(Number);
    expect(outcome?.status, path).toBe("200");
    expect(outcome?.up, path).toBeGreaterThanOrEqual(up ?? -1);
    expect(outcome?.down, path).toBeGreaterThanOrEqual(down ?? -1);
  }
});

test.each(["keep-alive", "close"])("an upload whose answer came early arrives whole (Connection: %s)", async (wish) => {
  const total = 1_300_000;
  const came: string[] = [];
  const upstream = await httpsUpstream(SECURE, (request, response) => {
    response.end("early");
    checked(request, "early", total, false).then(
      (wrong) => came.push(wrong),
      (fault: unknown) => came.push(String(fault)),
    );
  });
  upstreams.push(upstream);
  await gateway.enforce({
    policies: { everything: "allow if true" },
    targets: [targetTo(upstream, { name: "early", hosts: [SECURE], ports: [443], upstream: { ca: upstream.caPem } })],
  });
  await gateway.logged(new RegExp(`"sequence":${gateway.sequence}`));
  for (let i = 1; i <= 10; i++) {
    const socket = await gateway.secure({ host: SECURE, port: 443 });
    const answer = heard(socket);
    socket.write(`PUT / HTTP/1.1\r\nHost: ${SECURE}\r\nConnection: ${wish}\r\nContent-Length: ${total}\r\n\r\n`);
    await pipeline(Readable.from(streamOf("early", total)), socket);
    expect((await answer).text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*early/);
    await eventually(
      () => came.length === i,
      () => `${came.length} of ${i}`,
    );
  }
  expect(came).toEqual(Array.from({ length: 10 }, () => ""));
});
