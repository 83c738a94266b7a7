/**
 * Makes a session upstream as good as new, after its agent has left it: `DISCARD ALL`, and back into the pool when the server has said that
 * it is done.
 *
 * Fails towards closing: an error, an answer that is none to this question, a transaction that is open, a byte too many, or no answer in
 * time, and the session ends. Whoever takes it from the pool can find nothing in it of whoever had it.
 */
import type { Alarm } from "#core/wheel.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, Upstream } from "#sidecar/seam/leg.ts";
import { BACKEND, readCommandTag, readParameterStatus } from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import { queryText } from "./codec/frontend.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { type KnownSession, MOST_WAITING } from "./known-session.ts";
import type { LinkListener } from "./link.ts";
import { reported } from "./settings.ts";

/** DISCARD ALL takes no lock that others hold for long; dropping many temporary tables takes a while. */
export const DISCARD_MS = 5_000;
/** Notices and settings on the way. */
const MAX_BYTES = 65_536;
const DISCARD = "DISCARD ALL";
/** Type, length and one byte. */
const READY_BYTES = 6;

export class HandBack implements LinkListener, MessageTaker {
  readonly #upstream: Upstream;
  readonly #known: KnownSession;
  readonly #readOnly: boolean;
  readonly #reader: MessageReader;
  #discarded = false;
  #ready = false;
  #over = false;
  #bytes = 0;
  readonly #alarm: Alarm;

  /** The upstream's events go here from now on. It is idle, outside of a transaction, and all that was asked of it is answered. */
  constructor(ports: Ports, upstream: Upstream, known: KnownSession) {
    this.#upstream = upstream;
    this.#known = known;
    this.#readOnly = ports.peer.target.readOnly === true;
    this.#reader = new MessageReader(this, MAX_BYTES);
    this.#alarm = ports.after(DISCARD_MS, () => this.#close());
    upstream.resume();
    upstream.write(ports.connect, queryText(DISCARD));
  }

  data(chunk: Chunk): void {
    this.#bytes += chunk.length;
    if (this.#bytes > MAX_BYTES) return this.#close();
    for (let at = 0; at < chunk.length && !this.#over; ) {
      const next = this.#reader.read(chunk, at);
      // Behind its last word nothing may come.
      if (typeof next === "string" || (this.#ready && next < chunk.length)) return this.#close();
      if (this.#ready) this.#release();
      at = next;
    }
  }

  drained(): void {}

  ended(): void {
    this.#close();
  }

  failed(): void {
    this.#over = true;
    this.#alarm.cancel();
  }

  begins(type: number, length: number): "gather" | WireFault {
    if (length > MAX_BYTES) return "length";
    switch (type) {
      case BACKEND.parameterStatus:
      case BACKEND.noticeResponse:
      case BACKEND.notificationResponse:
        return "gather";
      case BACKEND.commandComplete:
        return this.#discarded ? "type" : "gather";
      case BACKEND.readyForQuery:
        return this.#discarded && length === READY_BYTES ? "gather" : "type";
      default:
        return "type";
    }
  }

  piece(): WireFault {
    return "length";
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    switch (type) {
      case BACKEND.parameterStatus: {
        const read = readParameterStatus(chunk.latin1(from + 5, to));
        if (read === null || reported(read.name, read.value, this.#readOnly) !== null) return "text";
        this.#known.statuses.set(read.name, chunk.latin1(from, to));
        return null;
      }
      case BACKEND.commandComplete:
        this.#discarded = readCommandTag(chunk.latin1(from + 5, to)) === DISCARD;
        return this.#discarded ? null : "text";
      case BACKEND.readyForQuery:
        if (chunk.latin1(from + 5, to) !== "I") return "text";
        this.#ready = true;
        return null;
      default:
        return null;
    }
  }

  #release(): void {
    this.#over = true;
    this.#alarm.cancel();
    this.#upstream.release(true, { alike: this.#known.alike, known: this.#known, most: MOST_WAITING });
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm.cancel();
    this.#upstream.reset();
  }
}
