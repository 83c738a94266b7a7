/**
 * An answer's body on its way through the guard: its content is looked through as one stream, however it was framed, and framed anew.
 * The length that was announced stays true, because what is covered keeps its length.
 */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { BodySink } from "../codec/chunked.ts";
import type { FieldBlock } from "../codec/field-block.ts";
import type { AnswerGuard } from "./answer-guard.ts";

export class GuardedBody implements BodySink {
  readonly #guard: AnswerGuard;
  readonly #chunked: boolean;
  readonly #tell: (bytes: Uint8Array | string) => void;
  #trailers: FieldBlock | null = null;

  /** `tell` gets bytes that are its own. */
  constructor(guard: AnswerGuard, chunked: boolean, tell: (bytes: Uint8Array | string) => void) {
    this.#guard = guard;
    this.#chunked = chunked;
    this.#tell = tell;
  }

  content(chunk: Chunk, from: number, to: number): void {
    const { stream } = this.#guard;
    this.#put(stream === null ? Buffer.from(chunk.slice(from, to)) : stream.push(chunk.view(from, to)));
  }

  raw(chunk: Chunk, from: number, to: number): void {
    this.content(chunk, from, to);
  }

  text(): void {}

  end(trailers: FieldBlock | null): void {
    this.#trailers = trailers;
  }

  /** The body was read to its end. */
  finish(): void {
    this.#put(this.#guard.stream?.end() ?? EMPTY);
    if (!this.#chunked) return;
    const trailers = this.#trailers === null ? "" : this.#guard.trailers(this.#trailers.passedOn(true));
    this.#tell(`0\r\n${trailers}\r\n`);
  }

  #put(bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (!this.#chunked) return this.#tell(bytes);
    this.#tell(`${bytes.length.toString(16)}\r\n`);
    this.#tell(bytes);
    this.#tell("\r\n");
  }
}

const EMPTY = Buffer.alloc(0);
