import { getHeapStatistics } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { settleMemory } from "./settle-memory.ts";

test("garbage of starting is given back before anybody is served", () => {
  let garbage: unknown[] = Array.from({ length: 200_000 }, (_, n) => ({ n, text: `${n}` }));
  expect(garbage).toHaveLength(200_000);
  garbage = [];
  const before = getHeapStatistics().total_heap_size;
  settleMemory();
  expect(getHeapStatistics().total_heap_size).toBeLessThan(before);
});

test("V8's own function is not left where other code could find it", () => {
  settleMemory();
  expect(runInNewContext("typeof gc")).toBe("undefined");
});
