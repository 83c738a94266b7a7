/** An agent's HTTP over a test's gateway: with Node's client where the answer matters, with raw bytes where the question does. */
import http from "node:http";
import type net from "node:net";
import type { Dialled, Gateway } from "./sidecar.ts";

export interface Asked extends Partial<Dialled> {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  readonly secure?: boolean;
  /** On its connection, instead of one of its own. */
  readonly on?: Kept;
}

export interface Answered {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export const HOST = "api.test";

/** A connection for one request after the other. */
export class Kept extends http.Agent {
  readonly socket: net.Socket;
  constructor(socket: net.Socket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.socket = socket;
  }
  override createConnection(): net.Socket {
    if (this.socket.destroyed) throw new Error("this connection has ended");
    return this.socket;
  }
}

/** One request. Rejects where the connection ends before a whole answer. */
export async function ask(gateway: Gateway, asked: Asked = {}): Promise<Answered> {
  const { host = HOST, secure = false, method = "GET", path = "/", headers = {}, body, on } = asked;
  const to = { host, port: asked.port ?? (secure ? 443 : 80), family: asked.family ?? 4 };
  const made = on !== undefined ? null : secure ? await gateway.secure(to) : await gateway.connect(to);
  return new Promise((resolve, reject) => {
    const request = http.request({
      ...(on === undefined ? { createConnection: () => made } : { agent: on }),
      method,
      path,
      headers: { host, ...headers },
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(pieces).toString(),
        });
      });
    });
    request.end(body);
  });
}

export interface Heard {
  readonly text: string;
  /** How the other side ended: FIN, or a reset (or TLS cut off). */
  readonly ended: "end" | "reset";
}

/** All that comes until the connection ends. */
export function heard(socket: net.Socket): Promise<Heard> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let ended = false;
    socket.on("data", (piece: Buffer) => pieces.push(piece));
    socket.on("end", () => {
      ended = true;
      socket.end();
    });
    socket.on("close", () => {
      resolve({ text: Buffer.concat(pieces).toString("latin1"), ended: ended ? "end" : "reset" });
    });
    socket.resume();
  });
}

/** Sends these bytes on a new connection and ends; what came back. */
export async function raw(gateway: Gateway, bytes: string | Buffer, to: Partial<Dialled> = {}): Promise<Heard> {
  const socket = await gateway.connect({ host: HOST, port: 80, ...to });
  const answer = heard(socket);
  socket.end(bytes);
  return answer;
}
