import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isIdentifier, matches, pathPatterns } from "./paths.ts";

const shown = (paths: string[][]): string[] =>
  pathPatterns(paths).map((p) => p.map((word) => word ?? "{any}").join("/"));

test("numbers, UUIDs, hashes and dates become a gap, words stay", () => {
  expect(
    shown([
      ["v1", "invoices", "7"],
      ["v1", "invoices", "8812"],
      ["v1", "users", "0192f0c1-7a3b-7c11-9e55-2f1f6f0f9a10"],
      ["v1", "chat", "completions"],
      ["v1", "days", "2026-10-31"],
    ]),
  ).toEqual(["v1/chat/completions", "v1/days/{any}", "v1/invoices/{any}", "v1/users/{any}"]);
});

test("a few words at one place are kept apart, many become a gap", () => {
  const words = (count: number): string[][] =>
    Array.from({ length: count }, (_, i) => ["v1", `word${"abcdefghij"[i] ?? ""}`, "x"]);
  expect(shown(words(5))).toHaveLength(5);
  expect(shown(words(6))).toEqual(["v1/{any}/x"]);
});

test("paths of different lengths never share a pattern", () => {
  expect(shown([["a"], ["a", "b"], []])).toEqual(["", "a", "a/b"]);
});

test("an agent that asks for `*` gets a rule for `*`, not for everything", () => {
  const patterns = pathPatterns([
    ["v1", "*"],
    ["*", "*"],
  ]);
  expect(patterns.some((pattern) => matches(pattern, ["v1", "secrets"]))).toBe(false);
  expect(patterns.some((pattern) => matches(pattern, ["v1", "*"]))).toBe(true);
});

test("common words are no identifiers", () => {
  for (const word of ["invoices", "v1", "chat", "completions", "index.html", "deadbeef", ""])
    expect(isIdentifier(word), word).toBe(false);
});

test("every path that was seen matches a pattern, and there are never too many", () => {
  const word = fc.oneof(fc.constantFrom("a", "b", "*", "", "v1", "7"), fc.string({ maxLength: 3 }));
  fc.assert(
    fc.property(fc.array(fc.array(word, { maxLength: 4 }), { maxLength: 200 }), (paths) => {
      const patterns = pathPatterns(paths);
      expect(patterns.length).toBeLessThanOrEqual(60 + 5);
      for (const path of paths) expect(patterns.some((pattern) => matches(pattern, path))).toBe(true);
    }),
    { numRuns: 100 },
  );
});
