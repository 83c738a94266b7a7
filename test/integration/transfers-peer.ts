/**
 * The other process of transfers.test.ts: an upstream server, and the clients that reach it through the gateway. Every transfer
 * checks each byte of both directions against a keystream, so that a byte of another connection, a lost, doubled or moved one
 * cannot go unnoticed.
 *
 * A connection starts with 16 bytes: mode (1), seed (4), bytes up (4), bytes down (4), slowness (1), zero (2).
 */
import { createCipheriv, createHash } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "#sidecar/tls/authority.ts";
import { createLeafSource } from "#sidecar/tls/leaf-source.ts";

export const SERVER_NAME = "transfers.test";
const HEADER = 16;
const BULK = 1;
const TALK = 2;
/** node:tls takes it as node:net does; its types do not say so. */
const HALF_OPEN: object = { allowHalfOpen: true };
const IDLE_MS = 20_000;

export interface Plan {
  readonly ports: readonly { readonly port: number; readonly secure: boolean }[];
  readonly caPem: string;
  readonly count: number;
  readonly bulkBytes: number;
}

export type FromPeer =
  | { readonly kind: "serving"; readonly plain: number; readonly secure: number; readonly caPem: string }
  | { readonly kind: "done"; readonly transfers: number; readonly bytes: number; readonly faults: readonly string[] };

/** Bytes that depend on seed and direction only, made piece by piece. */
class Keystream {
  readonly #cipher;
  constructor(seed: number, direction: "up" | "down") {
    const key = createHash("sha256").update(`${seed} ${direction}`).digest();
    this.#cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  }
  next(length: number): Buffer {
    return this.#cipher.update(Buffer.alloc(length));
  }
}

/** Takes what comes and compares it with what should come; tells the first difference. */
class Expected {
  readonly #stream: Keystream;
  readonly #total: number;
  received = 0;
  wrong = "";
  constructor(seed: number, direction: "up" | "down", total: number) {
    this.#stream = new Keystream(seed, direction);
    this.#total = total;
  }
  take(bytes: Buffer): void {
    const right = this.#stream.next(bytes.length);
    if (this.wrong === "" && !right.equals(bytes)) {
      const at = bytes.findIndex((byte, i) => byte !== right[i]);
      this.wrong = `differs at ${this.received + at}`;
    }
    this.received += bytes.length;
    if (this.received > this.#total) this.wrong ||= "too many bytes";
  }
  get done(): boolean {
    return this.received >= this.#total;
  }
}

/** Sends `total` keystream bytes in pieces of many sizes, obeying back-pressure, then ends. */
function send(socket: net.Socket, seed: number, direction: "up" | "down", total: number): void {
  const stream = new Keystream(seed, direction);
  let left = total;
  let turn = seed;
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      turn = (turn * 1_103_515_245 + 12_345) & 0x7fffffff;
      const piece = Math.min(left, turn % 3 === 0 ? 1 + (turn % 2_000) : 1 + (turn % 150_000));
      left -= piece;
      if (!socket.write(stream.next(piece))) {
        socket.once("drain", more);
        return;
      }
    }
    if (!socket.destroyed) socket.end();
  };
  more();
}

/** Reads slowly: after each read a pause of some milliseconds. */
function dawdle(socket: net.Socket, slowness: number): void {
  if (slowness === 0) return;
  socket.on("data", () => {
    socket.pause();
    setTimeout(() => socket.resume(), slowness);
  });
}

function serveOne(socket: net.Socket): void {
  let head: Buffer = Buffer.alloc(0);
  let take: ((bytes: Buffer) => void) | null = null;
  let slow = false;
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    if (take !== null) return take(bytes);
    head = Buffer.concat([head, bytes]);
    if (head.length < HEADER) return;
    const seed = head.readUInt32BE(1);
    const up = head.readUInt32BE(5);
    const down = head.readUInt32BE(9);
    const slowness = head[13] ?? 0;
    const expected = new Expected(seed, "up", up);
    if (head[0] === BULK) {
      send(socket, seed, "down", down);
      if (!slow) dawdle(socket, slowness);
      slow = true;
    } else socket.on("end", () => socket.end());
    const answers = new Keystream(seed, "down");
    take = (more) => {
      expected.take(more);
      if (expected.wrong !== "") socket.destroy();
      else if (head[0] === TALK) socket.write(answers.next(more.length));
    };
    if (head.length > HEADER) take(head.subarray(HEADER));
  });
}

interface Transfer {
  readonly mode: number;
  readonly seed: number;
  readonly up: number;
  readonly down: number;
  readonly slow: "no" | "client" | "server";
}

function plan(i: number, bulkBytes: number): Transfer {
  const size = Math.floor(bulkBytes * (0.5 + (i % 7) / 7)) + i;
  const base = { seed: i * 7_919 + 1 };
  switch (i % 5) {
    case 0:
      return { ...base, mode: BULK, up: 0, down: size, slow: "no" };
    case 1:
      return { ...base, mode: BULK, up: size, down: 10, slow: i % 2 === 0 ? "no" : "server" };
    case 2:
      return { ...base, mode: BULK, up: 30, down: size, slow: "client" };
    case 3:
      return { ...base, mode: BULK, up: size >> 1, down: size >> 1, slow: i % 2 === 0 ? "client" : "no" };
    default:
      return { ...base, mode: TALK, up: 60_000, down: 60_000, slow: "no" };
  }
}

function run(i: number, { ports, caPem, bulkBytes }: Plan): Promise<string> {
  const transfer = plan(i, bulkBytes);
  const where = ports[i % ports.length];
  if (where === undefined) return Promise.resolve("no port");
  const socket = where.secure
    ? tls.connect({ port: where.port, host: "127.0.0.1", servername: SERVER_NAME, ca: caPem, ...HALF_OPEN })
    : net.connect({ port: where.port, host: "127.0.0.1", ...HALF_OPEN });
  const expected = new Expected(transfer.seed, "down", transfer.down);
  const header = Buffer.alloc(HEADER);
  header[0] = transfer.mode;
  header.writeUInt32BE(transfer.seed, 1);
  header.writeUInt32BE(transfer.up, 5);
  header.writeUInt32BE(transfer.down, 9);
  header[13] = transfer.slow === "server" ? 2 : 0;
  socket.write(header);
  socket.on("data", (bytes: Buffer) => expected.take(bytes));
  if (transfer.slow === "client") dawdle(socket, 2);
  if (transfer.mode === BULK) send(socket, transfer.seed, "up", transfer.up);
  else talk(socket, transfer, expected);
  return new Promise((resolve) => {
    const name = `transfer ${i} ${JSON.stringify(transfer)} port ${i % ports.length}`;
    let fault = "";
    socket.on("error", (error) => {
      fault = error.message;
    });
    socket.setTimeout(IDLE_MS, () => socket.destroy(new Error("nothing came for too long")));
    socket.on("close", () => {
      const short = expected.done ? "" : `${expected.received} of ${transfer.down} bytes`;
      const what = [fault, expected.wrong, short].filter((text) => text !== "").join(", ");
      resolve(what === "" ? "" : `${name}: ${what}`);
    });
  });
}

/** Request and answer, small, one after the other, as agents do. */
function talk(socket: net.Socket, transfer: Transfer, expected: Expected): void {
  const stream = new Keystream(transfer.seed, "up");
  let sent = 0;
  const ask = (): void => {
    if (expected.received < sent) return;
    if (sent >= transfer.up) {
      socket.end();
      return;
    }
    const piece = Math.min(transfer.up - sent, 1 + ((sent * 31 + transfer.seed) % 1_500));
    sent += piece;
    socket.write(stream.next(piece));
  };
  socket.on("data", ask);
  ask();
}

async function runAll(plan: Plan): Promise<void> {
  const results = await Promise.all(Array.from({ length: plan.count }, (_, i) => run(i, plan)));
  tell({
    kind: "done",
    transfers: results.length,
    bytes: plan.bulkBytes,
    faults: results.filter((result) => result !== ""),
  });
}

function tell(message: FromPeer): void {
  process.send?.(message);
}

function main(): void {
  const authority = makeAuthority(systemClock);
  const context = createLeafSource(authority, systemClock).contextFor(SERVER_NAME);
  const plain = net.createServer(HALF_OPEN, serveOne);
  const secure = tls.createServer({ ...HALF_OPEN, SNICallback: (_name, then) => then(null, context) }, serveOne);
  secure.on("tlsClientError", () => {});
  plain.listen(0, "127.0.0.1", () => {
    secure.listen(0, "127.0.0.1", () => {
      tell({
        kind: "serving",
        plain: (plain.address() as net.AddressInfo).port,
        secure: (secure.address() as net.AddressInfo).port,
        caPem: authority.caPem,
      });
    });
  });
  process.on("message", (message: Plan) => void runAll(message));
  process.on("disconnect", () => process.exit());
}

if (process.send !== undefined && process.argv[1]?.endsWith("transfers-peer.ts")) main();
