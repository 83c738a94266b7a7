import { expect, test } from "vitest";
import type { MaskRule } from "#contract/decision.ts";
import { MaskSets } from "./mask-sets.ts";

const rules = (n: number): readonly MaskRule[] => [
  { column: `public.users.c${n}`, with: "redact" } as unknown as MaskRule,
];

test("a policy that says the same of each statement is remembered once, however long the transaction", () => {
  const sets = new MaskSets();
  for (let n = 0; n < 10_000; n++) sets.add(rules(1), false);
  expect([sets.size, sets.takes(rules(1))]).toEqual([1, true]);
});

test("what may be quoted stays so until the session has settled", () => {
  const sets = new MaskSets();
  sets.add(rules(1), true);
  sets.add(rules(1), false);
  expect([...sets.values()].map(({ quotes }) => quotes)).toEqual([true]);
  sets.clear();
  sets.add(rules(1), false);
  expect([...sets.values()].map(({ quotes }) => quotes)).toEqual([false]);
});

test("there is an end to different ones, and those that are known go on", () => {
  const sets = new MaskSets();
  let n = 0;
  for (; sets.takes(rules(n)) && n < 1_000; n++) sets.add(rules(n), false);
  expect(n).toBe(64);
  expect([sets.takes(rules(0)), sets.takes(rules(n))]).toEqual([true, false]);
});
