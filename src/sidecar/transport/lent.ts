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

/** A buffer of one handle, or of the writes that it was given to; back among the free ones when all of them are done. */
class Private {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(PRIVATE_BYTES);
  /** Writes that are not done, or whose callback is still to come. */
  #writes = 0;
  /** The handle reads into it no more. */
  #left = false;

  static take(): Private {
    const free = FREE.pop() ?? new Private();
    free.#left = false;
    return free;
  }

  writing(): void {
    this.#writes++;
  }
  /** The callback of a write; a failed one is done, too. */
  readonly done = (): void => {
    this.#writes--;
    this.#recycle();
  };
  leave(): void {
    this.#left = true;
    this.#recycle();
  }

  #recycle(): void {
    if (this.#left && this.#writes === 0 && FREE.length < FREE_MAX) FREE.push(this);
  }
}

/** Without them a bulk transfer makes garbage as fast as it reads, which is collected late: 75 MB more, seen. */
const FREE: Private[] = [];
const FREE_MAX = 16;

/** One per leg: what its handle reads into, and the chunk that it lends. Valid as a Chunk during one call of `data` only. */
export class Lent implements Chunk {
  length = 0;
  #bytes: Buffer = NOTHING;
  #bulk = false;
  /** The handle's own buffer; null also where it has been given to a write, and the next read gets another. */
  #private: Private | null = null;
  /** What the present chunk lies in, given away or not. */
  #lies: Private | null = null;

  /** The buffer for the next read. */
  into(): Buffer {
    if (!this.#bulk) return SHARED;
    this.#private ??= Private.take();
    return this.#private.bytes;
  }

  /** Lends the first `length` bytes of what `into` gave. */
  lendRead(buffer: Buffer, length: number): void {
    this.#bytes = buffer;
    this.length = length;
    this.#lies = this.#private?.bytes === buffer ? this.#private : null;
  }

  /** Lends bytes that nobody writes into again. */
  lendOwned(bytes: Buffer): void {
    this.#bytes = bytes;
    this.length = bytes.length;
    this.#lies = null;
  }

  /** Ends the loan; after a read it also chooses what the next one goes into. */
  takeBack(): void {
    const read = this.length;
    const shared = this.#bytes === SHARED;
    const own = this.#lies !== null;
    this.#bytes = NOTHING;
    this.#lies = null;
    this.length = 0;
    if (own && read < STRING_MAX) this.release();
    if (!shared || this.#bulk || read < BULK_READ || privateHandles >= PRIVATE_HANDLES) return;
    privateHandles++;
    this.#bulk = true;
  }

  /** Back to the shared buffer: the handle carries little, or is gone. */
  release(): void {
    if (this.#bulk) privateHandles--;
    this.#bulk = false;
    this.#private?.leave();
    this.#private = null;
  }

  /** The private buffer that the chunk lies in: writes of it are counted, so that it is not used again too early. */
  get own(): Private | null {
    return this.#lies;
  }

  /** Whether the next read may overwrite it however fast it is written. */
  get shared(): boolean {
    return this.#bytes === SHARED;
  }

  /** The buffer belongs to its writes from now on; the next read goes into another one. */
  giveAway(own: Private): void {
    if (this.#private !== own) return;
    this.#private = null;
    own.leave();
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
  if (!(chunk instanceof Lent) || chunk.shared) return socket.write(chunk.slice(from, to));
  const { own } = chunk;
  if (own === null) return socket.write(chunk.view(from, to));
  // A write behind others waits for sure: a small view must not pin a whole buffer meanwhile.
  if (length < BULK_READ && socket.writableLength > 0) return socket.write(chunk.slice(from, to));
  own.writing();
  const room = socket.write(chunk.view(from, to), own.done);
  if (socket.writableLength > 0) chunk.giveAway(own);
  return room;
}

/** Keeps a part of a chunk beyond the call, for a write that has to wait. */
export function keep(chunk: Chunk, from: number, to: number): string | Uint8Array {
  if (to - from <= STRING_MAX) return chunk.latin1(from, to);
  return chunk instanceof Lent && !chunk.shared && chunk.own === null ? chunk.view(from, to) : chunk.slice(from, to);
}
