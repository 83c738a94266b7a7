/**
 * The upstream's leg: a connection to one numeric address, TLS on it where asked, and the queue in front of it. What is written
 * waits, bounded, until the connection is there and the records of this turn are written; after that it goes straight through.
 *
 * Fails closed: records that could not be written fail the leg (`audit`), and nothing that depended on them is sent.
 */
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import type { CommitGate } from "#contract/record.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Tls } from "../seam/leg.ts";
import type { ConnectTo, Outbound } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";
import type { Contexts } from "./contexts.ts";
import { type Resumable, verify } from "./handshake.ts";
import { LegStream } from "./leg-stream.ts";
import { keep } from "./lent.ts";
import { UpstreamQueue } from "./queue.ts";
import { Wire, type WireOptions } from "./wire.ts";

export interface OutboundOptions extends WireOptions {
  readonly contexts: Contexts;
  readonly handshakeMs: number;
}

/** From here on `write` says "full". */
const QUEUE_HIGH_BYTES = 65_536;
/** A writer that goes on all the same loses the connection. A read is 256 KiB at most, so an obedient one stays far below. */
const QUEUE_MAX_BYTES = 4_194_304;

type Scope = Permit<"connect" | "ask">;

export class OutboundLeg implements Outbound {
  reused = false;
  readonly #to: ConnectTo;
  readonly #options: OutboundOptions;
  readonly #gate: CommitGate;
  readonly #queue: UpstreamQueue;
  readonly #wire: Wire;
  #events: LegEvents;
  #ready = false;
  /** A write was told "full" because of the queue. */
  #full = false;
  #ending = false;
  /** Given back: it goes when its last byte has gone. */
  #leaving = false;
  #starting = false;
  #alarm: Alarm | null = null;

  constructor(to: ConnectTo, gate: CommitGate, events: LegEvents, options: OutboundOptions) {
    this.#to = to;
    this.#gate = gate;
    this.#events = events;
    this.#options = options;
    this.#queue = new UpstreamQueue(gate, (ok) => this.#committed(ok));
    this.#wire = Wire.dialing(to.tls === null, options, events);
    this.#wire.onGone(() => this.#alarm?.cancel());
    // Never a name: Node would ask the pod author's resolver.
    if (isIP(to.address) === 0 || !(to.port > 0 && to.port < 65_536)) {
      this.#wire.failSoon("unresolved");
      return;
    }
    const raw = this.#wire.raw;
    raw.once("connect", () => this.#connected());
    this.#alarm = options.wheel.after(to.timeoutMs, () => this.#wire.fail("timeout"));
    raw.connect({ host: to.address, port: to.port });
    this.#wire.resume();
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
  get idleSafe(): boolean {
    const wire = this.#wire;
    return (
      this.#ready &&
      !wire.over &&
      !wire.endedIn &&
      !wire.endedOut &&
      this.#queue.length === 0 &&
      wire.queued === 0 &&
      wire.drainedIn
    );
  }

  write(permit: Scope, bytes: Uint8Array | string): boolean {
    permit.bytesUp += bytes.length;
    if (this.#straight()) return this.#wire.write(bytes);
    return this.#wait(bytes);
  }

  forward(permit: Scope, chunk: Chunk, from: number, to: number): boolean {
    permit.bytesUp += to - from;
    if (this.#straight()) return this.#wire.forward(chunk, from, to);
    return to > from ? this.#wait(keep(chunk, from, to)) : true;
  }

  pause(): void {
    this.#wire.pause();
  }

  resume(): void {
    this.#wire.resume();
  }

  relisten(events: LegEvents): void {
    this.#events = events;
    this.#wire.events = events;
  }

  startTls(alpn: readonly string[]): void {
    const { inBand } = this.#to;
    if (inBand === undefined || this.#wire.tls !== null || this.#starting || this.#queue.length > 0 || !this.#ready)
      return this.#wire.failSoon("reset");
    this.#starting = true;
    if (!this.#wire.drainedIn) return this.#wire.failSoon("plaintext-before-tls");
    this.#ready = false;
    this.#secure({ ...inBand, alpn }, this.#options.handshakeMs, (tls) => {
      this.#starting = false;
      this.#events.secured(tls);
    });
  }

  stream(): Duplex {
    const stream = new LegStream(this, (bytes) => (this.#straight() ? this.#wire.write(bytes) : this.#wait(bytes)));
    this.relisten(stream.events);
    return stream;
  }

  end(): void {
    if (this.#ready && this.#queue.length === 0) this.#wire.end();
    else this.#ending = true;
  }

  reset(): void {
    this.#queue.clear();
    this.#alarm?.cancel();
    this.#wire.reset();
  }

  onGone(then: () => void): void {
    this.#wire.onGone(then);
  }

  /** The pool of the room `upstream` wraps this; without one nothing is reused. What was written still arrives. */
  release(_reusable: boolean): void {
    this.#leaving = true;
    if (this.#ready && this.#queue.length === 0) this.#wire.leave();
    else if (!this.#ready) this.reset();
  }

  #straight(): boolean {
    return this.#ready && this.#queue.length === 0 && this.#gate.clean && !this.#ending && !this.#leaving;
  }

  #wait(bytes: Uint8Array | string): boolean {
    if (this.#wire.over || this.#ending || this.#leaving) return true;
    this.#queue.push(bytes);
    if (this.#queue.bytes > QUEUE_MAX_BYTES) this.#wire.failSoon("reset");
    if (this.#queue.bytes < QUEUE_HIGH_BYTES) return !this.#wire.full;
    this.#full = true;
    return false;
  }

  #connected(): void {
    const { tls, timeoutMs } = this.#to;
    if (tls === null) this.#opened();
    else this.#secure(tls, timeoutMs, () => this.#opened());
  }

  #opened(): void {
    this.#alarm?.cancel();
    this.#ready = true;
    this.#events.opened();
    this.#flush();
  }

  #secure(tls: NonNullable<ConnectTo["tls"]>, timeoutMs: number, then: (tls: Tls) => void): void {
    const { contexts, wheel, bug } = this.#options;
    const identity = tls.identity ?? null;
    const key = { serverName: tls.serverName, address: this.#to.address, port: this.#to.port, ca: tls.ca, identity };
    try {
      const how = {
        context: contexts.for(tls.ca, identity),
        serverName: tls.serverName,
        alpn: tls.alpn,
        resume: contexts.session(key),
        keep: (resumable: Resumable) => contexts.keep(key, resumable),
        wheel,
        timeoutMs,
      };
      verify(this.#wire.giveToTls(null), how, (shaken) => {
        if (this.#wire.over) return;
        if (shaken.kind === "fault") return this.#fail(shaken.fault);
        this.#wire.secure(shaken.secured);
        this.#ready = true;
        then(shaken.secured.tls);
        this.#flush();
      });
    } catch (error) {
      // A CA that is no certificate, a name that SNI cannot carry: nothing was verified.
      bug(error);
      this.#wire.failSoon("tls-bad-upstream");
    }
  }

  #fail(fault: LegFault): void {
    this.#queue.clear();
    this.#wire.fail(fault);
  }

  #committed(ok: boolean): void {
    if (ok) return this.#flush();
    this.#queue.clear();
    this.#wire.failSoon("audit");
  }

  #flush(): void {
    if (!this.#ready || this.#wire.over) return;
    const parts = this.#queue.take();
    if (parts !== null) {
      const only = parts.length === 1 ? parts[0] : joined(parts);
      if (only === undefined) this.#wire.writeAll(parts);
      else this.#wire.write(only);
    }
    if (this.#queue.length === 0 && this.#leaving) return this.#wire.leave();
    if (this.#queue.length === 0 && this.#ending) return this.#wire.end();
    if (!this.#full || this.#queue.bytes >= QUEUE_HIGH_BYTES) return;
    this.#full = false;
    // A full socket says so itself, later.
    if (!this.#wire.full) this.#events.drained();
  }
}

const JOINED_MAX = 16_384;

/** Head and body of a small request were written one by one: one string, one system call. */
function joined(parts: readonly (Uint8Array | string)[]): string | undefined {
  let length = 0;
  for (const part of parts) {
    if (typeof part !== "string") return undefined;
    length += part.length;
  }
  return length <= JOINED_MAX ? parts.join("") : undefined;
}
