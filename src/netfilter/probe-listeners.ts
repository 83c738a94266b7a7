/** What the probe's trials listen and send with. Every wait ends after 3 s: a property that needs longer does not hold. */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { connect, createServer, type Server, type Socket } from "node:net";

export const LIMIT_MS = 3_000;

export type Family = 4 | 6;
export const LOOPBACK: Record<Family, string> = { 4: "127.0.0.1", 6: "::1" };

/** This family has no way out here at all: no route, or no address. */
export class NoRoute extends Error {
  constructor(family: Family) {
    super(`no IPv${family} route`);
    this.name = "NoRoute";
  }
}

export const NO_ROUTE = new Set(["ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH"]);

/** Sockets of one trial; all of them are closed at its end. */
export class ProbeSockets {
  readonly #family: Family;
  readonly #open: { close(): void }[] = [];

  constructor(family: Family) {
    this.#family = family;
  }

  /** Listens on a port of loopback (0: any). */
  async listen(port: number): Promise<TcpListener> {
    const server = createServer();
    const accepted = new Queue<Socket>();
    server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      this.#open.push({ close: () => socket.destroy() });
      accepted.push(socket);
    });
    await this.#settled((done, failed) => {
      server.once("error", failed);
      server.listen({ port, host: LOOPBACK[this.#family], ipv6Only: this.#family === 6 }, done);
    });
    this.#open.push({ close: () => server.close() });
    return { port: portOf(server), next: () => accepted.next() };
  }

  /** A datagram socket on a port of loopback, or (null) on any port of any address. */
  async datagrams(port: number | null): Promise<Datagrams> {
    const socket = createSocket({ type: `udp${this.#family}`, ipv6Only: this.#family === 6 });
    const received = new Queue<Received>();
    this.#open.push({ close: () => socket.close() });
    socket.on("error", () => undefined);
    socket.on("message", (data, from) => received.push({ data, from }));
    await this.#settled((done, failed) => {
      socket.once("error", failed);
      if (port === null) socket.bind(done);
      else socket.bind(port, LOOPBACK[this.#family], done);
    });
    return { next: () => received.next(), send: (text, to, address) => this.#send(socket, text, to, address) };
  }

  /** Begins to connect. `port`: the source port, known at once; `connected`: what came of it. */
  connect(port: number, host: string): Connecting {
    const socket = connect({ port, host });
    this.#open.push({ close: () => socket.destroy() });
    const connected = this.#settled((done, failed) => {
      socket.once("connect", done);
      socket.once("error", (fault) => failed(this.#routed(fault)));
    });
    connected.catch(() => undefined);
    return { socket, connected };
  }

  close(): void {
    for (const each of this.#open) each.close();
  }

  /** Ends with the trial at the latest, so that no timer outlives it. */
  #settled(start: (done: () => void, failed: (fault: Error) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS);
      this.#open.push({ close: () => clearTimeout(timer) });
      const end = (then: () => void): void => {
        clearTimeout(timer);
        then();
      };
      start(
        () => end(resolve),
        (fault) => end(() => reject(fault)),
      );
    });
  }

  /** Null when it went; else the kernel's code (`EPERM`). */
  #send(socket: UdpSocket, text: string, port: number, address: string): Promise<string | null> {
    return new Promise((resolve, reject) => {
      socket.send(text, port, address, (fault) => {
        const code = fault === null ? null : ((fault as NodeJS.ErrnoException).code ?? fault.message);
        if (code !== null && NO_ROUTE.has(code)) reject(new NoRoute(this.#family));
        else resolve(code);
      });
    });
  }

  #routed(fault: Error): Error {
    return NO_ROUTE.has((fault as NodeJS.ErrnoException).code ?? "") ? new NoRoute(this.#family) : fault;
  }
}

export interface TcpListener {
  readonly port: number;
  next(): Promise<Socket>;
}

export interface Received {
  readonly data: Buffer;
  readonly from: RemoteInfo;
}

export interface Datagrams {
  next(): Promise<Received>;
  send(text: string, port: number, address: string): Promise<string | null>;
}

export interface Connecting {
  readonly socket: Socket;
  readonly connected: Promise<void>;
}

class Queue<T> {
  readonly #items: T[] = [];
  #waiting: ((item: T) => void) | null = null;

  push(item: T): void {
    if (this.#waiting === null) this.#items.push(item);
    else {
      this.#waiting(item);
      this.#waiting = null;
    }
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`nothing arrived within ${LIMIT_MS} ms`)), LIMIT_MS);
      this.#waiting = (arrived) => {
        clearTimeout(timer);
        resolve(arrived);
      };
    });
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return address.port;
}
