/**
 * The agent's leg. Before a lane has it, it collects first bytes for the pipeline (first-bytes.ts) and answers TLS; from `listen`
 * on it hands everything to the lane, what was collected first.
 */
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import type { Chunk, LegEvents, Tls } from "../seam/leg.ts";
import type { Inbound, Taken } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";
import { FirstBytes } from "./first-bytes.ts";
import { type Answering, answer, type InBandFault } from "./handshake.ts";
import { LegStream } from "./leg-stream.ts";
import { Wire, type WireOptions } from "./wire.ts";

export interface InboundOptions extends WireOptions {
  readonly handshakeMs: number;
}

export class InboundLeg implements Inbound {
  readonly #options: InboundOptions;
  readonly #first: FirstBytes;
  readonly #wire: Wire;
  #listener: LegEvents | null = null;
  /** The lane asked for a pause; it may not have got what was held yet. */
  #paused = false;
  #context: (() => SecureContext) | null = null;

  constructor(taken: Taken, options: InboundOptions) {
    this.#options = options;
    this.#first = new FirstBytes(() => this.#wire, options.wheel, options.bug);
    this.#wire = Wire.accepted(taken, options, this.#first);
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

  peek(...look: Parameters<Inbound["peek"]>): void {
    this.#first.peek(...look);
    this.#wire.resume();
  }

  answerTls(context: SecureContext, alpn: readonly string[], then: Parameters<Inbound["answerTls"]>[2]): void {
    const hello = this.#first.take();
    this.#wire.bytesIn -= hello.length;
    this.#shake({ context, alpn, inBand: false }, hello, (fault) =>
      then(fault === "plaintext-before-tls" ? "reset" : fault),
    );
  }

  prepareTls(context: () => SecureContext): void {
    this.#context = context;
  }

  startTls(alpn: readonly string[]): void {
    const context = this.#context === null || this.#wire.tls !== null ? null : this.#first.guard(this.#context);
    if (context === null) return this.#wire.failSoon("reset");
    if (this.#first.length > 0 || !this.#wire.drainedIn) return this.#wire.failSoon("plaintext-before-tls");
    this.#shake({ context, alpn, inBand: true }, null, (fault) => {
      const tls = this.#wire.tls;
      if (fault === null && tls !== null) this.#listener?.secured(tls);
    });
  }

  listen(events: LegEvents): void {
    this.#listener = events;
    if (this.#wire.over) {
      const { fault } = this.#first;
      if (fault !== null) process.nextTick(() => events.failed(fault));
      return;
    }
    this.#first.heir = events;
    this.#wire.events = this.#first;
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
    else if (this.#first.endHeld) process.nextTick(() => this.#goOn(listener));
    else this.#wire.resume();
  }

  stream(): Duplex {
    const stream = new LegStream(this, (bytes) => this.#wire.write(bytes));
    this.listen(stream.events);
    return stream;
  }

  end(): void {
    this.#wire.end();
  }

  reset(): void {
    this.#first.forget();
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
    if (this.#first.length > 0) wire.inject(this.#first.take());
    this.#goOn(listener);
  }

  #goOn(listener: LegEvents): void {
    if (this.#paused || this.#wire.over || this.#wire.events !== listener) return;
    if (this.#first.endHeld) {
      this.#first.endHeld = false;
      listener.ended();
    }
    if (!this.#paused) this.#wire.resume();
  }

  /** Every way out is one call of `then`, after the wire has failed or is secured. */
  #shake(
    how: Pick<Answering, "context" | "alpn" | "inBand">,
    first: Buffer | null,
    then: (fault: InBandFault | null) => void,
  ): void {
    const wire = this.#wire;
    const fail = (fault: InBandFault): void => {
      wire.fail(fault);
      this.#first.guard(() => then(fault));
    };
    if (wire.over) {
      process.nextTick(() => fail("reset"));
      return;
    }
    const { wheel, handshakeMs, bug } = this.#options;
    try {
      answer(wire.giveToTls(first), { ...how, wheel, timeoutMs: handshakeMs }, (shaken) => {
        if (shaken.kind === "fault") return fail(shaken.fault);
        if (wire.over) return fail("reset");
        wire.secure(shaken.secured);
        this.#first.guard(() => then(null));
      });
    } catch (error) {
      // A protocol name that ALPN cannot carry, for example.
      bug(error);
      process.nextTick(() => fail("reset"));
    }
  }
}
