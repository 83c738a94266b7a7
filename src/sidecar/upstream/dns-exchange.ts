/**
 * One DNS question to one name server, and its answer or a fault: UDP from a socket of its own (random port and id, connected,
 * so that the kernel drops what others send), then TCP where the answer is cut short.
 *
 * Whatever does not answer exactly this question is as if it had not come; waiting ends with the time limit.
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { type DnsResponse, readResponse, writeQuery } from "#core/dns-wire.ts";

export interface NameServer {
  /** Numeric. */
  readonly address: string;
  readonly port: number;
}

export interface DnsQuestionAsked {
  readonly name: string;
  readonly type: number;
  readonly server: NameServer;
  /** For UDP, and again for TCP. */
  readonly timeoutMs: number;
  /** A number of 16 random bits. */
  readonly id: number;
}

export type DnsFault = "timeout" | "unreachable" | "malformed" | "unaskable";
export type DnsOutcome =
  | { readonly kind: "answer"; readonly message: Uint8Array; readonly response: DnsResponse }
  | { readonly kind: "fault"; readonly fault: DnsFault };

/** Calls back exactly once, never before it has returned. */
export function askNameServer(asked: DnsQuestionAsked, then: (outcome: DnsOutcome) => void): void {
  const query = writeQuery(asked.id, asked.name, asked.type);
  if (query === null) {
    queueMicrotask(() => then(fault("unaskable")));
    return;
  }
  overUdp(query, asked, (outcome) => {
    if (outcome.kind === "answer" && outcome.response.truncated) overTcp(query, asked, then);
    else then(outcome);
  });
}

function overUdp(query: Uint8Array, asked: DnsQuestionAsked, then: (outcome: DnsOutcome) => void): void {
  const socket = createSocket(asked.server.address.includes(":") ? "udp6" : "udp4");
  let over = false;
  const finish = (outcome: DnsOutcome): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    socket.close();
    then(outcome);
  };
  const timer = setTimeout(() => finish(fault("timeout")), asked.timeoutMs);
  socket.on("error", () => finish(fault("unreachable")));
  socket.on("message", (message) => {
    const response = answering(message, asked);
    if (response !== null) finish({ kind: "answer", message, response });
  });
  socket.connect(asked.server.port, asked.server.address, () => {
    if (!over) socket.send(query, (error) => error !== null && finish(fault("unreachable")));
  });
}

function overTcp(query: Uint8Array, asked: DnsQuestionAsked, then: (outcome: DnsOutcome) => void): void {
  const socket = connect({ host: asked.server.address, port: asked.server.port });
  const parts: Buffer[] = [];
  let got = 0;
  let over = false;
  const finish = (outcome: DnsOutcome): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    socket.destroy();
    then(outcome);
  };
  const timer = setTimeout(() => finish(fault("timeout")), asked.timeoutMs);
  socket.on("error", () => finish(fault("unreachable")));
  socket.on("close", () => finish(fault("malformed")));
  socket.on("connect", () => {
    socket.write(Uint8Array.of(query.length >> 8, query.length & 0xff));
    socket.write(query);
  });
  socket.on("data", (chunk: Buffer) => {
    parts.push(chunk);
    got += chunk.length;
    if (got < 2) return;
    const all = parts.length === 1 ? chunk : Buffer.concat(parts);
    parts.splice(0, parts.length, all);
    const length = all.readUInt16BE(0);
    if (got < length + 2) return;
    const message = all.subarray(2, length + 2);
    const response = answering(message, asked);
    finish(response === null || response.truncated ? fault("malformed") : { kind: "answer", message, response });
  });
}

function answering(message: Uint8Array, asked: DnsQuestionAsked): DnsResponse | null {
  const response = readResponse(message);
  if (response === null || response.id !== asked.id) return null;
  const { question } = response;
  return question.name === asked.name && question.type === asked.type && question.class === 1 ? response : null;
}

function fault(fault: DnsFault): DnsOutcome {
  return { kind: "fault", fault };
}
