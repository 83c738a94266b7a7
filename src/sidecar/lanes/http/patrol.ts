/**
 * A connection's time limits with one alarm: it comes by now and then and looks what is overdue. Nothing is armed or cancelled a
 * request, so a limit costs nothing on the way of the bytes; it is noticed up to one round late where activity is all that counts.
 */
import { assertNever } from "#core/assert-never.ts";
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";

export type Watch = "idle" | "header" | "exchange" | "held" | "discard" | "linger" | "over";

export interface PatrolLimits {
  readonly headerMs: number;
  readonly idleMs: number;
  /** 0: none. */
  readonly totalMs: number;
}

export type Overdue = "idle" | "header" | "total" | "discard";

export class Patrol {
  readonly #after: (ms: number, fire: () => void) => Alarm;
  readonly #clock: Clock;
  readonly #limits: PatrolLimits;
  readonly #overdue: (what: Overdue) => void;
  readonly #roundMs: number;
  #alarm: Alarm | null = null;
  #watch: Watch = "idle";
  #sinceMs = 0;
  #activeMs: number;
  /** Set by whoever sees a byte move. */
  active = false;

  constructor(
    after: (ms: number, fire: () => void) => Alarm,
    clock: Clock,
    limits: PatrolLimits,
    overdue: (what: Overdue) => void,
  ) {
    this.#after = after;
    this.#clock = clock;
    this.#limits = limits;
    this.#overdue = overdue;
    this.#roundMs = Math.min(limits.headerMs, limits.idleMs, limits.totalMs > 0 ? limits.totalMs : limits.idleMs);
    this.#activeMs = clock.elapsedMs();
    this.#arm(this.#roundMs);
  }

  /** What the connection does from now on. Reads the clock only where a limit counts from here. */
  watch(what: Watch): void {
    this.#watch = what;
    if (what === "over") {
      this.#alarm?.cancel();
      this.#alarm = null;
    } else if (
      what !== "idle" &&
      what !== "linger" &&
      what !== "held" &&
      (what !== "exchange" || this.#limits.totalMs > 0)
    )
      this.#sinceMs = this.#clock.elapsedMs();
  }

  #arm(ms: number): void {
    this.#alarm = this.#after(Math.max(1, ms), () => this.#round());
  }

  #round(): void {
    this.#alarm = null;
    const now = this.#clock.elapsedMs();
    if (this.active || this.#watch === "held") this.#activeMs = now;
    this.active = false;
    const due = this.#due();
    if (due !== null && due.atMs <= now) this.#overdue(due.what);
    if (this.#watch === "over" || this.#alarm !== null) return;
    const next = this.#due();
    this.#arm(next === null ? this.#roundMs : Math.min(this.#roundMs, Math.max(next.atMs - now, 10)));
  }

  /** The limit that is reached first. */
  #due(): { readonly what: Overdue; readonly atMs: number } | null {
    const { headerMs, idleMs, totalMs } = this.#limits;
    const idle = { what: "idle" as const, atMs: this.#activeMs + idleMs };
    switch (this.#watch) {
      case "held":
      case "over":
        return null;
      // Nobody can tell a client that still reads its last answer from one that never will.
      case "linger":
      case "idle":
        return idle;
      case "header":
        return { what: "header", atMs: this.#sinceMs + headerMs };
      case "discard":
        return { what: "discard", atMs: this.#sinceMs + headerMs };
      case "exchange": {
        const total = this.#sinceMs + totalMs;
        return totalMs > 0 && total < idle.atMs ? { what: "total", atMs: total } : idle;
      }
      default:
        return assertNever(this.#watch);
    }
  }
}
