import * as fc from "fast-check";
import { expect, test } from "vitest";
import { decodeQueryPart, readTarget } from "./request-target.ts";

test.each([
  ["/", "/", [], null],
  ["/a", "/a", ["a"], null],
  ["/a/", "/a/", ["a", ""], null],
  ["/v1/invoices/7?page=2", "/v1/invoices/7", ["v1", "invoices", "7"], "page=2"],
  ["/?", "/", [], ""],
  ["/a%20b/%C3%A4", "/a b/ä", ["a b", "ä"], null],
  ["/a?b/../c?d", "/a", ["a"], "b/../c?d"],
  ["/a.b/..c/d..", "/a.b/..c/d..", ["a.b", "..c", "d.."], null],
  ["/[x]|^", "/[x]|^", ["[x]|^"], null],
  ["/%41%2d", "/A-", ["A-"], null],
  ["/100%25", "/100%", ["100%"], null],
] as const)("reads %s", (raw, path, segments, query) => {
  expect(readTarget(raw)).toEqual({ raw, path, segments, query, ambiguous: false });
});

test.each([
  ["/a;b=c/d", "servers cut a parameter off"],
  ["/a%3Bb", "the same, decoded first"],
  ["/a%252fb", "a slash for whoever decodes twice"],
  ["/a%252e%252e/b", "dots for whoever decodes twice"],
  ["/a%2500", "NUL for whoever decodes twice"],
  ["/a%25252f", "a slash for whoever decodes three times"],
])("marks %s as ambiguous: %s", (raw) => {
  expect(readTarget(raw)).toMatchObject({ ambiguous: true });
});

test.each([
  ["", "target_form"],
  ["a", "target_form"],
  ["*", "target_form"],
  ["//", "double_slash"],
  ["/a//b", "double_slash"],
  ["/.", "dot_segment"],
  ["/..", "dot_segment"],
  ["/a/./b", "dot_segment"],
  ["/a/%2e%2E/b", "dot_segment"],
  ["/a/..;x/b", "dot_segment"],
  ["/a/.%3bx/b", "dot_segment"],
  ["/;x/b", "dot_segment"],
  ["/a%2fb", "encoded_slash"],
  ["/a%5Cb", "encoded_slash"],
  ["/a%00", "encoded_control"],
  ["/a%1f", "encoded_control"],
  ["/a?%00", "encoded_control"],
  ["/a%", "percent_encoding"],
  ["/a%4", "percent_encoding"],
  ["/a%4g", "percent_encoding"],
  ["/a?%", "percent_encoding"],
  ["/%c0%af", "target_utf8"],
  ["/%ed%a0%80", "target_utf8"],
  ["/a b", "target_character"],
  ["/a\\b", "target_character"],
  ["/a#b", "target_character"],
  ["/a?b#c", "target_character"],
  ["/a?b c", "target_character"],
  ["/\u0080", "target_character"],
  ["/a?\u00ff", "target_character"],
])("refuses %j: %s", (raw, fault) => {
  expect(readTarget(raw)).toBe(fault);
});

test("what it accepts means the same to a URL parser", () => {
  const piece = fc.constantFrom(
    "/",
    ".",
    "..",
    "a",
    "%2e",
    "%2F",
    "%41",
    "%C3%A4",
    ";",
    "?",
    "&",
    "=",
    "+",
    "%",
    "x~",
    ":",
    "@",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const raw = `/${pieces.join("")}`;
      const target = readTarget(raw);
      if (typeof target === "string") return;
      const url = new URL(`http://h${raw}`);
      expect(decodeURIComponent(url.pathname)).toBe(target.path);
      expect(url.search).toBe(target.query === null || target.query === "" ? "" : `?${target.query}`);
      expect(target.path).toBe(`/${target.segments.join("/")}`);
    }),
    { numRuns: 2_000 },
  );
});

test("decodes a query's parts as a form", () => {
  expect(decodeQueryPart("a+b%20c%2B")).toBe("a b c+");
  expect(decodeQueryPart("%ff")).toBe(null);
});
