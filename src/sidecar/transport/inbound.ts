/**
 * The agent's leg. Before a lane has it, it collects first bytes for the pipeline (peek), answers TLS, and notices that the
 * client left; from `listen` on it hands everything to the lane, what was collected first.
 *
 * Fails towards less: what is collected is bounded (then the socket is paused), and a client that sends nothing costs an alarm.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import { Accumulator } from "#core/accumulator.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Tls } from "../seam/leg.ts";
import type { Inbound, Taken } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";
import { type AgentTlsFault, type Answering, answer, type InBandFault } from "./handshake.ts";
import { LegStream } from "./leg-stream.ts";
import { Wire, type WireOptions } from "./wire.ts";

export interface InboundOptions extends WireOptions {
  readonly handshakeMs: number;
}

/** Reading stops when this much waits for the pipeline. Up to here a client's leaving is noticed. */
const HELD_HIGH_BYTES = 32_768;
/** One read more than that. */
const HELD_MAX_BYTES = HELD_HIGH_BYTES + 262_144;

interface Peek {
  readonly maxBytes: number;
  readonly enough: (head: Uint8Array) => boolean;
  readonly seen: (head: Uint8Array, why: "enough" | "full" | "ended" | "timeout" | "failed") => void;
  readonly alarm: Alarm;
}

export class InboundLeg implements Inbound {
  readonly #wire: Wire;
  readonly #options: InboundOptions;
  readonly #held = new Accumulator(HELD_MAX_BYTES);
  /** Before a lane: collects. */
  readonly #collector: LegEvents;
  #listener: LegEvents | null = null;
  #peek: Peek | null = null;
  #fault: LegFault | null = null;
  /** The lane asked for a pause before it got what was held. */
  #paused = false;
  #endHeld = false;
  #context: (() => SecureContext) | null = null;

  constructor(taken: Taken, options: InboundOptions) {
    this.#options = options;
    this.#collector = {
      opened() {},
      drained: () => this.#listener?.drained(),
      secured() {},
      data: (chunk) => {
        if (!this.#held.append(chunk.view(0, chunk.length))) return this.#wire.failSoon("reset");
        this.#look();
        if (this.#held.length >= HELD_HIGH_BYTES && this.#peek === null) this.#wire.pause();
      },
      ended: () => {
        this.#endHeld = true;
        this.#look();
      },
      failed: (fault) => {
        this.#fault = fault;
        this.#look();
        this.#listener?.failed(fault);
      },
    };
    this.#wire = Wire.accepted(taken, options, this.#collector);
  }

  get tls(): Tls | null {
    return this.#wire.tls;
  }
  get bytesIn(): number {
    return this.#wire.bytesIn;
  }
  get bytesOut(): number {
    return this.#wire.bytesOut;
  }

  peek(
    limits: { readonly maxBytes: number; readonly timeoutMs: number },
    enough: Peek["enough"],
    then: Peek["seen"],
  ): void {
    const alarm = this.#options.wheel.after(limits.timeoutMs, () => this.#peeked("timeout"));
    this.#peek = { maxBytes: Math.min(limits.maxBytes, HELD_HIGH_BYTES), enough, seen: then, alarm };
    this.#wire.resume();
    if (this.#held.length > 0 || this.#endHeld || this.#wire.over) process.nextTick(() => this.#look());
  }

  answerTls(context: SecureContext, alpn: readonly string[], then: (fault: AgentTlsFault | null) => void): void {
    const hello = this.#held.take();
    this.#wire.bytesIn -= hello.length;
    this.#shake({ context, alpn, inBand: false }, hello, (fault) =>
      then(fault === "plaintext-before-tls" ? "reset" : fault),
    );
  }

  prepareTls(context: () => SecureContext): void {
    this.#context = context;
  }

  startTls(alpn: readonly string[]): void {
    const context = this.#context === null || this.#wire.tls !== null ? null : this.#guard(this.#context);
    if (context === null) return this.#wire.failSoon("reset");
    if (this.#held.length > 0 || !this.#wire.drainedIn) return this.#wire.failSoon("plaintext-before-tls");
    this.#shake({ context, alpn, inBand: true }, null, (fault) => {
      const tls = this.#wire.tls;
      if (fault === null && tls !== null) this.#listener?.secured(tls);
    });
  }

  listen(events: LegEvents): void {
    this.#listener = events;
    if (this.#wire.over) {
      const fault = this.#fault;
      if (fault !== null) process.nextTick(() => events.failed(fault));
      return;
    }
    this.#wire.events = this.#collector;
    events.opened();
    this.#handOver(events);
  }

  write(bytes: Uint8Array | string): boolean {
    return this.#wire.write(bytes);
  }

  forward(permit: Permit, chunk: Chunk, from: number, to: number): boolean {
    permit.bytesDown += to - from;
    return this.#wire.forward(chunk, from, to);
  }

  pause(): void {
    this.#paused = true;
    this.#wire.pause();
  }

  resume(): void {
    this.#paused = false;
    const listener = this.#listener;
    if (listener === null) this.#wire.resume();
    else if (this.#wire.events !== listener) process.nextTick(() => this.#handOver(listener));
    else if (this.#endHeld) process.nextTick(() => this.#afterHeld(listener));
    else this.#wire.resume();
  }

  stream(): Duplex {
    const stream = new LegStream({
      write: (bytes) => this.#wire.write(bytes),
      end: () => this.end(),
      reset: () => this.reset(),
      pause: () => this.pause(),
      resume: () => this.resume(),
    });
    this.listen(stream.events);
    return stream;
  }

  end(): void {
    this.#wire.end();
  }

  reset(): void {
    this.#peek?.alarm.cancel();
    this.#peek = null;
    this.#wire.reset();
  }

  onGone(then: () => void): void {
    this.#wire.onGone(then);
  }

  /** Gives the lane what was held; from then on it hears the wire itself. Not while the lane is paused. */
  #handOver(listener: LegEvents): void {
    const wire = this.#wire;
    if (this.#paused || wire.over || this.#listener !== listener) return;
    wire.events = listener;
    if (this.#held.length > 0) wire.inject(bufferOver(this.#held.take()));
    this.#afterHeld(listener);
  }

  #afterHeld(listener: LegEvents): void {
    if (this.#paused || this.#wire.over || this.#wire.events !== listener) return;
    if (this.#endHeld) {
      this.#endHeld = false;
      listener.ended();
    }
    if (!this.#paused) this.#wire.resume();
  }

  #look(): void {
    const peek = this.#peek;
    if (peek === null) return;
    if (this.#wire.over) return this.#peeked("failed");
    const { length } = this.#held;
    if (length > 0 && this.#guard(() => peek.enough(this.#held.view())) === true) return this.#peeked("enough");
    if (length >= peek.maxBytes) return this.#peeked("full");
    if (this.#endHeld) this.#peeked("ended");
  }

  #peeked(why: "enough" | "full" | "ended" | "timeout" | "failed"): void {
    const peek = this.#peek;
    if (peek === null) return;
    this.#peek = null;
    peek.alarm.cancel();
    this.#guard(() => peek.seen(this.#held.view(), why));
  }

  #shake(
    how: Pick<Answering, "context" | "alpn" | "inBand">,
    first: Uint8Array<ArrayBuffer> | null,
    then: (fault: InBandFault | null) => void,
  ): void {
    const wire = this.#wire;
    if (wire.over) {
      process.nextTick(() => void this.#guard(() => then("reset")));
      return;
    }
    const { wheel, handshakeMs } = this.#options;
    const raw = wire.giveToTls(first === null ? null : bufferOver(first));
    answer(raw, { ...how, wheel, timeoutMs: handshakeMs }, (shaken) => {
      if (shaken.kind === "secured" && !wire.over) wire.secure(shaken.socket, shaken.tls);
      else if (shaken.kind === "fault") wire.fail(shaken.fault);
      const fault = shaken.kind === "fault" ? shaken.fault : wire.over ? "reset" : null;
      this.#guard(() => then(fault));
    });
  }

  /** The pipeline's own code over hostile bytes: a bug in it costs this connection, not the process. */
  #guard<T>(act: () => T): T | null {
    try {
      return act();
    } catch (error) {
      this.#options.bug(error);
      this.#wire.failSoon("reset");
      return null;
    }
  }
}

function bufferOver(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
