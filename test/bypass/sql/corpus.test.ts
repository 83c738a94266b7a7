/** Rows Q2 to Q8 of the threat model as readings: what must not pass for a read, and what must. No server is needed. */
import { beforeAll, describe, expect, test } from "vitest";
import { readParserFile } from "../../../src/sidecar/lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "../../../src/sidecar/lanes/postgres/sql/reader.ts";
import type { SqlReading } from "../../../src/sidecar/lanes/postgres/sql/reading.ts";
import { corpus, type Row } from "./corpus.ts";

const RANK = ["read", "write", "execute", "admin", "credential", "unknown"] as const;
const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

function worst(reading: SqlReading): string {
  return RANK[Math.max(0, ...reading.statements.map((s) => RANK.indexOf(s.action as (typeof RANK)[number])))] ?? "";
}

function passes(reading: SqlReading): boolean {
  return reading.complete && worst(reading) === "read";
}

const NOT_READS = corpus("not-reads.md");
const READS = [...corpus("reads.md"), ...corpus("reads-captured.md")];

test("the corpus is as large as it says", () => {
  expect(NOT_READS.length).toBeGreaterThanOrEqual(300);
  expect(NOT_READS.filter((r) => r.section.startsWith("Q5")).length).toBeGreaterThanOrEqual(60);
  expect(READS.length).toBeGreaterThanOrEqual(200);
});

/** What a reading is, in the words of the corpus: of those that fit, the one that the row expects. */
function verdict(reading: SqlReading, expected: string): string {
  if (expected === "unread" && reading.statements.length === 0 && !reading.complete) return "unread";
  return expected === "doubt" && !reading.complete ? "doubt" : worst(reading);
}

function check(row: Row): void {
  const reading = reader.read(row.sql);
  expect(passes(reading)).toBe(false);
  expect(verdict(reading, row.expected)).toBe(row.expected);
}

describe.each([...new Set(NOT_READS.map((r) => r.section))])("no read: %s", (section) => {
  test.each(NOT_READS.filter((r) => r.section === section))("$expected: $why ($sql)", check);
});

describe("reads, complete", () => {
  test.each(READS)("$why: $sql", (row) => {
    const reading = reader.read(row.sql);
    expect(reading.doubts).toEqual([]);
    expect(passes(reading)).toBe(true);
  });
});

describe("what Markdown cannot hold", () => {
  test.each([
    ["a carriage return ends a comment, and a statement follows", "SELECT 1 -- x\r; DELETE FROM orders"],
    ["a NUL ends the text for the server", "SELECT 1\u0000; DELETE FROM orders"],
    ["a byte order mark is a part of a name", "\ufeffDELETE FROM orders"],
    ["a no-break space is a part of a name", "SELECT\u00a01"],
    ["half a surrogate", "SELECT 1 -- \udc00"],
    ["a replacement character", "SELECT '\ufffd'"],
  ])("%s", (_, sql) => {
    expect(passes(reader.read(sql))).toBe(false);
  });
});
