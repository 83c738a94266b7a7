/**
 * Who waits until the collector has stored a line: held operations, and in tier `locked` everything. Bounded in number and in
 * time; errs towards no.
 */
import type { Clock } from "#core/clock.ts";

/** Who may wait at once. */
const MAX_WAITING = 65_536;

interface Waiting {
  readonly seq: number;
  readonly byMs: number;
  readonly call: (ok: boolean) => void;
}

export class Confirmations {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #waiting: Waiting[] = [];
  #armed = false;

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  add(seq: number, call: (ok: boolean) => void): void {
    if (this.#waiting.length >= MAX_WAITING) {
      call(false);
      return;
    }
    this.#waiting.push({ seq, byMs: this.#clock.elapsedMs() + this.#limitMs, call });
    if (!this.#armed) this.#arm(this.#limitMs);
  }

  /** The collector has everything up to `seq`. */
  acknowledged(seq: number): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter((w) => w.seq > seq);
    for (const w of waiting) if (w.seq <= seq) w.call(true);
  }

  #arm(ms: number): void {
    this.#armed = true;
    setTimeout(() => {
      this.#armed = false;
      const now = this.#clock.elapsedMs();
      const late = this.#waiting.filter((w) => w.byMs <= now);
      this.#waiting = this.#waiting.filter((w) => w.byMs > now);
      for (const w of late) w.call(false);
      const next = this.#waiting[0];
      if (next !== undefined && !this.#armed) this.#arm(Math.max(10, next.byMs - now));
    }, ms).unref();
  }
}
