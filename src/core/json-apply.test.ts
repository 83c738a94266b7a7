import * as fc from "fast-check";
import { expect, test } from "vitest";
import { applyJson, pointerTokens } from "./json-apply.ts";
import { diffJson, equalJson } from "./json-diff.ts";

test("a difference, applied, gives the other value", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (from, to) => {
      expect(equalJson(applyJson(from, diffJson(from, to)), to)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("a list grows in front, between and at its end", () => {
  expect(
    applyJson({ l: [1] }, [
      { op: "add", path: "/l/-", value: 3 },
      { op: "add", path: "/l/0", value: 0 },
      { op: "add", path: "/l/2", value: 2 },
      { op: "remove", path: "/l/0" },
    ]),
  ).toEqual({ l: [1, 2, 3] });
});

test("escaped tokens are members with slashes and tildes", () => {
  expect(pointerTokens("/a~1b/c~0d")).toEqual(["a/b", "c~d"]);
});

test.each([["/b"], ["/l/1"], ["/l/-"], ["/l/x"], ["/l/0/y"]])("a path that is not there throws: %s", (path) => {
  expect(() => applyJson({ l: [1] }, [{ op: "replace", path, value: 0 }])).toThrow(RangeError);
});
