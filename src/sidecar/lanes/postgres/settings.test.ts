import { describe, expect, test } from "vitest";
import { identityOf, readOptions, reported, upstreamParameters } from "./settings.ts";

const identity = { user: "svc", database: "shop" };
const passed = (asked: readonly (readonly [string, string])[], readOnly = false): unknown => {
  const read = upstreamParameters(asked, identity, readOnly);
  return read.kind === "refused" ? read.why : Object.fromEntries(read.parameters);
};
/** Those that a policy is asked about, as the SET statements that they amount to. */
const judged = (asked: readonly (readonly [string, string])[], readOnly = false): string[] => {
  const read = upstreamParameters(asked, identity, readOnly);
  return read.kind === "refused" ? [read.why] : read.judged.map(([name, value]) => `${name}=${value}`);
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

  test("that drivers and frameworks send are passed on without asking anybody", () => {
    const sent: [string, string][] = [
      ["application_name", "PostgreSQL JDBC Driver"],
      ["extra_float_digits", "2"],
      ["TimeZone", "Europe/Berlin"],
      ["DateStyle", "ISO"],
      ["IntervalStyle", "postgres"],
      ["statement_timeout", "30000"],
      ["lock_timeout", "1s"],
      ["idle_in_transaction_session_timeout", "60000"],
      ["search_path", "shop,public"],
      ["jit", "off"],
      ["client_min_messages", "warning"],
      ["bytea_output", "hex"],
      ["lc_monetary", "C"],
      ["row_security", "off"],
      ["tcp_keepalives_idle", "60"],
      ["options", "-c enable_seqscan=off -c work_mem=64MB --maintenance-work-mem=1GB"],
    ];
    expect(judged(sent)).toEqual([]);
    expect(passed(sent)).toMatchObject({
      TimeZone: "Europe/Berlin",
      search_path: "shop,public",
      enable_seqscan: "off",
      work_mem: "64MB",
      maintenance_work_mem: "1GB",
    });
  });

  test("that decide who the session is, or that nobody knows, are judged as the SET that they amount to", () => {
    for (const name of [
      "role",
      "session_authorization",
      "is_superuser",
      "session_preload_libraries",
      "myapp.tenant",
      "local_preload_libraries",
      "allow_system_table_mods",
      "synchronous_commit",
      "default_transaction_read_only",
    ]) {
      expect(judged([[name, "off"]]), name).toEqual([`${name}=off`]);
      expect(judged([["options", `-c ${name}=off`]]), name).toEqual([`${name}=off`]);
    }
  });

  test("with a name that no setting has are refused", () => {
    for (const name of ["a b", 'x"y', "1a", "a.b.c.d;e", "a'b", "ä"])
      expect(passed([[name, "x"]]), name).toMatch(/is not the name of a setting/);
  });

  test("that change how a text is read are refused, whatever a policy says; as they are pinned they mean nothing", () => {
    for (const [name, value] of [
      ["standard_conforming_strings", "off"],
      ["backslash_quote", "on"],
      ["client_encoding", "SJIS"],
      ["CLIENT_ENCODING", "LATIN1"],
    ] as const) {
      expect(passed([[name, value]]), name).toMatch(/is pinned to/);
      expect(passed([["options", `-c ${name}=${value}`]]), name).toMatch(/is pinned to/);
    }
    expect(passed([["client_encoding", "'utf-8'"]])).toEqual({ ...identity, ...PINNED });
  });

  test("search_path that puts look-alikes before pg_catalog is judged", () => {
    expect(judged([["search_path", "pg_catalog, public"]])).toEqual([]);
    for (const path of ["evil, pg_catalog", 'evil,"pg_catalog"', "pg_temp, public", "EVIL, PG_CATALOG"])
      expect(judged([["search_path", path]]), path).toEqual([`search_path=${path}`]);
  });

  test("that would make a read-only target writable are refused", () => {
    for (const name of ["default_transaction_read_only", "transaction_read_only"]) {
      expect(passed([[name, "off"]], true), name).toBe("this target is read-only");
      expect(passed([["options", `-c ${name}=0`]], true), name).toBe("this target is read-only");
      expect(passed([[name, "on"]], true)).toMatchObject({ default_transaction_read_only: "on" });
    }
  });

  test("that a policy would have to be asked about are few, or refused: each is a decision", () => {
    const many = (count: number): [string, string][] =>
      Array.from({ length: count }, (_, i) => [`app.s${i}`, "x"] as [string, string]);
    expect(judged(many(16))).toHaveLength(16);
    expect(passed(many(17))).toMatch(/more than 16 settings/);
    expect(
      passed([
        [
          "options",
          many(17)
            .map(([name]) => `-c ${name}=x`)
            .join(" "),
        ],
      ]),
    ).toMatch(/more than 16 settings/);
  });

  test("replication is not carried", () => {
    for (const value of ["database", "true", "1", "on"])
      expect(passed([["replication", value]]), value).toBe("replication is not carried");
    expect(passed([["replication", "false"]])).toEqual({ ...identity, ...PINNED });
  });

  test("in options are read as the server reads them", () => {
    expect(readOptions("-c a=b  --c-d=e -cf=g\\ h")).toEqual([
      ["a", "b"],
      ["c_d", "e"],
      ["f", "g h"],
    ]);
    for (const text of ["-d 5", "-c", "-c a", "x", "-B 10", "--=x", "-c =x"])
      expect(readOptions(text), text).toBe(null);
    expect(judged([["options", "-c role\\=x -c role=x"]])).toEqual(["role=x", "role=x"]);
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
