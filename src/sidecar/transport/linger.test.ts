import { describe, expect, test } from "vitest";
import type { Wheel } from "#core/wheel.ts";
import { linger } from "./linger.ts";

/** Fires the next alarm when told. */
class Hand {
  readonly asked: number[] = [];
  #next: (() => void) | null = null;
  readonly wheel: Wheel = {
    after: (ms, fire) => {
      this.asked.push(ms);
      this.#next = fire;
      return {
        cancel: () => {
          this.#next = null;
        },
      };
    },
    stop() {},
  };
  turn(): void {
    const next = this.#next;
    this.#next = null;
    next?.();
  }
  get waiting(): boolean {
    return this.#next !== null;
  }
}

class Ended {
  bytes = 0;
  gone = 0;
  moved(): number {
    return this.bytes;
  }
  expired(): void {
    this.gone++;
  }
}

describe("a connection that we have ended", () => {
  test("is let go when nothing moved for the whole time", () => {
    const hand = new Hand();
    const connection = new Ended();
    linger(hand.wheel, 15_000, connection);
    hand.turn();
    hand.turn();
    expect(connection.gone).toBe(0);
    hand.turn();
    expect([connection.gone, hand.waiting]).toEqual([1, false]);
    expect(hand.asked).toEqual([5_000, 5_000, 5_000]);
  });

  test("may take as long as it likes while bytes move", () => {
    const hand = new Hand();
    const connection = new Ended();
    linger(hand.wheel, 15_000, connection);
    for (let i = 0; i < 100; i++) {
      if (i % 2 === 0) connection.bytes++;
      hand.turn();
    }
    expect(connection.gone).toBe(0);
  });

  test("is forgotten when it has closed", () => {
    const hand = new Hand();
    const connection = new Ended();
    const alarm = linger(hand.wheel, 300_000, connection);
    hand.turn();
    expect(hand.waiting).toBe(true);
    alarm.cancel();
    expect([connection.gone, hand.waiting]).toEqual([0, false]);
  });
});
