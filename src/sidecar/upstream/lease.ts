/**
 * What a lane holds of an upstream: a connection for as long as the lane has it, and a queue until there is one. A new one is
 * made for each dial, so a lane that writes after it has given the leg back cannot reach the next lane's connection.
 *
 * Fails closed: bytes beyond the queue's bound fail the leg; after `release`, `reset` or `failed` nothing is written any more.
 */
import type { Duplex } from "node:stream";
import type { Chunk, LegEvents, LegFault, Resumable, Tls, Upstream } from "../seam/leg.ts";
import type { Outbound } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";

/** Bytes queued while connecting, after which `write` says false; and the most that is taken at all. */
const QUEUE_SOFT = 262_144;
const QUEUE_HARD = 1_048_576;

export interface LeaseOwner {
  /** Whether the pool took the connection that the lease has. */
  keep(as: Resumable | null): boolean;
  /** The lane gave up while it was still connecting. */
  cancel(): void;
}

interface Queued {
  readonly permit: Permit<"connect" | "ask">;
  readonly bytes: Uint8Array | string;
}

export class Lease implements Upstream, LegEvents {
  readonly reused: boolean;
  readonly #events: LegEvents;
  readonly #owner: LeaseOwner;
  #outbound: Outbound | null = null;
  #queue: Queued[] | null = null;
  #queuedBytes = 0;
  #full = false;
  #paused = false;
  #ending = false;
  /** The other side has ended: nothing more can be asked on this connection. */
  #halfClosed = false;
  #over = false;

  /** `idle`: out of the pool, open already; null: `connected` or `failed` will be called. */
  constructor(events: LegEvents, owner: LeaseOwner, idle: Outbound | null) {
    this.#events = events;
    this.#owner = owner;
    this.reused = idle !== null;
    if (idle !== null) {
      this.#outbound = idle;
      idle.relisten(this);
    }
  }

  get tls(): Tls | null {
    return this.#outbound?.tls ?? null;
  }

  write(permit: Permit<"connect" | "ask">, bytes: Uint8Array | string): boolean {
    if (this.#over) return false;
    return this.#outbound === null ? this.#enqueue(permit, bytes) : this.#outbound.write(permit, bytes);
  }

  forward(permit: Permit<"connect" | "ask">, chunk: Chunk, from: number, to: number): boolean {
    if (this.#over) return false;
    if (this.#outbound === null) return this.#enqueue(permit, chunk.slice(from, to));
    return this.#outbound.forward(permit, chunk, from, to);
  }

  pause(): void {
    this.#paused = true;
    if (!this.#over) this.#outbound?.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#over) this.#outbound?.resume();
  }

  startTls(alpn: readonly string[]): void {
    this.#open().startTls(alpn);
  }

  stream(): Duplex {
    const outbound = this.#open();
    this.#over = true;
    return outbound.stream();
  }

  end(): void {
    this.#ending = true;
    if (!this.#over) this.#outbound?.end();
  }

  reset(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue = null;
    if (this.#outbound === null) this.#owner.cancel();
    else this.#outbound.reset();
  }

  release(reusable: boolean, as?: Resumable): void {
    const outbound = this.#outbound;
    if (outbound === null) return this.reset();
    if (this.#over) return;
    this.#over = true;
    if (this.#paused) outbound.resume();
    // After our own end what is still on its way must arrive (THREATS N7): a reset would throw it away.
    if (this.#ending) outbound.relisten(new Leaving(outbound));
    else if (!reusable || this.#halfClosed || !this.#owner.keep(as ?? null)) {
      outbound.relisten(new Leaving(outbound));
      outbound.release(false);
    }
  }

  /** Called by the dial: `outbound` is open and from now on this lease's. `early`: what the server said before it was. */
  connected(outbound: Outbound, early: Chunk | null): void {
    if (this.#over) return outbound.reset();
    this.#outbound = outbound;
    outbound.relisten(this);
    if (this.#paused) outbound.pause();
    const queue = this.#queue;
    this.#queue = null;
    let taken = true;
    if (queue !== null) for (const { permit, bytes } of queue) taken = outbound.write(permit, bytes);
    if (this.#ending) outbound.end();
    this.#events.opened();
    if (early !== null) this.data(early);
    // When the connection did not take it all, its own `drained` follows.
    if (this.#full && taken && !this.#over) this.#events.drained();
  }

  opened(): void {}
  data(chunk: Chunk): void {
    if (!this.#over) this.#events.data(chunk);
  }
  drained(): void {
    if (!this.#over) this.#events.drained();
  }
  secured(tls: Tls): void {
    if (!this.#over) this.#events.secured(tls);
  }
  ended(): void {
    this.#halfClosed = true;
    if (!this.#over) this.#events.ended();
  }
  failed(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue = null;
    this.#events.failed(fault);
  }

  #enqueue(permit: Permit<"connect" | "ask">, bytes: Uint8Array | string): boolean {
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > QUEUE_HARD) {
      // Whoever goes on after "full" is broken; its last event must still not come from inside its own call.
      this.reset();
      queueMicrotask(() => this.#events.failed("reset"));
      return false;
    }
    this.#queue ??= [];
    this.#queue.push({ permit, bytes });
    if (this.#queuedBytes > QUEUE_SOFT) this.#full = true;
    return !this.#full;
  }

  #open(): Outbound {
    if (this.#over || this.#outbound === null) throw new Error("the upstream leg is not open");
    return this.#outbound;
  }
}

/** Listens to a connection that nobody has any more: it closes by itself when the other side ends, too. Bytes are for nobody. */
class Leaving implements LegEvents {
  readonly #outbound: Outbound;
  constructor(outbound: Outbound) {
    this.#outbound = outbound;
  }
  data(): void {
    this.#outbound.reset();
  }
  opened(): void {}
  drained(): void {}
  secured(): void {}
  ended(): void {}
  failed(): void {}
}
