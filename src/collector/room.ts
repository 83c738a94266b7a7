/**
 * How much room the store has: what it uses, what it may use (a configured bound, or what the volume has left), and, at the rate of
 * the last hour, how long that lasts. Measured now and then, asked for often.
 *
 * Errs towards full: the last of the room is kept for acts and for what retention writes while it makes room.
 */
import { statfsSync } from "node:fs";
import path from "node:path";
import type { Clock } from "#core/clock.ts";
import type { RecordStore } from "./store/port.ts";

export interface RoomState {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly full: boolean;
  /** Infinity: it does not grow. */
  readonly secondsLeft: number;
}

export interface RoomOptions {
  readonly store: RecordStore;
  /** The store's file: its volume is measured. */
  readonly database: string;
  /** Bytes that the store may have; 0: what the volume gives. */
  readonly maxBytes: number;
  readonly clock: Clock;
  /** Bytes that a volume has left for us; for tests. */
  readonly available?: (folder: string) => number;
}

/** Kept free: of the limit, at least and at most so much. */
const RESERVE = { part: 0.02, least: 2 * 1024 * 1024, most: 256 * 1024 * 1024 } as const;
const WINDOW_MS = 3_600_000;
const SAMPLE_MS = 60_000;

export class Room {
  readonly #options: RoomOptions;
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];
  #state: RoomState = { usedBytes: 0, limitBytes: 0, full: false, secondsLeft: Number.POSITIVE_INFINITY };

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  get state(): RoomState {
    return this.#state;
  }

  async measure(): Promise<RoomState> {
    const { store, database, maxBytes, clock, available = availableBytes } = this.#options;
    const { bytes, fileBytes } = await store.usage();
    // Free pages of the file are room as well.
    const possible = bytes + Math.max(0, fileBytes - bytes) + available(path.dirname(database));
    const limitBytes = maxBytes > 0 ? Math.min(maxBytes, possible) : possible;
    const reserve = Math.min(RESERVE.most, Math.max(RESERVE.least, limitBytes * RESERVE.part));
    const now = clock.elapsedMs();
    const newest = this.#samples.at(-1);
    if (newest === undefined || now - newest.atMs >= SAMPLE_MS) this.#samples.push({ atMs: now, bytes });
    while (this.#samples.length > 1 && now - (this.#samples[0]?.atMs ?? now) > WINDOW_MS) this.#samples.shift();
    const full = bytes >= limitBytes - reserve;
    this.#state = {
      usedBytes: bytes,
      limitBytes,
      full,
      secondsLeft: full ? 0 : this.#left(now, bytes, limitBytes - reserve),
    };
    return this.#state;
  }

  #left(now: number, bytes: number, limit: number): number {
    const first = this.#samples[0];
    if (first === undefined || now <= first.atMs) return Number.POSITIVE_INFINITY;
    const perSecond = ((bytes - first.bytes) / (now - first.atMs)) * 1_000;
    return perSecond <= 0 ? Number.POSITIVE_INFINITY : Math.max(0, (limit - bytes) / perSecond);
  }
}

function availableBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
