/** Bytes that a session kept (a message that came in pieces, what waits while a statement is held) in the shape of a read chunk. */
import type { Chunk } from "#sidecar/seam/leg.ts";

/** `bytes` belong to this chunk; nobody writes into them. */
export class KeptChunk implements Chunk {
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.#bytes.length;
  }

  at(i: number): number {
    return this.#bytes[i] ?? -1;
  }

  latin1(from: number, to: number): string {
    return this.#bytes.toString("latin1", from, to);
  }

  view(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, to);
  }

  slice(from: number, to: number): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(from, to));
  }

  indexOf(byte: number, from: number): number {
    return this.#bytes.indexOf(byte, from);
  }
}
