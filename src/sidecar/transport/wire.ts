/**
 * One TCP connection, plain or with TLS on it: reads into lent buffers, writes with back-pressure, and tells its listener what
 * happens. Whose end of the gateway it is (the agent's, an upstream's) is the business of the two legs that own one each.
 *
 * Fails by ending the connection: after `failed` or `reset` nothing is delivered, and what is written is dropped.
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Alarm, Wheel } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Tls } from "../seam/leg.ts";
import type { Taken } from "../seam/stages.ts";
import { socketFault } from "./faults.ts";
import { forward, Lent } from "./lent.ts";
import { type Lingering, linger } from "./linger.ts";
import { acceptedSocket, dialingSocket, kernelQueue, type Reader } from "./raw-socket.ts";

export interface WireOptions {
  readonly wheel: Wheel;
  /** After our half-close: reset when nothing moved in either direction for this long. */
  readonly lingerMs: number;
  /** A listener threw: its connection ends, and this is told. */
  readonly bug: (error: unknown) => void;
}

/** What a TLS engine has made of the raw socket. */
export interface SecuredSocket {
  readonly socket: TLSSocket;
  readonly tls: Tls;
  /** Names what breaks later on. */
  readonly fault: (error: unknown) => LegFault;
}

/** A writer that goes on after `false` is a bug of ours; this much it may queue before the connection ends. */
const QUEUE_MAX_BYTES = 16_777_216;

/** Connections that were let go of with bytes still to be sent, and how long such a peer may take none of them. */
const LEAVING_MAX = 256;
const LEAVE_MS = 10_000;
let leaving = 0;

/** Starts paused. */
export class Wire implements Lingering {
  /** Whom events go to. */
  events: LegEvents;
  tls: Tls | null = null;
  /** Payload bytes: what was read, and what was handed to the socket; under TLS the plaintext. */
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
  /** What is read from and written to: `raw`, or TLS on it. */
  #socket: Socket;
  /** TLS has the raw socket, and has not finished its handshake: reading is its business, ours only the wish. */
  #shaking = false;
  readonly #lent = new Lent();
  #lingering: Alarm | null = null;
  #gone: (() => void)[] | null = [];

  /** An accepted connection. */
  static accepted(taken: Taken, options: WireOptions, events: LegEvents): Wire {
    return new Wire((reader) => acceptedSocket(taken, reader), options, events);
  }

  /** A connection yet to be made with `raw.connect`. `plain`: false where TLS is put on it at once. */
  static dialing(plain: boolean, options: WireOptions, events: LegEvents): Wire {
    const wire = new Wire((reader) => ({ socket: dialingSocket(plain ? reader : null), lends: true }), options, events);
    wire.#shaking = !plain;
    return wire;
  }

  private constructor(
    make: (reader: Reader) => { readonly socket: Socket; readonly lends: boolean },
    options: WireOptions,
    events: LegEvents,
  ) {
    this.events = events;
    this.options = options;
    const lent = this.#lent;
    const made = make({
      lent,
      read: (length, buffer) => {
        this.bytesIn += length;
        lent.lendRead(buffer, length);
        this.#deliver(lent);
        return true;
      },
    });
    this.raw = made.socket;
    this.#socket = made.socket;
    this.raw.on("close", () => this.#closed());
    this.raw.on("error", (error) => this.fail(socketFault(error)));
    this.#listen(this.raw);
    if (!made.lends) this.#readData();
  }

  /** The raw socket, for a TLS engine to take over; `first` was read already and goes in front. We read no more of it. */
  giveToTls(first: Buffer | null): Socket {
    this.#shaking = true;
    this.raw.pause();
    this.raw.removeAllListeners("data");
    if (first !== null && first.length > 0) this.raw.unshift(first);
    return this.raw;
  }

  /** TLS is established: payload goes through its socket from now on. */
  secure({ socket, tls, fault }: SecuredSocket): void {
    this.#socket = socket;
    this.#shaking = false;
    this.tls = tls;
    this.#lent.release();
    socket.pause();
    this.#listen(socket);
    this.#readData();
    // A server-side TLSSocket tells of later faults by this event only, a client-side one by `error`.
    socket.on("_tlsError", (error) => this.fail(fault(error)));
    socket.on("error", (error) => this.fail(fault(error)));
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
  writeAll(parts: readonly (Uint8Array | string)[]): void {
    this.#socket.cork();
    for (const part of parts) this.write(part);
    this.#socket.uncork();
  }

  pause(): void {
    if (this.paused || this.over) return;
    this.paused = true;
    if (!this.#shaking) this.#socket.pause();
  }

  resume(): void {
    if (!this.paused || this.over) return;
    this.paused = false;
    if (!this.#shaking) this.#socket.resume();
  }

  /** Delivers bytes that were read, and counted, before. */
  inject(bytes: Buffer): void {
    const held = new Lent();
    held.lendOwned(bytes);
    this.#deliver(held);
  }

  end(): void {
    if (this.over || this.endedOut) return;
    this.endedOut = true;
    this.#socket.end();
    this.#lingering = linger(this.options.wheel, this.options.lingerMs, this);
  }

  /** RST at once, and no event. */
  reset(): void {
    if (this.over) return;
    this.over = true;
    this.#destroy();
  }

  /**
   * Lets go of it: what was written still goes out, then it is closed by FIN. Nobody may write any more, or waits for its events.
   * A peer that does not take the rest is reset after a while; where too many do not, at once.
   */
  leave(): void {
    if (this.over) return;
    if (this.#socket.writableLength === 0) {
      this.over = true;
      this.raw.destroy();
      return;
    }
    if (leaving >= LEAVING_MAX || this.endedOut) return this.reset();
    leaving++;
    this.onGone(() => leaving--);
    this.endedOut = true;
    // Not from inside the TLS engine that says so.
    this.#socket.once("finish", () => setImmediate(() => this.raw.destroy()));
    this.#socket.end();
    this.#lingering = linger(this.options.wheel, LEAVE_MS, this);
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

  moved(): number {
    return this.bytesIn - this.#socket.writableLength - kernelQueue(this.raw);
  }

  expired(): void {
    this.fail("timeout");
  }

  #deliver(chunk: Lent): void {
    try {
      this.events.data(chunk);
    } catch (error) {
      this.options.bug(error);
      this.failSoon("reset");
    }
    chunk.takeBack();
  }

  #filled(): false {
    this.full = true;
    if (this.#socket.writableLength > QUEUE_MAX_BYTES) this.failSoon("reset");
    return false;
  }

  #readData(): void {
    this.#socket.pause();
    this.#socket.on("data", (bytes: Buffer) => {
      if (this.over) return;
      this.bytesIn += bytes.length;
      this.#lent.lendOwned(bytes);
      this.#deliver(this.#lent);
    });
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
    const regular = this.over || (this.endedIn && this.endedOut);
    this.over = true;
    this.#lent.release();
    this.#lingering?.cancel();
    const gone = this.#gone ?? [];
    this.#gone = null;
    try {
      if (!regular) this.events.failed("reset");
    } finally {
      for (const then of gone) then();
    }
  }
}
