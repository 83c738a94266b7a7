/**
 * Batches to a collector by HTTP/1.1 over a Unix socket or TLS. Our own few lines instead of node:http, which costs a sidecar
 * ten and more megabytes of private memory (measured); one connection, one request at a time.
 *
 * Errs towards failing: an answer that is not exactly what the collector says ends the connection and the batch is sent again.
 */
import { connect as connectPlain, isIP, type Socket } from "node:net";
import type { Batch, RecordSink } from "#contract/record.ts";

export type SinkAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tls"; readonly host: string; readonly port: number; readonly ca: string | null };

export interface HttpSinkOptions {
  readonly address: SinkAddress;
  /** A bearer token for each request; null: the socket's permissions say who we are. Never kept. */
  readonly token: (() => string | Promise<string>) | null;
  readonly timeoutMs?: number;
  /** Addresses of the collector's host; TLS only. Absent: the system's resolver. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

export class SinkFault extends Error {
  readonly code: "unreachable" | "timeout" | "malformed" | "refused";
  readonly status: number | null;
  constructor(code: SinkFault["code"], message: string, status: number | null = null) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** The collector answers in a few dozen bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;

interface Answer {
  readonly status: number;
  readonly body: string;
}

export function createHttpSink(options: HttpSinkOptions): RecordSink {
  let socket: Socket | null = null;
  let closed = false;
  const timeoutMs = options.timeoutMs ?? 10_000;
  /** Of several addresses the next one is tried after a failure. */
  let tries = 0;

  async function connected(): Promise<Socket> {
    if (socket !== null && !socket.destroyed && socket.writable) return socket;
    const made = await dialNext();
    made.on("error", () => {}); // told through "close"
    if (closed) made.destroy();
    socket = made;
    return made;
  }

  async function dialNext(): Promise<Socket> {
    const { address, lookup } = options;
    if (address.kind === "unix" || lookup === undefined) return await dial(address, timeoutMs, null);
    const found = await lookup(address.host).catch((cause: unknown) => {
      throw new SinkFault("unreachable", cause instanceof Error ? cause.message : String(cause));
    });
    const at = found[tries++ % Math.max(1, found.length)] ?? null;
    const socket = await dial(address, timeoutMs, at);
    tries--; // this one is good
    return socket;
  }

  return {
    async send(batch) {
      if (closed) throw new SinkFault("unreachable", "the sink is closed");
      const token = options.token === null ? null : await options.token();
      const on = await connected();
      on.ref();
      try {
        const answer = await exchange(on, requestHead(batch, options.address, token), batch.lines, timeoutMs);
        return acknowledged(answer);
      } catch (fault) {
        on.destroy();
        if (socket === on) socket = null;
        throw fault;
      } finally {
        on.unref(); // an idle connection keeps no process alive
      }
    },
    async close() {
      closed = true;
      socket?.destroy();
      socket = null;
      await Promise.resolve();
    },
  };
}

function requestHead(batch: Batch, address: SinkAddress, token: string | null): string {
  if (token !== null && !/^[\x21-\x7e]+$/.test(token)) throw new SinkFault("refused", "the token is no token");
  const host = address.kind === "tls" ? `${address.host}:${address.port}` : "collector";
  const query = `first=${batch.firstSeq}&last=${batch.lastSeq}${batch.gap ? "&gap=1" : ""}`;
  const bearer = token === null ? "" : `Authorization: Bearer ${token}\r\n`;
  return `POST /v1/records/${batch.boot}?${query} HTTP/1.1\r\nHost: ${host}\r\n${bearer}Content-Type: application/x-ndjson\r\nContent-Length: ${batch.lines.length}\r\n\r\n`;
}

/** `at`: the address to dial instead of asking for the host's. */
async function dial(address: SinkAddress, timeoutMs: number, at: string | null): Promise<Socket> {
  const socket = address.kind === "unix" ? connectPlain(address.path) : await dialTls(address, at);
  const ready = address.kind === "unix" ? "connect" : "secureConnect";
  return await new Promise<Socket>((resolve, reject) => {
    const limit = setTimeout(() => socket.destroy(new SinkFault("timeout", "no connection in time")), timeoutMs);
    const failed = (cause: Error): void => {
      clearTimeout(limit);
      reject(cause instanceof SinkFault ? cause : new SinkFault("unreachable", cause.message));
    };
    socket.once("error", failed);
    socket.once(ready, () => {
      clearTimeout(limit);
      socket.off("error", failed);
      resolve(socket);
    });
  });
}

async function dialTls(address: SinkAddress & { kind: "tls" }, at: string | null): Promise<Socket> {
  const { connect } = await import("node:tls");
  const trust = address.ca === null ? {} : { ca: address.ca };
  return connect({
    host: at ?? address.host,
    port: address.port,
    // SNI carries names only; the certificate is checked against the host in either case.
    ...(isIP(address.host) === 0 ? { servername: address.host } : {}),
    minVersion: "TLSv1.3",
    ALPNProtocols: ["http/1.1"],
    ...trust,
  });
}

function exchange(socket: Socket, head: string, body: Uint8Array, timeoutMs: number): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    let text = "";
    const done = (result: Answer | SinkFault): void => {
      clearTimeout(limit);
      socket.off("data", onData);
      socket.off("close", onClose);
      if (result instanceof SinkFault) reject(result);
      else resolve(result);
    };
    const onData = (bytes: Buffer): void => {
      text += bytes.toString("latin1");
      const answer =
        text.length > MAX_ANSWER_BYTES ? new SinkFault("malformed", "too long an answer") : readAnswer(text);
      if (answer !== null) done(answer);
    };
    const onClose = (): void => done(new SinkFault("unreachable", "the collector closed the connection"));
    const limit = setTimeout(() => done(new SinkFault("timeout", "no answer in time")), timeoutMs);
    socket.on("data", onData);
    socket.on("close", onClose);
    socket.write(head, "latin1");
    socket.write(body);
  });
}

/** RFC 9112, as far as our own collector speaks it: a status line, Content-Length, that many bytes. Null: more to come. */
function readAnswer(text: string): Answer | SinkFault | null {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  const length = /\r\ncontent-length: {0,8}(\d{1,6})\r\n/i.exec(text.slice(0, end + 2))?.[1];
  if (status === undefined || length === undefined) return new SinkFault("malformed", "not an answer of a collector");
  const body = text.slice(end + 4);
  if (body.length > Number(length)) return new SinkFault("malformed", "more than the announced answer");
  return body.length < Number(length) ? null : { status: Number(status), body };
}

function acknowledged(answer: Answer): number {
  const seq = /^\{"acknowledged":(\d{1,15})\}\s*$/.exec(answer.body)?.[1];
  if (answer.status === 200 && seq !== undefined) return Number(seq);
  throw new SinkFault(
    "refused",
    `the collector answered ${answer.status}: ${answer.body.slice(0, 200)}`,
    answer.status,
  );
}
