import { expect, test } from "vitest";
import { parseQuantity, writeQuantity } from "./quantity.ts";

test.each([
  ["100m", 0.1],
  ["0.5", 0.5],
  [".5", 0.5],
  ["1", 1],
  ["64Mi", 64 * 2 ** 20],
  ["1e3", 1000],
  ["1E3", 1000],
  ["2G", 2e9],
  ["1E", 1e18],
  ["+3k", 3000],
])("%s is read as Kubernetes reads it", (text, amount) => {
  expect(parseQuantity(text)).toBeCloseTo(amount, 9);
});

test.each([[""], ["x"], ["1 Gi"], ["1mi"], ["1KB"], ["0x10"], ["1e"], ["--1"], ["1Mi1"], ["toString"]])(
  "%j is no quantity",
  (text) => {
    expect(parseQuantity(text)).toBeNull();
  },
);

test("a written quantity is never less than the amount", () => {
  expect(writeQuantity("cpu", 0.1251)).toBe("126m");
  expect(writeQuantity("memory", 1.5)).toBe("2");
});
