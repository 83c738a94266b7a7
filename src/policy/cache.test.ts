import { expect, test } from "vitest";
import type { Decision } from "#contract/decision.ts";
import { createDecisionCache } from "./cache.ts";

const decision = (code: string): Decision => ({
  effect: "deny",
  code,
  message: "",
  advice: "",
  policies: [],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: "",
});

test("a decision is found by exactly its input", () => {
  const cache = createDecisionCache({ entries: 8, maxInputChars: 10 });
  cache.set("a", decision("1"));
  expect(cache.get("a")?.code).toBe("1");
  expect(cache.get("b")).toBeUndefined();
});

test("a flood of inputs that never repeat is bounded, and what is asked for meanwhile stays", () => {
  const cache = createDecisionCache({ entries: 8, maxInputChars: 10 });
  cache.set("hot", decision("hot"));
  for (let n = 0; n < 1_000; n++) {
    cache.set(`n${n}`, decision("flood"));
    expect(cache.get("hot")?.code).toBe("hot");
    expect(cache.size).toBeLessThanOrEqual(8);
  }
  expect(cache.get("n0")).toBeUndefined();
});

test("an input that is too long is not remembered", () => {
  const cache = createDecisionCache({ entries: 8, maxInputChars: 3 });
  cache.set("long", decision("1"));
  expect(cache.get("long")).toBeUndefined();
  expect(cache.size).toBe(0);
});
