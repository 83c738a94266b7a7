import * as fc from "fast-check";
import { applyPatch } from "rfc6902";
import { expect, test } from "vitest";
import { diffJson, equalJson, type PatchOperation } from "./json-diff.ts";

function applied(from: unknown, patch: readonly PatchOperation[]): unknown {
  const copy: unknown = structuredClone(from);
  expect(applyPatch(copy, structuredClone(patch) as never).filter((e) => e !== null)).toEqual([]);
  return copy;
}

test("equal values need no patch", () => {
  expect(diffJson({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toEqual([]);
});

test("an element put in front of a named list is one add", () => {
  expect(diffJson({ c: [{ name: "app" }] }, { c: [{ name: "init" }, { name: "app" }] })).toEqual([
    { op: "add", path: "/c/0", value: { name: "init" } },
  ]);
});

test("an element put at the end of a list goes to the dash", () => {
  expect(diffJson([{ name: "a" }], [{ name: "a" }, { name: "b" }])).toEqual([
    { op: "add", path: "/-", value: { name: "b" } },
  ]);
});

test("mounts of one volume are told apart by their path", () => {
  const from = [
    { name: "v", mountPath: "/a" },
    { name: "v", mountPath: "/b" },
  ];
  expect(diffJson(from, [{ name: "v", mountPath: "/b" }])).toEqual([{ op: "remove", path: "/0" }]);
});

test("keys with slashes and tildes are escaped", () => {
  expect(diffJson({}, { "a/b~c": 1 })).toEqual([{ op: "add", path: "/a~1b~0c", value: 1 }]);
});

test("a list whose elements changed their order is replaced whole", () => {
  const to = [{ name: "b" }, { name: "a" }];
  expect(diffJson([{ name: "a" }, { name: "b" }], to)).toEqual([{ op: "replace", path: "", value: to }]);
});

const named = fc.uniqueArray(
  fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e"), v: fc.integer({ min: 0, max: 2 }) }),
  { selector: (e) => e.name, maxLength: 5 },
);
// rfc6902, which applies the patches here, refuses these keys; Kubernetes does not.
const HOSTILE = /__proto__|prototype|constructor/;
const value = fc
  .oneof(fc.jsonValue({ maxDepth: 3 }), fc.record({ list: named, other: fc.jsonValue() }))
  .filter((v) => !HOSTILE.test(JSON.stringify(v)));

test("the patch always leads from one value to the other", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(fc.record({ root: value }), fc.record({ root: value }), (from, to) => {
      const a = JSON.parse(JSON.stringify(from)) as unknown;
      const b = JSON.parse(JSON.stringify(to)) as unknown;
      const patched = applied(a, diffJson(a, b));
      expect(equalJson(patched, b)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("the patch of two named lists always leads from one to the other", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(named, named, (from, to) => {
      expect(applied({ l: from }, diffJson({ l: from }, { l: to }))).toEqual({ l: to });
    }),
    { numRuns: 300 },
  );
});
