import { expect, test } from "vitest";
import { hashJson } from "./canonical.ts";

// Both hashes are from `opa build --signing-key …` (1.22.2) over these texts.
test("hashes a document as opa does: numbers as they were written, Go's escapes", () => {
  expect(hashJson('{"sidegate":{"data":{"billing":{"bad":["x-a<b"],"n":1e3,"s":"\\u2028\\u0001é\\b"}}}}')).toBe(
    "7bd236fe47e7e20b57acb3ed18c05ece58b26c8ee4e9215787d926118d50720f",
  );
  expect(
    hashJson(
      '{"revision":"","roots":[""],"wasm":[{"entrypoint":"sidegate/decision","module":"/policy.wasm"}],"rego_version":1}',
    ),
  ).toBe("2511c9dbca905bce5558ca52a78893465dcd75d70dbc0bf59f5c9f2427510af7");
});

test("the order of members and spaces make no difference, the order of elements does", () => {
  expect(hashJson('{"b":[1,2],"a":{"y":null,"x":true}}')).toBe(hashJson('{ "a": {"x":true,"y":null}, "b": [1, 2] }'));
  expect(hashJson("[1,2]")).not.toBe(hashJson("[2,1]"));
  expect(hashJson('{"1":0,"a":0,"10":0}')).toBe(hashJson('{"a":0,"10":0,"1":0}'));
});

test("a number written otherwise is another document", () => {
  expect(hashJson("[1000]")).not.toBe(hashJson("[1e3]"));
});

test("a document that is nested too deep is refused, not followed", () => {
  expect(() => hashJson("[".repeat(300) + "]".repeat(300))).toThrow(RangeError);
});
