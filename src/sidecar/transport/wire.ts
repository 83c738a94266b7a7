/**
 * One TCP connection, plain or with TLS on it: reads into lent buffers, writes with back-pressure, and tells its listener what
 * happens. Whose end of the gateway it is (the agent's, an upstream's) is the business of the two legs that own one each.
 *
 * Fails by ending the connection: after `failed` or `reset` nothing is delivered and what is written is dropped.
 */
import type { Buffer } from "node:buffer";
import { Socket, type SocketConstructorOpts } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Wheel } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Tls } from "../seam/leg.ts";
import type { Taken } from "../seam/stages.ts";
import { agentTlsFault, socketFault } from "./faults.ts";
import { forward, Lent } from "./lent.ts";

export interface WireOptions {
  readonly wheel: Wheel;
  /** After our half-close: reset when nothing moved in either direction for this long. */
  readonly lingerMs: number;
  /** A listener threw: its connection ends, and this is told. */
  readonly bug: (error: unknown) => void;
}

type Read = (n: number, buffer: Buffer) => true;

/** A writer that goes on after `false` is a bug of ours; this much it may queue before the connection ends. */
const QUEUE_MAX_BYTES = 16_777_216;

/** Starts paused. */
export class Wire {
  /** Whom events go to. */
  events: LegEvents;
  tls: Tls | null = null;
  /** Payload bytes: what was read and what was handed to the socket; under TLS the plaintext. */
  bytesIn = 0;
  bytesOut = 0;
  paused = true;
  /** The last write said "full", and `drained` is still to come. */
  full = false;
  endedIn = false;
  endedOut = false;
  /** Failed, reset, or closed. */
  over = false;
  readonly raw: Socket;
  readonly options: WireOptions;
  #socket: Socket;
  /** TLS has the raw socket, and has not finished its handshake: reading is its business, ours only the wish. */
  #shaking = false;
  readonly #lent = new Lent();
  #gone: (() => void)[] | null = [];

  private constructor(raw: (lent: Lent, read: Read) => Socket, options: WireOptions, events: LegEvents) {
    this.events = events;
    this.options = options;
    this.raw = raw(this.#lent, (n, buffer) => {
      this.#lent.lendRead(buffer, n);
      this.#deliver(n);
      return true;
    });
    this.#socket = this.raw;
    this.raw.on("close", () => this.#closed());
    this.raw.on("error", (error) => this.fail(socketFault(error)));
    this.#listen(this.raw);
  }

  /** An accepted connection. From a handle it reads into lent buffers; from a socket (the fallback) into Node's own. */
  static accepted(taken: Taken, options: WireOptions, events: LegEvents): Wire {
    if (taken.kind === "handle") {
      const wire = new Wire((lent, read) => new Socket(lending(lent, read, { handle: taken.handle })), options, events);
      wire.raw.setNoDelay(true);
      return wire;
    }
    const wire = new Wire(() => taken.socket, options, events);
    wire.raw.setNoDelay(true);
    wire.#readData();
    return wire;
  }

  /** A connection yet to be made with `raw.connect`. `lends`: false where TLS is put on it at once. */
  static dialing(lends: boolean, options: WireOptions, events: LegEvents): Wire {
    const bare = { allowHalfOpen: true, noDelay: true };
    const make = (lent: Lent, read: Read): Socket => new Socket(lends ? lending(lent, read, bare) : bare);
    const wire = new Wire(make, options, events);
    wire.#shaking = !lends;
    return wire;
  }

  /** The raw socket for a TLS engine to take over; `first` was read already and goes in front. Reading stops here for good. */
  giveToTls(first: Buffer | null): Socket {
    this.#shaking = true;
    this.raw.pause();
    this.raw.removeAllListeners("data");
    if (first !== null && first.length > 0) this.raw.unshift(first);
    return this.raw;
  }

  /** TLS is established: payload goes through `socket` from now on. */
  secure(socket: TLSSocket, tls: Tls): void {
    this.#socket = socket;
    this.#shaking = false;
    this.tls = tls;
    this.#lent.release();
    socket.pause();
    this.#listen(socket);
    this.#readData();
    if (!this.paused) socket.resume();
  }

  /** Bytes in the socket's own queue. */
  get queued(): number {
    return this.#socket.writableLength;
  }

  /** Nothing was read by Node that the listener has not seen. */
  get drainedIn(): boolean {
    return this.#socket.readableLength === 0;
  }

  write(bytes: Uint8Array | string): boolean {
    if (this.over || this.endedOut) return true;
    this.bytesOut += bytes.length;
    const room = typeof bytes === "string" ? this.#socket.write(bytes, "latin1") : this.#socket.write(bytes);
    return room || this.#filled();
  }

  forward(chunk: Chunk, from: number, to: number): boolean {
    if (this.over || this.endedOut || to <= from) return true;
    this.bytesOut += to - from;
    return forward(this.#socket, chunk, from, to) || this.#filled();
  }

  /** Several writes at once leave as one. */
  writeAll(parts: readonly (Uint8Array | string)[]): boolean {
    this.#socket.cork();
    let room = true;
    for (const part of parts) room = this.write(part);
    this.#socket.uncork();
    return room;
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    if (!this.#shaking) this.#socket.pause();
  }

  resume(): void {
    if (!this.paused || this.over) return;
    this.paused = false;
    if (!this.#shaking) this.#socket.resume();
  }

  /** Delivers bytes that were read before, and counted then. */
  inject(bytes: Buffer): void {
    this.#lent.lendOwned(bytes);
    this.#deliver(0);
  }

  end(): void {
    if (this.over || this.endedOut) return;
    this.endedOut = true;
    this.#socket.end();
    if (!this.endedIn) this.#linger(-1);
  }

  /** RST at once, and no event. */
  reset(): void {
    if (this.over) return;
    this.over = true;
    this.#destroy();
  }

  /** Ends the connection and says so, now. Only from a callback of the socket or a timer. */
  fail(fault: LegFault): void {
    if (this.over) return;
    this.over = true;
    this.#destroy();
    this.events.failed(fault);
  }

  /** As `fail`, where our caller's caller may be the listener: it hears of it after it has returned. */
  failSoon(fault: LegFault): void {
    process.nextTick(() => this.fail(fault));
  }

  /** Called once, after everything of the connection is gone. */
  onGone(then: () => void): void {
    if (this.#gone === null) process.nextTick(then);
    else this.#gone.push(then);
  }

  #deliver(read: number): void {
    this.bytesIn += read;
    try {
      this.events.data(this.#lent);
    } catch (error) {
      this.options.bug(error);
      this.failSoon("reset");
    }
    this.#lent.takeBack();
  }

  #filled(): false {
    this.full = true;
    if (this.#socket.writableLength > QUEUE_MAX_BYTES) this.failSoon("reset");
    return false;
  }

  #readData(): void {
    this.#socket.on("data", (bytes: Buffer) => {
      if (this.over) return;
      this.#lent.lendOwned(bytes);
      this.#deliver(bytes.length);
    });
    if (this.paused) this.#socket.pause();
  }

  #listen(socket: Socket): void {
    socket.on("drain", () => {
      if (socket !== this.#socket || this.over) return;
      this.full = false;
      this.events.drained();
    });
    socket.on("end", () => {
      if (socket !== this.#socket || this.over) return;
      this.endedIn = true;
      this.events.ended();
    });
    if (socket === this.raw) return;
    // A server-side TLSSocket tells of later faults by this event only; a client-side one by `error`.
    const broken = (error: unknown): void => this.fail(agentTlsFault(error));
    socket.on("_tlsError", broken);
    socket.on("error", broken);
  }

  /**
   * Never the TLSSocket itself: we may be called from inside OpenSSL (a handshake that ends, data), and Node would free it there
   * (a segmentation fault: seen on 26.10). It goes by itself when the raw socket has closed.
   */
  #destroy(): void {
    if (this.raw.connecting) this.raw.destroy();
    else this.raw.resetAndDestroy();
  }

  #closed(): void {
    const regular = this.endedIn && this.endedOut;
    this.#lent.release();
    if (!this.over) {
      this.over = true;
      if (!regular) this.events.failed("reset");
    }
    const gone = this.#gone;
    this.#gone = null;
    if (gone !== null) for (const then of gone) then();
  }

  /** `before`: what had moved when the last alarm was set. */
  #linger(before: number): void {
    this.options.wheel.after(this.options.lingerMs, () => {
      if (this.over) return;
      const moved = this.bytesIn + this.raw.bytesWritten;
      if (moved === before) this.fail("timeout");
      else this.#linger(moved);
    });
  }
}

/** Options that @types/node does not know: a handle of Node's own, and no reading before we ask for it. */
function lending(lent: Lent, read: Read, more: object): SocketConstructorOpts {
  const options: SocketConstructorOpts & { readonly manualStart: true } = {
    allowHalfOpen: true,
    manualStart: true,
    onread: { buffer: () => lent.into(), callback: read },
    ...more,
  };
  return options;
}
