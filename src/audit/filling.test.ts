import { expect, test } from "vitest";
import { testClock } from "../../test/support/record.ts";
import { Filling } from "./filling.ts";

test("tells the time that is left from how fast it grew, and none where it does not grow", () => {
  const clock = testClock();
  const filling = new Filling(clock);
  expect(filling.secondsLeft(0, 1_000)).toBe(Number.POSITIVE_INFINITY);
  clock.now += 10_000;
  expect(filling.secondsLeft(100, 1_000)).toBe(90);
  clock.now += 30_000;
  expect(filling.secondsLeft(400, 1_000)).toBe(60);
  clock.now += 60_000;
  expect(filling.secondsLeft(400, 1_000)).toBe(Number.POSITIVE_INFINITY);
  clock.now += 10_000;
  expect(filling.secondsLeft(1_000, 1_000)).toBe(0);
});

test("a growth that has ended is forgotten, and another one seen", () => {
  const clock = testClock();
  const filling = new Filling(clock);
  for (let n = 0; n < 1_000; n++) {
    clock.now += 1_000;
    filling.secondsLeft(n < 500 ? n : 500, 10_000);
  }
  expect(filling.secondsLeft(500, 10_000)).toBe(Number.POSITIVE_INFINITY);
});
