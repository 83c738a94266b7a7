/**
 * A Bind that is too long to be kept in memory: its two names stand at its beginning, so it can be judged there, and its parameters go
 * by as they come. They are not on record.
 */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { Batch } from "./batch.ts";
import type { WireFault } from "./codec/fault.ts";
import type { Talk } from "./talk.ts";

/** Both names. PostgreSQL compares 63 bytes of each. */
const MAX_NAMES = 8_192;
const HEADER = 5;

export class LongBind {
  readonly #talk: Talk;
  readonly #batch: Batch;
  readonly #length: number;
  /** Until both names are there. */
  #head = "";
  #state: "names" | "passing" | "refused" = "names";

  /** `length`: of the whole message, its type byte included. */
  constructor(talk: Talk, batch: Batch, length: number) {
    this.#talk = talk;
    this.#batch = batch;
    this.#length = length;
  }

  piece(chunk: Chunk, from: number, to: number): WireFault | null {
    switch (this.#state) {
      case "refused":
        return null;
      case "passing":
        this.#pass(chunk, from, to);
        return null;
      default:
        return this.#names(chunk, from, to);
    }
  }

  #names(chunk: Chunk, from: number, to: number): WireFault | null {
    const before = this.#head.length;
    const room = Math.min(to, from + HEADER + MAX_NAMES - before);
    this.#head += chunk.latin1(from, room);
    const portalEnd = this.#head.indexOf("\0", HEADER);
    const end = portalEnd < 0 ? -1 : this.#head.indexOf("\0", portalEnd + 1);
    if (end < 0) return this.#head.length >= HEADER + MAX_NAMES ? "text" : null;
    const names = { portal: this.#head.slice(HEADER, portalEnd), statement: this.#head.slice(portalEnd + 1, end) };
    const header = this.#batch.bindLong(names, this.#length);
    if (header === null) {
      this.#state = "refused";
      return null;
    }
    this.#state = "passing";
    this.#talk.write(this.#talk.ports.connect, header);
    const at = from + end + 1 - before;
    if (at < to) this.#pass(chunk, at, to);
    return null;
  }

  #pass(chunk: Chunk, from: number, to: number): void {
    const { upstream, ports, intake } = this.#talk;
    if (!upstream.forward(ports.connect, chunk, from, to)) intake.hinder(true);
  }
}
