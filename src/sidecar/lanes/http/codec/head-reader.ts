/**
 * Finds a head in bytes that may come in any pieces: everything up to the first empty line, as latin1 text.
 *
 * Nearly always the head lies whole in one chunk: then it costs one string and one search. Else the bytes are kept (bounded)
 * and only what is new is searched. Garbage is told early: a bare LF, a first byte that cannot begin a head, a first line that
 * is too long are faults at once, not when the sender pleases to send an empty line.
 */
import { Accumulator } from "#core/accumulator.ts";
import type { Chunk } from "#sidecar/seam/leg.ts";
import { TOKEN } from "./characters.ts";
import type { Fault } from "./fault.ts";

export interface HeadLimits {
  readonly headBytes: number;
  readonly firstLineBytes: number;
}

/**
 * A head of ordinary size is looked for in this many bytes first, so that a body behind it is not made a string. What is kept of
 * a head from one message to the next keeps its text alive: only of heads up to this length.
 */
export const USUAL_HEAD_BYTES = 4_096;
const LF = 10;
const CR = 13;

/** What a head may begin with: of a request a method, of an answer `HTTP/1.`. */
export type Beginning = "method" | "HTTP/1.";

export class HeadReader {
  readonly #limits: HeadLimits;
  readonly #beginning: Beginning;
  #kept: Accumulator | null = null;
  /** Kept bytes that have been searched. */
  #searched = 0;
  #lineSeen = false;
  /** Bytes of an empty line in front of this head. */
  #emptyLine: 0 | 1 | 2 = 0;
  #text = "";
  /** Where in the last chunk the head began; -1 when it came in pieces. */
  from = -1;

  constructor(limits: HeadLimits, beginning: Beginning) {
    this.#limits = limits;
    this.#beginning = beginning;
  }

  /** Whether a head has begun and not ended. */
  get partial(): boolean {
    return this.#kept !== null;
  }

  /** The head that `read` found, with its empty line; given away once. */
  take(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }

  /** Forgets a head that has begun. */
  reset(): void {
    this.#kept = null;
    this.#emptyLine = 0;
  }

  /** Position behind the head, or -1: all of the chunk was taken and more is needed. */
  read(chunk: Chunk, from: number): number | Fault {
    if (this.#kept !== null) return this.#readOn(this.#kept, chunk, from);
    const start = this.#beginning === "method" ? this.#skipEmptyLine(chunk, from) : from;
    if (typeof start === "string") return start;
    if (start >= chunk.length) return -1;
    let length = Math.min(chunk.length - start, USUAL_HEAD_BYTES);
    let text = chunk.latin1(start, start + length);
    let end = text.indexOf("\r\n\r\n");
    if (end < 0 && chunk.length - start > length) {
      length = Math.min(chunk.length - start, this.#limits.headBytes);
      text = chunk.latin1(start, start + length);
      end = text.indexOf("\r\n\r\n");
    }
    if (end < 0) {
      const kept = new Accumulator(this.#limits.headBytes);
      this.#kept = kept;
      this.#searched = 0;
      this.#lineSeen = false;
      return this.#readOn(kept, chunk, start);
    }
    if (end + 4 > this.#limits.headBytes) return "head_too_long";
    this.#text = end + 4 === length ? text : text.slice(0, end + 4);
    this.from = start;
    this.#emptyLine = 0;
    return start + end + 4;
  }

  /** RFC 9112 section 2.2: one empty line in front of a request is ignored. It is not passed on. */
  #skipEmptyLine(chunk: Chunk, from: number): number | Fault {
    let at = from;
    if (this.#emptyLine === 0 && chunk.at(at) === CR) {
      this.#emptyLine = 1;
      at++;
    }
    if (this.#emptyLine === 1 && at < chunk.length) {
      if (chunk.at(at) !== LF) return "bare_cr";
      this.#emptyLine = 2;
      at++;
    }
    return at;
  }

  #readOn(kept: Accumulator, chunk: Chunk, from: number): number | Fault {
    const before = kept.length;
    const room = this.#limits.headBytes - before;
    const take = Math.min(room, chunk.length - from);
    kept.append(chunk.view(from, from + take));
    const bytes = kept.view();
    const fault = this.#early(bytes);
    if (fault !== null) return fault;
    let at = this.#searched;
    for (;;) {
      const lf = bytes.indexOf(LF, at);
      if (lf < 0) break;
      if (bytes[lf - 1] !== CR) return "bare_lf";
      this.#lineSeen = true;
      at = lf + 1;
      if (bytes[lf - 2] === LF) {
        this.#text = latin1(bytes, at);
        this.from = -1;
        this.#kept = null;
        this.#emptyLine = 0;
        return from + (at - before);
      }
    }
    this.#searched = bytes.length;
    if (!this.#lineSeen && bytes.length > this.#limits.firstLineBytes) return "target_too_long";
    return bytes.length >= this.#limits.headBytes ? "head_too_long" : -1;
  }

  /** Whether the first bytes can begin a head at all. */
  #early(bytes: Uint8Array): Fault | null {
    if (this.#searched > 32) return null;
    if (this.#beginning === "method") {
      for (let i = 0; i < bytes.length && i < 32; i++) {
        const c = bytes[i] ?? 0;
        if (c === 32 && i > 0) return null;
        if (TOKEN[c] !== 1) return "method";
      }
      return bytes.length > 32 ? "method" : null;
    }
    for (let i = 0; i < this.#beginning.length && i < bytes.length; i++)
      if (bytes[i] !== this.#beginning.charCodeAt(i)) return "status_line";
    return null;
  }
}

/** Bytes 0 to 255 as the characters U+0000 to U+00FF. (The Encoding Standard's "latin1" is windows-1252, which is not.) */
function latin1(bytes: Uint8Array, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, to).toString("latin1");
}
