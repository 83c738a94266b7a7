/**
 * Every reading is itself on record, before its answer is given: who, which namespace, by which filter. The same question again within
 * a minute (following the record asks four times a second) is counted, and told with the next act of its kind, a moment after that minute, or when we end.
 *
 * Acts are never removed, so that the readings of each namespace may only take so many bytes: else whoever may read one could fill the
 * store that everybody's agents wait for. Errs towards no answer: a reading that cannot be recorded is not answered.
 */
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { type ActOptions, recordAct } from "./act.ts";
import { ReadingFault } from "./read-worker.ts";

export interface Reading {
  readonly by: string;
  /** "*": all. */
  readonly namespace: string;
  readonly what: string;
  readonly members: Readonly<Record<string, unknown>>;
}

const WINDOW_MS = 60_000;
const MAX_KINDS = 1_000;
/** Of one namespace's acts, together: some thousands at once, and then one every second or two. */
const ROOM = { burstBytes: 1024 * 1024, bytesPerMs: 0.25 } as const;
const MAX_ROOMS = 20_000;
/** What the line of an act has beside its members. */
const LINE_BYTES = 150;

interface Kind {
  readonly reading: Reading;
  readonly sinceMs: number;
  repeats: number;
}

export class ReadLog {
  readonly #options: ActOptions;
  readonly #clock: Clock;
  readonly #kinds: Lru<string, Kind>;
  readonly #onFault: (fault: unknown) => void;
  readonly #rooms = new Lru<string, { left: number; atMs: number }>(MAX_ROOMS);

  constructor(options: ActOptions, onFault: (fault: unknown) => void) {
    this.#options = options;
    this.#clock = options.clock;
    this.#onFault = onFault;
    this.#kinds = new Lru(MAX_KINDS, (_key, kind) => void this.#tell(kind).catch(onFault));
  }

  /** Throws ReadingFault where a namespace has had too many acts written on readers' behalf. */
  spend(namespace: string, members: object): void {
    const now = this.#clock.elapsedMs();
    const room = this.#rooms.get(namespace) ?? { left: ROOM.burstBytes, atMs: now };
    room.left = Math.min(ROOM.burstBytes, room.left + (now - room.atMs) * ROOM.bytesPerMs);
    room.atMs = now;
    this.#rooms.set(namespace, room);
    const bytes = LINE_BYTES + JSON.stringify(members).length;
    if (room.left < bytes) {
      const where = namespace === "*" ? "every namespace" : `namespace ${namespace}`;
      throw new ReadingFault("busy", `too many different questions about ${where}; ask again in a while`);
    }
    room.left -= bytes;
  }

  /** Rejects with ReadingFault as `spend`. */
  async record(reading: Reading): Promise<void> {
    const key = JSON.stringify(reading);
    const before = this.#kinds.get(key);
    if (before !== undefined && this.#clock.elapsedMs() - before.sinceMs < WINDOW_MS) {
      before.repeats++;
      return;
    }
    const { by, namespace, what, members } = reading;
    this.spend(namespace, reading);
    const repeats = before === undefined || before.repeats === 0 ? {} : { repeats: before.repeats };
    await recordAct(this.#options, "read", { by, namespace, what, ...members, ...repeats });
    this.#kinds.set(key, { reading, sinceMs: this.#clock.elapsedMs(), repeats: 0 });
  }

  /** Now and then: what was counted in a minute that is over. */
  async tellRepeats(): Promise<void> {
    const now = this.#clock.elapsedMs();
    for (const [key, kind] of this.#kinds.entries()) {
      if (now - kind.sinceMs < WINDOW_MS) continue;
      this.#kinds.delete(key);
      await this.#tell(kind);
    }
  }

  /** At the end: what was only counted. */
  async close(): Promise<void> {
    for (const kind of this.#kinds.values()) await this.#tell(kind).catch(this.#onFault);
  }

  async #tell({ reading, repeats }: Kind): Promise<void> {
    if (repeats === 0) return;
    const { by, namespace, what, members } = reading;
    await recordAct(this.#options, "read", { by, namespace, what, ...members, repeats });
  }
}
