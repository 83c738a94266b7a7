/**
 * The shipper: reads the spool from the first unacknowledged line and sends it to the collector, this boot's lines and those of
 * boots that a kill left behind. One batch under way at a time.
 *
 * Errs towards sending twice: nothing is forgotten before the collector says that it stored it, and the collector drops what it
 * has. While the collector is away it waits, longer each time, and the recorder's bounds (`audit_lag`, `audit_full`) tell.
 */
import type { Batch, RecordSink } from "#contract/record.ts";
import type { Segment, Spool } from "./spool.ts";
import { wholeCommits } from "./whole-commits.ts";

export interface ShipperOptions {
  readonly spool: Spool;
  readonly sink: RecordSink;
  /** Lines are collected this long before they are sent; 0 under `confirm: collector`. */
  readonly lingerMs?: number;
  readonly batchBytes?: number;
  /** Between two tries: the first wait, doubled up to the second. */
  readonly backoffMs?: readonly [first: number, most: number];
  /** How often an idle boot says that it lives; 0: never. */
  readonly aliveMs?: number;
  /** 0 ≤ x < 1, for the jitter. */
  readonly chance?: () => number;
  /** Told once for each trouble that begins (with its cause), and with null when it ends. */
  readonly onTrouble?: (cause: Error | null) => void;
}

export interface Shipper {
  /** Batches so far. */
  readonly counts: { readonly stored: number; readonly failed: number };
  /** Resolves when the collector has everything of this boot, or after `limitMs`; true: it has. */
  drain(limitMs: number): Promise<boolean>;
  /** Sends no more; an open request is given up. */
  close(): Promise<void>;
}

interface Cursor {
  readonly boot: string;
  segment: Segment | null;
  position: number;
  /** The collector wants lines that are gone: the next batch says so. */
  gap: boolean;
}

interface Read {
  readonly batch: Batch;
  readonly end: number;
}

const BATCH_BYTES = 256 * 1024;
const LINGER_MS = 50;
/** Lines that wait without an answer of the collector's, after which nothing lingers: far below what holds a write back (LAG). */
const URGENT_LINES = 400;
/** No commit is longer (recorder.ts: EARLY_FLUSH, MAX_KEPT); a file in which none ends within this is unreadable. */
const MAX_COMMIT_BYTES = 16 * 1024 * 1024;

export function startShipper(options: ShipperOptions): Shipper {
  return new SpoolShipper(options);
}

class SpoolShipper implements Shipper {
  readonly counts = { stored: 0, failed: 0 };
  readonly #options: ShipperOptions;
  readonly #spool: Spool;
  readonly #cursors = new Map<string, Cursor>();
  #timer: NodeJS.Timeout | null = null;
  /** It fires without waiting. */
  #now = false;
  #alive: NodeJS.Timeout | null = null;
  #busy = false;
  #closed = false;
  #backoff = 0;
  #oldTurn = false;
  #drained: (() => void)[] = [];
  #quiet = true;
  readonly #lingerMs: number;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#spool = options.spool;
    this.#lingerMs = options.lingerMs ?? LINGER_MS;
    this.#spool.onWritten = () => this.#written();
    const aliveMs = options.aliveMs ?? 30_000;
    if (aliveMs > 0) {
      this.#alive = setInterval(() => this.#sayAlive(), aliveMs);
      this.#alive.unref();
    }
    this.#wake(0);
  }

  async drain(limitMs: number): Promise<boolean> {
    const done = (): boolean => this.#spool.acknowledged >= this.#spool.written;
    if (done()) return true;
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, limitMs);
      this.#drained.push(() => {
        clearTimeout(limit);
        resolve();
      });
      this.#wake(0);
    });
    return done();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#alive !== null) clearInterval(this.#alive);
    for (const then of this.#drained.splice(0)) then();
    await this.#options.sink.close();
  }

  #written(): void {
    if (this.#backoff === 0) this.#wake(this.#urgent ? 0 : this.#lingerMs);
  }

  get #urgent(): boolean {
    return this.#drained.length > 0 || this.#spool.written - this.#spool.acknowledged >= URGENT_LINES;
  }

  #wake(afterMs: number): void {
    if (this.#closed || this.#busy) return;
    if (this.#timer !== null) {
      if (afterMs > 0 || this.#now) return;
      clearTimeout(this.#timer);
    }
    this.#now = afterMs === 0;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#run();
    }, afterMs);
    // A process that wants to end calls drain(); the shipper alone keeps none alive.
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    let again = true;
    let fault: Error | null = null;
    while (again && !this.#closed && fault === null) {
      again = false;
      try {
        const sent = await this.#shipOne();
        // What came meanwhile is little: it waits for more of its kind, or each batch would be as small as a collector is fast.
        again = sent === "full" || (sent === "little" && (this.#lingerMs === 0 || this.#urgent));
      } catch (cause) {
        fault = cause instanceof Error ? cause : new Error(String(cause));
      }
    }
    this.#busy = false;
    if (this.#closed) return;
    if (fault === null) {
      this.#recovered();
      if (this.#spool.acknowledged >= this.#spool.written) for (const then of this.#drained.splice(0)) then();
      else this.#wake(this.#lingerMs);
    } else this.#failed(fault);
  }

  get #batchBytes(): number {
    return this.#options.batchBytes ?? BATCH_BYTES;
  }

  #recovered(): void {
    if (this.#backoff === 0) return;
    this.#backoff = 0;
    this.#options.onTrouble?.(null);
  }

  #failed(fault: Error): void {
    this.counts.failed++;
    const [first, most] = this.#options.backoffMs ?? [200, 10_000];
    if (this.#backoff === 0) this.#options.onTrouble?.(fault);
    this.#backoff = this.#backoff === 0 ? first : Math.min(most, this.#backoff * 2);
    const chance = this.#options.chance ?? Math.random;
    // While draining there is no time for patience.
    this.#wake(this.#drained.length > 0 ? first : this.#backoff * (0.75 + chance() / 2));
  }

  /** Sends the next batch of one boot. `little`: it was all that this boot had. */
  async #shipOne(): Promise<"full" | "little" | "nothing"> {
    this.#oldTurn = !this.#oldTurn;
    const boots = this.#spool.boots();
    // This boot and an old one take turns, so that neither waits for the other's whole backlog.
    const order = this.#oldTurn ? boots : boots.toReversed();
    for (const boot of order) {
      const cursor = this.#cursorOf(boot);
      const read = this.#read(cursor);
      if (read === null) {
        if (boot !== this.#spool.boot) this.#finished(cursor);
        continue;
      }
      await this.#send(cursor, read);
      const little = boot === this.#spool.boot && boots.length === 1 && read.batch.lines.length < this.#batchBytes / 2;
      return little ? "little" : "full";
    }
    return "nothing";
  }

  async #send(cursor: Cursor, read: Read): Promise<void> {
    this.#quiet = false;
    const { batch } = read;
    const stored = await this.#options.sink.send(batch);
    this.counts.stored++;
    if (stored >= batch.lastSeq) {
      cursor.position = read.end;
      cursor.gap = false;
      this.#spool.acknowledge(batch.boot, stored, false);
      return;
    }
    this.#rewind(cursor, batch, stored);
  }

  /** The collector has less than we thought: back to the line after what it has, or, where that is gone, on with a hole. */
  #rewind(cursor: Cursor, batch: Batch, stored: number): void {
    if (cursor.gap) throw new Error(`the collector stores nothing of boot ${batch.boot} beyond ${stored}`);
    const segments = this.#spool.segments(cursor.boot);
    const from = segments.findLast((s) => s.first <= stored + 1);
    if (from === undefined || (from === cursor.segment && cursor.position === 0)) cursor.gap = true;
    cursor.segment = from ?? segments[0] ?? null;
    cursor.position = 0;
  }

  #cursorOf(boot: string): Cursor {
    let cursor = this.#cursors.get(boot);
    if (cursor === undefined) {
      cursor = { boot, segment: null, position: 0, gap: false };
      this.#cursors.set(boot, cursor);
    }
    return cursor;
  }

  /** Whole commits from the cursor on; null: none. Steps over a torn end of a file that nobody appends to any more. */
  #read(cursor: Cursor): Read | null {
    for (;;) {
      const segments = this.#spool.segments(cursor.boot);
      if (cursor.segment === null || !segments.includes(cursor.segment)) {
        cursor.segment = segments[0] ?? null;
        cursor.position = 0;
      }
      const { segment } = cursor;
      if (segment === null) return null;
      const read = this.#readSegment(segment, cursor);
      if (read !== null) return read;
      const next = segments[segments.indexOf(segment) + 1];
      if (next === undefined) return null;
      cursor.segment = next;
      cursor.position = 0;
    }
  }

  #readSegment(segment: Segment, cursor: Cursor): Read | null {
    const left = segment.bytes - cursor.position;
    for (let size = Math.min(left, this.#batchBytes); size > 0; size = Math.min(left, size * 4)) {
      const bytes = Buffer.allocUnsafeSlow(size);
      const filled = this.#spool.read(segment, bytes, cursor.position);
      const lines = wholeCommits(bytes.subarray(0, filled));
      if (lines !== null) {
        const batch = {
          boot: cursor.boot,
          lines: lines.bytes,
          firstSeq: lines.first,
          lastSeq: lines.last,
          gap: cursor.gap,
        };
        return { batch, end: cursor.position + lines.bytes.length };
      }
      if (size === left || size >= MAX_COMMIT_BYTES) return null;
    }
    return null;
  }

  /** Everything of an old boot is with the collector; what is left in its last file is a torn end, which nobody was permitted on. */
  #finished(cursor: Cursor): void {
    for (const segment of this.#spool.segments(cursor.boot)) this.#spool.discard(segment);
    this.#cursors.delete(cursor.boot);
  }

  #sayAlive(): void {
    const was = this.#quiet;
    this.#quiet = true;
    if (!was || this.#busy || this.#backoff > 0 || this.#spool.boot === "") return;
    const seq = this.#spool.written;
    const batch = { boot: this.#spool.boot, lines: new Uint8Array(0), firstSeq: seq, lastSeq: seq, gap: false };
    // Lost signs of life only make a living boot look old for a while.
    this.#options.sink.send(batch).catch(() => {});
  }
}
