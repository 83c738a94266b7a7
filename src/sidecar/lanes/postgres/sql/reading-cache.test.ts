import { expect, test } from "vitest";
import type { SqlReading } from "./reading.ts";
import { ReadingCache } from "./reading-cache.ts";

const reading: SqlReading = { alike: null, statements: [], complete: true, doubts: [] };

test("forgets what was used least recently, and never weighs more than it may", () => {
  const cache = new ReadingCache(10_000);
  for (const key of ["a", "b", "c", "d"]) cache.set(key, reading);
  expect(cache.get("a")).toBe(reading);
  cache.set("e", reading);
  expect(cache.get("b")).toBeUndefined();
  expect(cache.get("a")).toBe(reading);
  for (let i = 0; i < 1000; i++) {
    cache.set("x".repeat(i), reading);
    expect(cache.bytes).toBeLessThanOrEqual(10_000);
  }
});

test("weighs a key that is set again once", () => {
  const cache = new ReadingCache(1_000_000);
  cache.set("a", reading);
  const { bytes } = cache;
  cache.set("a", reading);
  expect(cache.bytes).toBe(bytes);
});

test("remembers nothing where there is no room", () => {
  const cache = new ReadingCache(0);
  cache.set("a", reading);
  expect(cache.get("a")).toBeUndefined();
  expect(cache.bytes).toBe(0);
});
