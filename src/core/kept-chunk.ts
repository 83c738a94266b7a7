/**
 * Bytes that somebody keeps in the shape of a read chunk (sidecar/seam/leg.ts): what waits while an operation is held, a message that came in
 * pieces, what was read before its listener was there. Nothing here is lent, so a view may be kept.
 */

/** `bytes` belong to this chunk; nobody writes into them. */
export class KeptChunk {
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
