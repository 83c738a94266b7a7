/**
 * Cuts one direction of a connection into messages: Byte1 type, Int32 length (counting itself), body. Knows no message's meaning.
 *
 * Resumable at every byte without reading one twice, and bounded: the taker says by type and length whether a message that is not
 * all there is gathered, or handed on in pieces. A fault ends it; nothing is skipped to find a next message.
 */
import { Accumulator } from "#core/accumulator.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { WireFault } from "./fault.ts";

export interface MessageTaker {
  /** A message begins. `length`: of the whole of it, with its type byte. Called once a message, before its bytes are given. */
  begins(type: number, length: number): "gather" | "pieces" | WireFault;
  /** All of it: bytes `from` to `to` of the chunk. */
  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null;
  /** A part of one that is not gathered; `left`: bytes of it that are still to come. The first piece begins with the type byte. */
  piece(type: number, chunk: Chunk, from: number, to: number, left: number): WireFault | null;
}

const HEADER = 5;

export class MessageReader {
  readonly #taker: MessageTaker;
  readonly #kept: Accumulator;
  #header = "";
  #type = 0;
  /** Bytes of a message that began which are still to come; 0: between messages, but for `#header`. */
  #left = 0;
  #gathering = false;

  /** `bound`: the most that is gathered; `begins` must not ask for more. */
  constructor(taker: MessageTaker, bound: number) {
    this.#taker = taker;
    this.#kept = new Accumulator(bound);
  }

  /** A message has begun and is not all there. */
  get midway(): boolean {
    return this.#left > 0 || this.#header !== "";
  }

  /** In the middle of a message whose beginning was handed on already. */
  get inPieces(): boolean {
    return this.#left > 0 && !this.#gathering;
  }

  /** Takes one message, or what is there of it; position behind what was taken. `from` < `chunk.length`. */
  read(chunk: Chunk, from: number): number | WireFault {
    if (this.#left > 0) return this.#goOn(chunk, from);
    const there = chunk.length - from;
    if (this.#header === "" && there >= HEADER) {
      const length = lengthAt(chunk, from + 1);
      if (length < HEADER) return "length";
      const type = chunk.at(from);
      const how = this.#taker.begins(type, length);
      if (there >= length) {
        if (how !== "gather" && how !== "pieces") return how;
        return this.#taker.whole(type, chunk, from, from + length) ?? from + length;
      }
      return this.#begin(type, length, how, chunk, from);
    }
    const take = Math.min(HEADER - this.#header.length, there);
    this.#header += chunk.latin1(from, from + take);
    if (this.#header.length < HEADER) return from + take;
    const kept = new KeptChunk(Buffer.from(this.#header, "latin1"));
    this.#header = "";
    const length = lengthAt(kept, 1);
    if (length < HEADER) return "length";
    const type = kept.at(0);
    const how = this.#taker.begins(type, length);
    if (length === HEADER) {
      if (how !== "gather" && how !== "pieces") return how;
      return this.#taker.whole(type, kept, 0, HEADER) ?? from + take;
    }
    const begun = this.#begin(type, length, how, kept, 0);
    return typeof begun === "string" ? begun : from + take;
  }

  /** The first bytes of a message that is not all there. */
  #begin(
    type: number,
    length: number,
    how: "gather" | "pieces" | WireFault,
    chunk: Chunk,
    from: number,
  ): number | WireFault {
    if (how !== "gather" && how !== "pieces") return how;
    this.#type = type;
    this.#left = length;
    this.#gathering = how === "gather";
    return this.#goOn(chunk, from);
  }

  #goOn(chunk: Chunk, from: number): number | WireFault {
    const to = Math.min(chunk.length, from + this.#left);
    this.#left -= to - from;
    if (!this.#gathering) return this.#taker.piece(this.#type, chunk, from, to, this.#left) ?? to;
    if (!this.#kept.append(chunk.view(from, to))) return "length";
    if (this.#left > 0) return to;
    this.#gathering = false;
    const bytes = this.#kept.take();
    return this.#taker.whole(this.#type, new KeptChunk(bytes), 0, bytes.length) ?? to;
  }
}

/** Length of the whole message whose Int32 stands at `at`; 0 where it is negative or beyond what may be. */
function lengthAt(chunk: Chunk, at: number): number {
  const length =
    chunk.at(at) * 0x100_0000 + ((chunk.at(at + 1) << 16) | (chunk.at(at + 2) << 8) | chunk.at(at + 3)) + 1;
  // PostgreSQL's own largest message is 1 GiB (MaxAllocSize).
  return length <= 0x4000_0000 ? length : 0;
}
