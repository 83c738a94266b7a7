/** Bytes of our own as a Chunk: what was read before its listener was there. Nothing here is lent, so a view may be kept. */
import type { Chunk } from "../seam/leg.ts";

export class OwnedChunk implements Chunk {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#bytes.length;
  }
  at(i: number): number {
    return this.#bytes[i] ?? 0;
  }
  latin1(from: number, to: number): string {
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length).toString("latin1", from, to);
  }
  view(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, to);
  }
  slice(from: number, to: number): Uint8Array {
    return this.#bytes.slice(from, to);
  }
  indexOf(byte: number, from: number): number {
    return this.#bytes.indexOf(byte, from);
  }
}
