/**
 * The spool: record lines on disk until the collector has them. Files `<boot>.<first seq>.<n>.ndjson` in one folder, appended
 * to, removed when acknowledged. A killed process leaves its files; the next boot ships them too.
 *
 * Errs towards refusing: at `maxBytes` it takes nothing more that could be refused beforehand (`full`), a reserve on top of that
 * lets outcomes of what was already permitted in, and beyond the reserve a write fails.
 */
import type { Clock } from "#core/clock.ts";
import type { Disk } from "./disk.ts";

export interface SpoolOptions {
  readonly directory: string;
  /** Unacknowledged bytes of all boots together at which `full` begins. */
  readonly maxBytes: number;
  /** A file is ended at this size, so that acknowledged space comes back. */
  readonly segmentBytes: number;
  readonly disk: Disk;
  readonly clock: Clock;
  /** Boots of other living processes in the same folder are not ours to ship. */
  readonly foreign?: (boot: string) => boolean;
}

export interface Segment {
  readonly path: string;
  readonly boot: string;
  readonly first: number;
  bytes: number;
}

const NAME = /^([a-z0-9]+)\.(\d{12})\.\d{6}\.ndjson$/;
/** Lines whose operation was already permitted may still be written when the spool is full. */
const RESERVE_BYTES = 1 << 20;
/** Marks of when lines were written, one a second at most: for the age of the oldest unacknowledged one. */
const MAX_MARKS = 64;

export class SpoolFull extends Error {
  readonly code = "audit_full";
}

export class Spool {
  readonly #options: SpoolOptions;
  readonly #segments: Segment[] = []; // of all boots; those of one boot in order
  #boot = "";
  #fd = -1;
  #current: Segment | null = null;
  #files = 0;
  #used = 0;
  #written = 0;
  #acknowledged = 0;
  #marks: { readonly seq: number; readonly atMs: number }[] = [];
  /** Told after each write, and after each acknowledgement of this boot's lines. */
  onWritten: () => void = () => {};
  onAcknowledged: (seq: number) => void = () => {};

  constructor(options: SpoolOptions) {
    this.#options = options;
    const { disk, directory } = options;
    disk.makeDirectory(directory);
    for (const name of [...disk.list(directory)].sort()) {
      const match = NAME.exec(name);
      const boot = match?.[1];
      if (boot === undefined || options.foreign?.(boot) === true) continue;
      const path = `${directory}/${name}`;
      this.#add({ path, boot, first: Number(match?.[2]), bytes: disk.size(path) });
    }
  }

  /** From here on `append` writes this boot's lines. */
  begin(boot: string): void {
    if (this.#boot !== "") throw new Error("a spool serves one boot");
    this.#boot = boot;
  }

  get boot(): string {
    return this.#boot;
  }

  get usedBytes(): number {
    return this.#used;
  }

  get full(): boolean {
    return this.#used >= this.#options.maxBytes;
  }

  /** Highest seq of this boot on disk, and at the collector. */
  get written(): number {
    return this.#written;
  }
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** How long the oldest unacknowledged line has been waiting. */
  lagMs(): number {
    const oldest = this.#marks[0];
    return oldest === undefined ? 0 : this.#options.clock.elapsedMs() - oldest.atMs;
  }

  /** Boots that have lines here, the one being written last. */
  boots(): readonly string[] {
    const old = new Set(this.#segments.map((s) => s.boot));
    old.delete(this.#boot);
    return this.#boot === "" ? [...old] : [...old, this.#boot];
  }

  segments(boot: string): readonly Segment[] {
    return this.#segments.filter((s) => s.boot === boot);
  }

  /** Whether more may still be appended to this file. */
  isOpen(segment: Segment): boolean {
    return segment === this.#current;
  }

  /** How many bytes there were; none where somebody removed the file (this boot then goes on in another). */
  read(segment: Segment, into: Uint8Array, position: number): number {
    try {
      return this.#options.disk.read(segment.path, into, position);
    } catch (fault) {
      if (!(fault instanceof Error && "code" in fault && fault.code === "ENOENT")) throw fault;
      if (this.isOpen(segment)) this.#end();
      this.#remove(segment);
      return 0;
    }
  }

  /** Appends one commit; throws where the disk does, or SpoolFull. Nothing of it remains then. */
  append(bytes: Uint8Array, offset: number, length: number, firstSeq: number, lastSeq: number): void {
    if (this.#used + length > this.#options.maxBytes + RESERVE_BYTES) throw new SpoolFull("the spool is full");
    const { disk } = this.#options;
    const segment = this.#segmentFor(length, firstSeq);
    let done = 0;
    try {
      while (done < length) {
        const n = disk.write(this.#fd, bytes, offset + done, length - done);
        if (n === 0) throw new Error("the disk takes no more bytes");
        done += n;
      }
    } catch (fault) {
      this.#takeBack(segment);
      throw fault;
    }
    segment.bytes += length;
    this.#used += length;
    this.#written = lastSeq;
    this.#mark(firstSeq);
    this.onWritten();
  }

  /** The collector has stored everything of `boot` up to `seq`. */
  acknowledge(boot: string, seq: number, wholeBoot: boolean): void {
    const mine = this.segments(boot);
    for (const [i, segment] of mine.entries()) {
      const next = mine[i + 1];
      const gone = next === undefined ? wholeBoot && boot !== this.#boot : next.first <= seq + 1;
      if (gone) this.#remove(segment);
    }
    if (boot !== this.#boot || seq <= this.#acknowledged) return;
    this.#acknowledged = seq;
    while (this.#marks[0] !== undefined && this.#marks[0].seq <= seq) this.#marks.shift();
    if (this.#marks.length === 0 && seq < this.#written) this.#mark(seq + 1);
    const current = this.#current;
    if (current !== null && seq >= this.#written && current.bytes >= this.#options.segmentBytes / 4) {
      this.#end();
      this.#remove(current);
    }
    this.onAcknowledged(seq);
  }

  /** Removes a file that nothing can be read from. */
  discard(segment: Segment): void {
    if (!this.isOpen(segment)) this.#remove(segment);
  }

  close(): void {
    const current = this.#current;
    this.#end();
    // A boot that the collector has whole leaves nothing behind.
    if (current !== null && this.#acknowledged >= this.#written) this.#remove(current);
  }

  #segmentFor(length: number, firstSeq: number): Segment {
    const { disk, directory, segmentBytes } = this.#options;
    if (this.#current !== null && this.#current.bytes + length > segmentBytes && this.#current.bytes > 0) this.#end();
    if (this.#current !== null) return this.#current;
    const place = `${String(firstSeq).padStart(12, "0")}.${String(this.#files++).padStart(6, "0")}`;
    const path = `${directory}/${this.#boot}.${place}.ndjson`;
    this.#fd = disk.openAppend(path);
    const segment = { path, boot: this.#boot, first: firstSeq, bytes: 0 };
    this.#current = segment;
    this.#add(segment);
    return segment;
  }

  /** After a failed write: cuts off what got through. Where even that fails, the file is left torn and the next write begins another. */
  #takeBack(segment: Segment): void {
    try {
      this.#options.disk.truncate(this.#fd, segment.bytes);
    } catch {
      this.#end();
    }
  }

  #end(): void {
    if (this.#fd >= 0) this.#options.disk.close(this.#fd);
    this.#fd = -1;
    this.#current = null;
  }

  #add(segment: Segment): void {
    this.#segments.push(segment);
    this.#used += segment.bytes;
  }

  #remove(segment: Segment): void {
    const i = this.#segments.indexOf(segment);
    if (i < 0) return;
    this.#segments.splice(i, 1);
    this.#used -= segment.bytes;
    this.#options.disk.remove(segment.path);
  }

  #mark(seq: number): void {
    const atMs = this.#options.clock.elapsedMs();
    const newest = this.#marks.at(-1);
    if (this.#marks.length >= MAX_MARKS || (newest !== undefined && atMs - newest.atMs < 1000)) return;
    this.#marks.push({ seq, atMs });
  }
}
