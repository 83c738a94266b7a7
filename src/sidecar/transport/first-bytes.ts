/**
 * What an agent's connection says before a lane has it: collected, so that the pipeline can look at it as often as it needs to
 * (peek), and kept for the lane. Reading goes on while the pipeline thinks, so that a client's leaving is noticed.
 *
 * Fails towards less: what is kept is bounded (then reading stops), and a look that is never satisfied ends by its time limit.
 */
import { Buffer } from "node:buffer";
import { Accumulator } from "#core/accumulator.ts";
import type { Alarm, Wheel } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault } from "../seam/leg.ts";
import type { Inbound } from "../seam/stages.ts";

/** Reading stops when this much waits; a look for more bytes sees them as "full". */
const HIGH_BYTES = 32_768;
/** With the read that passed it. */
const MAX_BYTES = HIGH_BYTES + 262_144;

type PeekLimits = Parameters<Inbound["peek"]>[0];
type Enough = Parameters<Inbound["peek"]>[1];
type Seen = Parameters<Inbound["peek"]>[2];

interface Look {
  readonly maxBytes: number;
  readonly enough: Enough;
  readonly seen: Seen;
  readonly alarm: Alarm;
}

/** The connection that the bytes come from. */
export interface Source {
  readonly over: boolean;
  pause(): void;
  failSoon(fault: LegFault): void;
}

export class FirstBytes implements LegEvents {
  /** Why the connection is gone; null while it is not, and where we reset it ourselves. */
  fault: LegFault | null = null;
  /** The client has ended, and no lane has heard of it. */
  endHeld = false;
  readonly #source: () => Source;
  readonly #wheel: Wheel;
  readonly #bug: (error: unknown) => void;
  readonly #held = new Accumulator(MAX_BYTES);
  #look: Look | null = null;
  /** The lane that will get these bytes, and has asked for a pause before it did. */
  heir: LegEvents | null = null;

  constructor(source: () => Source, wheel: Wheel, bug: (error: unknown) => void) {
    this.#source = source;
    this.#wheel = wheel;
    this.#bug = bug;
  }

  get length(): number {
    return this.#held.length;
  }

  peek(limits: PeekLimits, enough: Enough, seen: Seen): void {
    const alarm = this.#wheel.after(limits.timeoutMs, () => this.#seen("timeout"));
    this.#look = { maxBytes: Math.min(limits.maxBytes, HIGH_BYTES), enough, seen, alarm };
    if (this.length > 0 || this.endHeld || this.#source().over) process.nextTick(() => this.#check());
  }

  /** Gives all of it away. */
  take(): Buffer {
    const bytes = this.#held.take();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Nobody looks any more. */
  forget(): void {
    this.#look?.alarm.cancel();
    this.#look = null;
  }

  /** The pipeline's own code over hostile bytes: a bug in it costs this connection, not the process. */
  guard<T>(act: () => T): T | null {
    try {
      return act();
    } catch (error) {
      this.#bug(error);
      this.#source().failSoon("reset");
      return null;
    }
  }

  opened(): void {}
  secured(): void {}
  drained(): void {
    this.heir?.drained();
  }
  data(chunk: Chunk): void {
    if (!this.#held.append(chunk.view(0, chunk.length))) {
      this.#source().failSoon("reset");
      return;
    }
    this.#check();
    if (this.length >= HIGH_BYTES && this.#look === null) this.#source().pause();
  }
  ended(): void {
    this.endHeld = true;
    this.#check();
  }
  failed(fault: LegFault): void {
    this.fault = fault;
    this.#check();
    this.heir?.failed(fault);
  }

  #check(): void {
    const look = this.#look;
    if (look === null) return;
    if (this.#source().over) return this.#seen("failed");
    if (this.length > 0 && this.guard(() => look.enough(this.#held.view())) === true) return this.#seen("enough");
    if (this.length >= look.maxBytes) return this.#seen("full");
    if (this.endHeld) this.#seen("ended");
  }

  #seen(why: Parameters<Seen>[1]): void {
    const look = this.#look;
    if (look === null) return;
    this.forget();
    this.guard(() => look.seen(this.#held.view(), why));
  }
}
