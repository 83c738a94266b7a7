/**
 * The load of the admission bench, a process of its own on a core of its own: reviews over TLS and HTTP/1.1, as the API server's
 * client sends them, on connections that are kept.
 *
 * Open loop: a review is due every 1/rate seconds, whether or not the one before was answered; its latency counts from when it was
 * due, so a stall is seen by everybody who came meanwhile. Closed loop: each connection sends the next one when it has its answer.
 *
 * `node admission-load.ts '{"port":…,"ca":…,"path":"/mutate",…}'`; prints one JSON line.
 */
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { parseOptions } from "../src/injection/options-text.ts";
import { DISTINCT, reviewText } from "./admission-pod.ts";

export interface AdmissionLoad {
  readonly port: number;
  /** PEM file. */
  readonly ca: string;
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  /** Reviews a second; 0: closed loop. */
  readonly rate: number;
  /** File with the options that the pods were injected with already; "": they were not. */
  readonly injected: string;
}

export interface AdmissionLoaded {
  readonly reviews: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Answers that are no 200, or that refuse. */
  readonly errors: number;
}

interface Connection {
  readonly socket: tls.TLSSocket;
  busy: boolean;
  /** The answer, as far as it has come. */
  answer: string;
  /** Of the whole answer; -1: its head is not complete. */
  length: number;
  dueMs: number;
}

const plan = JSON.parse(process.argv[2] ?? "") as AdmissionLoad;
const options = plan.injected === "" ? null : parseOptions([readFileSync(plan.injected, "utf8")]);
const requests = Array.from({ length: DISTINCT }, (_, n) => {
  const body = reviewText(n, options);
  const lines = [
    `POST ${plan.path}?timeout=5s HTTP/1.1`,
    "Host: webhook.bench",
    "Accept: application/json, */*",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`);
});

const latencies: number[] = [];
let errors = 0;
let sent = 0;
const waiting: number[] = [];
const idle: Connection[] = [];
let onIdle: (connection: Connection) => void = (connection) => idle.push(connection);

function send(connection: Connection, dueMs: number): void {
  connection.dueMs = dueMs;
  connection.busy = true;
  connection.length = -1;
  connection.answer = "";
  connection.socket.write(requests[sent++ % DISTINCT] ?? Buffer.alloc(0));
}

function take(connection: Connection, chunk: Buffer): void {
  connection.answer += chunk.toString("latin1");
  const { answer } = connection;
  if (connection.length < 0) {
    const end = answer.indexOf("\r\n\r\n");
    if (end < 0) return;
    connection.length = end + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(answer)?.[1] ?? "NaN");
  }
  if (answer.length < connection.length) return;
  const good = answer.startsWith("HTTP/1.1 200 ") && answer.includes('"allowed":true');
  if (answer.length !== connection.length || !good) errors++;
  latencies.push((performance.now() - connection.dueMs) * 1000);
  connection.busy = false;
  onIdle(connection);
}

async function connect(): Promise<Connection> {
  const options = { host: "127.0.0.1", port: plan.port, servername: "webhook.bench", ca: readFileSync(plan.ca) };
  const socket = tls.connect(options);
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve).once("error", reject);
  });
  socket.setNoDelay(true);
  const made: Connection = { socket, busy: false, answer: "", length: -1, dueMs: 0 };
  socket.on("data", (chunk: Buffer) => take(made, chunk));
  socket.on("close", () => {
    if (made.busy) errors++;
  });
  return made;
}

const connections = await Promise.all(Array.from({ length: plan.connections }, connect));
const start = performance.now();
const end = start + plan.seconds * 1000;

if (plan.rate === 0) {
  await new Promise<void>((resolve) => {
    let left = connections.length;
    onIdle = (connection) => {
      if (performance.now() < end) send(connection, performance.now());
      else if (--left === 0) resolve();
    };
    for (const connection of connections) onIdle(connection);
  });
} else {
  await new Promise<void>((resolve) => {
    const total = Math.round(plan.rate * plan.seconds);
    let due = 0;
    onIdle = (connection) => {
      const next = waiting.shift();
      if (next !== undefined) return send(connection, next);
      idle.push(connection);
      if (due >= total && idle.length === connections.length) resolve();
    };
    idle.push(...connections);
    const tick = (): void => {
      const now = performance.now();
      while (due < total && start + (due * 1000) / plan.rate <= now) {
        const dueMs = start + (due++ * 1000) / plan.rate;
        const connection = idle.pop();
        if (connection === undefined) waiting.push(dueMs);
        else send(connection, dueMs);
      }
      if (due < total) setTimeout(tick, 1);
      else if (idle.length === connections.length) resolve();
    };
    tick();
  });
}
const seconds = (performance.now() - start) / 1000;
const sorted = Float64Array.from(latencies).sort();
const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const result: AdmissionLoaded = {
  reviews: latencies.length,
  seconds,
  p50Us: at(0.5),
  p99Us: at(0.99),
  maxUs: at(1),
  errors,
};
console.log(JSON.stringify(result));
process.exit(0);
