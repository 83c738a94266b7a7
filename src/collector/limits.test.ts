import { expect, test } from "vitest";
import { testClock } from "../../test/support/record.ts";
import { Limiter } from "./limits.ts";

const LIMITS = { bytesPerSecond: 100, burstBytes: 1_000, bodyBytes: 500 };

test("one batch of a sender at a time, and others are not held up by it", () => {
  const limiter = new Limiter(LIMITS, testClock());
  const done = limiter.begin("a");
  expect(done).not.toBe(null);
  expect(limiter.begin("a")).toBe(null);
  expect(limiter.begin("b")).not.toBe(null);
  done?.();
  expect(limiter.begin("a")).not.toBe(null);
});

test("who sent too much waits until the average is right again, after a burst as an outage leaves it", () => {
  const clock = testClock();
  const limiter = new Limiter(LIMITS, clock);
  limiter.begin("a")?.();
  limiter.spend("a", 1_200);
  expect(limiter.begin("a")).toBe(null);
  clock.now += 1_900;
  expect(limiter.begin("a")).toBe(null);
  clock.now += 200;
  expect(limiter.begin("a")).not.toBe(null);
});

test("bodies in memory are bounded, all together", () => {
  const limiter = new Limiter(LIMITS, testClock());
  expect([limiter.hold(300), limiter.hold(300), limiter.hold(200)]).toEqual([true, false, true]);
  limiter.release(300);
  expect(limiter.hold(300)).toBe(true);
});
