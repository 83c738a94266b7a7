/**
 * The safe buffer scheme: bytes that were read are lent to a lane for one call, and passed on without a copy only where nobody
 * can overwrite them. Forwarding views of one shared read buffer is fast, and corrupts data as soon as a write is not done at once.
 *
 * - SHARED: one buffer of 64 KiB for all handles that are idle or carry little. The kernel fills it and the lane is called
 *   before anything else can be read, so it may be read from, but never written as a view: up to 8 KiB go out as a latin1
 *   string, more as a copy.
 * - PRIVATE: after a read of 32 KiB or more the handle gets 256 KiB of its own. A view of it may be written; when that write did
 *   not finish at once, the buffer belongs to the write, and the handle gets another one for its next read.
 * - OWNED: what TLS decrypted, and what was kept from an earlier read. Nobody writes into it again.
 *
 * Errs towards copying: a chunk that is not ours, or whose origin is unclear, is copied.
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { assertNever } from "#core/assert-never.ts";
import type { Chunk } from "../seam/leg.ts";

const SHARED_BYTES = 65_536;
const PRIVATE_BYTES = 262_144;
/** A read this large shows a bulk transfer. */
const BULK_READ = 32_768;
/** Below this a view costs more than a string, and would pin its whole buffer. */
const STRING_MAX = 8_192;
/** Handles that may hold a private buffer at a time (16 MiB in all); the others copy. Bounds what many idle bulk connections hold. */
const PRIVATE_HANDLES = 64;

const SHARED: Buffer = Buffer.allocUnsafeSlow(SHARED_BYTES);
const NOTHING: Buffer = Buffer.alloc(0);

/** Buffer's own method behind `toString("latin1")`, without its argument checks: this is called for every request. */
interface Latin1Buffer extends Buffer {
  latin1Slice(from: number, to: number): string;
}

let privateHandles = 0;

/** How many handles hold a private buffer now. */
export function privateBuffers(): number {
  return privateHandles;
}

/** One per leg: what its handle reads into, and the chunk that it lends. Valid as a Chunk during one call of `data` only. */
export class Lent implements Chunk {
  length = 0;
  #bytes: Buffer = NOTHING;
  /** What the next read goes into; null: it was given to a write. */
  #into: Buffer | null = SHARED;
  #private = false;

  /** The buffer for the next read. */
  into(): Buffer {
    if (this.#into === null) this.#into = Buffer.allocUnsafeSlow(PRIVATE_BYTES);
    return this.#into;
  }

  /** Lends the first `length` bytes of what `into` gave. */
  lendRead(buffer: Buffer, length: number): void {
    this.#bytes = buffer;
    this.length = length;
  }

  /** Lends bytes that nobody writes into again. */
  lendOwned(bytes: Buffer): void {
    this.#bytes = bytes;
    this.length = bytes.length;
  }

  /** Ends the loan; after a read it also chooses what the next one goes into. */
  takeBack(): void {
    const read = this.length;
    const wasRead = this.#bytes === SHARED || this.#bytes === this.#into;
    this.#bytes = NOTHING;
    this.length = 0;
    if (!wasRead) return;
    if (this.#private) {
      if (read < STRING_MAX) this.release();
    } else if (read >= BULK_READ && privateHandles < PRIVATE_HANDLES) {
      privateHandles++;
      this.#private = true;
      this.#into = null;
    }
  }

  /** Back to the shared buffer: the handle carries little, or is gone. */
  release(): void {
    if (this.#private) privateHandles--;
    this.#private = false;
    this.#into = SHARED;
  }

  /** Whether a view may outlive the call: of a private buffer only once it is given away, and then it pins all of it. */
  get lasting(): "never" | "given-away" | "owned" {
    if (this.#bytes === SHARED) return "never";
    return this.#bytes === this.#into ? "given-away" : "owned";
  }

  /** The buffer belongs to a write from now on; the next read goes into another one. */
  giveAway(): void {
    if (this.#bytes === this.#into) this.#into = null;
  }

  at(i: number): number {
    return i < this.length ? (this.#bytes[i] ?? -1) : -1;
  }

  latin1(from: number, to: number): string {
    return (this.#bytes as Latin1Buffer).latin1Slice(from, this.#clip(from, to));
  }

  view(from: number, to: number): Buffer {
    return this.#bytes.subarray(from, this.#clip(from, to));
  }

  slice(from: number, to: number): Buffer {
    const end = this.#clip(from, to);
    const copy = Buffer.allocUnsafeSlow(end - from);
    this.#bytes.copy(copy, 0, from, end);
    return copy;
  }

  indexOf(byte: number, from: number): number {
    // Not in what lies behind the loan: it is up to 256 KiB, and another connection's.
    return this.#bytes.subarray(0, this.length).indexOf(byte, from);
  }

  /** The buffer is longer than the loan: what lies behind belongs to another connection. */
  #clip(from: number, to: number): number {
    if (!(from >= 0 && from <= to && to <= this.length))
      throw new RangeError(`chunk: ${from}..${to} of ${this.length}`);
    return to;
  }
}

/** Writes a part of a chunk to a socket, copying only where it must. Returns what `write` does: false when the socket is full. */
export function forward(socket: Socket, chunk: Chunk, from: number, to: number): boolean {
  const length = to - from;
  if (length <= STRING_MAX) return socket.write(chunk.latin1(from, to), "latin1");
  // A write behind others waits for sure: a small view must not pin a whole buffer meanwhile.
  const pins = socket.writableLength > 0;
  if (!(chunk instanceof Lent) || mustCopy(chunk, length, pins)) return socket.write(chunk.slice(from, to));
  const room = socket.write(chunk.view(from, to));
  if (socket.writableLength > 0) chunk.giveAway();
  return room;
}

/** Keeps a part of a chunk beyond the call, for a write that has to wait. */
export function keep(chunk: Chunk, from: number, to: number): string | Uint8Array {
  const length = to - from;
  if (length <= STRING_MAX) return chunk.latin1(from, to);
  if (!(chunk instanceof Lent) || mustCopy(chunk, length, true)) return chunk.slice(from, to);
  chunk.giveAway();
  return chunk.view(from, to);
}

function mustCopy(chunk: Lent, length: number, pins: boolean): boolean {
  switch (chunk.lasting) {
    case "never":
      return true;
    case "given-away":
      return pins && length < BULK_READ;
    case "owned":
      return false;
    default:
      return assertNever(chunk.lasting);
  }
}
