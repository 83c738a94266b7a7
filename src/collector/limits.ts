/**
 * What one sender may cost the others: one batch under way each, so many bytes a second over a while, and so many bytes of bodies in
 * memory for all together. Who is over a bound is told to come again; its sidecar keeps its lines, and in the end its pod waits, alone.
 */
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";

export interface SenderLimits {
  /** Bytes a second that one sender may send, on average. */
  readonly bytesPerSecond: number;
  /** As much may come at once: what a spool holds after an outage. */
  readonly burstBytes: number;
  /** Of all senders' bodies that are in memory together. */
  readonly bodyBytes: number;
}

export const SENDER_LIMITS: SenderLimits = {
  bytesPerSecond: 2 * 1024 * 1024,
  burstBytes: 128 * 1024 * 1024,
  bodyBytes: 96 * 1024 * 1024,
};

const MAX_SENDERS = 50_000;

interface Sender {
  busy: boolean;
  /** Bytes that it may still send, and as of when. */
  left: number;
  atMs: number;
}

/** Bytes of bodies that are in memory at the same time. */
export interface BodyPool {
  /** False: it would be too many; nothing is counted then. */
  hold(bytes: number): boolean;
  release(bytes: number): void;
}

export class Pool implements BodyPool {
  readonly #max: number;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  hold(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false;
    this.#held += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}

export class Limiter implements BodyPool {
  readonly #limits: SenderLimits;
  readonly #clock: Clock;
  readonly #senders = new Lru<string, Sender>(MAX_SENDERS);
  readonly #bodies: Pool;

  constructor(limits: SenderLimits, clock: Clock) {
    this.#limits = limits;
    this.#bodies = new Pool(limits.bodyBytes);
    this.#clock = clock;
  }

  /** Null: not now. Else to be called when its batch is done. */
  begin(subject: string): (() => void) | null {
    const now = this.#clock.elapsedMs();
    const { bytesPerSecond, burstBytes } = this.#limits;
    let sender = this.#senders.get(subject);
    if (sender === undefined) {
      sender = { busy: false, left: burstBytes, atMs: now };
      this.#senders.set(subject, sender);
    }
    sender.left = Math.min(burstBytes, sender.left + ((now - sender.atMs) / 1_000) * bytesPerSecond);
    sender.atMs = now;
    if (sender.busy || sender.left <= 0) return null;
    sender.busy = true;
    const taken = sender;
    return () => {
      taken.busy = false;
    };
  }

  /** Counts what came; it may go into debt for one batch. */
  spend(subject: string, bytes: number): void {
    const sender = this.#senders.get(subject);
    if (sender !== undefined) sender.left -= bytes;
  }

  /** False: too much is in memory already. */
  hold(bytes: number): boolean {
    return this.#bodies.hold(bytes);
  }

  release(bytes: number): void {
    this.#bodies.release(bytes);
  }
}
