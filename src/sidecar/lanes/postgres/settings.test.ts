import { describe, expect, test } from "vitest";
import { identityOf, readOptions, reported, upstreamParameters } from "./settings.ts";

const identity = { user: "svc", database: "shop" };
const passed = (asked: readonly (readonly [string, string])[], readOnly = false): unknown => {
  const read = upstreamParameters(asked, identity, readOnly);
  return read.kind === "refused" ? read.why : Object.fromEntries(read.parameters);
};
const PINNED = { client_encoding: "UTF8", standard_conforming_strings: "on", backslash_quote: "safe_encoding" };

describe("startup parameters", () => {
  test("go on with the upstream's identity and what is pinned", () => {
    expect(
      passed([
        ["user", "agent"],
        ["database", "other"],
        ["application_name", "psql"],
        ["DateStyle", "ISO"],
        ["_pq_.x", "1"],
      ]),
    ).toEqual({ user: "svc", database: "shop", application_name: "psql", DateStyle: "ISO", ...PINNED });
    expect(passed([], true)).toEqual({ ...identity, ...PINNED, default_transaction_read_only: "on" });
  });

  test("that decide who the session is, or that nobody knows, are refused", () => {
    for (const name of [
      "role",
      "session_authorization",
      "is_superuser",
      "session_preload_libraries",
      "myapp.tenant",
      "local_preload_libraries",
    ])
      expect(passed([[name, "x"]]), name).toMatch(/not passed on/);
  });

  test("search_path may not put look-alikes before pg_catalog", () => {
    expect(passed([["search_path", "public"]])).toMatchObject({ search_path: "public" });
    expect(passed([["search_path", "pg_catalog, public"]])).toMatchObject({ search_path: "pg_catalog, public" });
    for (const path of ["evil, pg_catalog", 'evil,"pg_catalog"', "pg_temp, public", "EVIL, PG_CATALOG"])
      expect(passed([["search_path", path]]), path).toMatch(/search_path/);
  });

  test("in options are read as the server reads them", () => {
    expect(readOptions("-c a=b  --c-d=e -cf=g\\ h")).toEqual([
      ["a", "b"],
      ["c_d", "e"],
      ["f", "g h"],
    ]);
    for (const text of ["-d 5", "-c", "-c a", "x", "-B 10", "--=x", "-c =x"])
      expect(readOptions(text), text).toBe(null);
    expect(passed([["options", "-c role\\=x -c role=x"]])).toMatch(/not passed on/);
    expect(passed([["options", "-O"]])).toMatch(/understood/);
  });

  test("name a user, and a database or none", () => {
    expect(identityOf([["user", "a"]])).toEqual({ user: "a", database: "a" });
    expect(
      identityOf([
        ["user", "a"],
        ["database", "b"],
      ]),
    ).toEqual({ user: "a", database: "b" });
    expect(identityOf([["database", "b"]])).toBe(null);
  });
});

test("a setting that the server reports is as it was pinned, or the session ends", () => {
  expect(reported("client_encoding", "UTF8", false)).toBe(null);
  expect(reported("standard_conforming_strings", "on", false)).toBe(null);
  expect(reported("application_name", "anything", false)).toBe(null);
  expect(reported("default_transaction_read_only", "off", false)).toBe(null);
  expect(reported("client_encoding", "SJIS", false)).toMatch(/became SJIS/);
  expect(reported("standard_conforming_strings", "off", false)).toMatch(/became off/);
  expect(reported("default_transaction_read_only", "off", true)).toMatch(/became off/);
});
