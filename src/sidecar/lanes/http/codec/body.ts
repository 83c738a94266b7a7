/** Reads a message's body, whichever way it ends, and hands on what may be passed on. */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { HttpLimits } from "../limits.ts";
import { type BodySink, ChunkedReader } from "./chunked.ts";
import type { Fault } from "./fault.ts";
import type { Section } from "./fields.ts";

export interface BodyReader {
  readonly done: boolean;
  /** Bytes of content read so far. */
  readonly length: number;
  /** Position behind what belongs to the body. */
  read(chunk: Chunk, from: number, sink: BodySink): number | Fault;
}

export const NO_BODY: BodyReader = { done: true, length: 0, read: (_chunk, from) => from };

class LengthReader implements BodyReader {
  length = 0;
  readonly #total: number;
  constructor(total: number) {
    this.#total = total;
  }
  get done(): boolean {
    return this.length === this.#total;
  }
  read(chunk: Chunk, from: number, sink: BodySink): number {
    const take = Math.min(this.#total - this.length, chunk.length - from);
    this.length += take;
    if (take > 0) sink.raw(chunk, from, from + take);
    return from + take;
  }
}

/** Only an answer's: it ends when its connection does. */
class UntilCloseReader implements BodyReader {
  readonly done = false;
  length = 0;
  read(chunk: Chunk, from: number, sink: BodySink): number {
    this.length += chunk.length - from;
    sink.raw(chunk, from, chunk.length);
    return chunk.length;
  }
}

/** `length`: bytes of content, more than 0. */
export function lengthBody(length: number): BodyReader {
  return new LengthReader(length);
}

export function chunkedBody(limits: HttpLimits, section: Section): BodyReader {
  return new ChunkedReader(limits, section);
}

export function untilCloseBody(): BodyReader {
  return new UntilCloseReader();
}
