import { beforeAll, describe, expect, test } from "vitest";
import { excessOf, MAX_TOKENS } from "./bounds.ts";
import { readParserFile } from "./parser-file.ts";
import { createSqlReader } from "./reader.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

const KIB_250 = 250 * 1024;
const filled = (head: string, unit: string, tail = ""): string =>
  head + unit.repeat(Math.floor((KIB_250 - head.length - tail.length) / unit.length)) + tail;

describe("a text that would keep every connection of the pod waiting is not parsed", () => {
  // Without the bound each of these takes PostgreSQL's scanner a minute.
  test.each([
    ["empty comments, one directly behind the other", filled("SELECT 1", "/**/")],
    ["comments in comments", `SELECT 1 ${"/*".repeat(60_000)}${"*/".repeat(60_000)}`],
    ["signs that no operator ends with", filled("SELECT ", "+-", "1")],
  ])("%s", (_, text) => {
    expect(reader.read(text)).toMatchObject({
      complete: false,
      statements: [],
      doubts: ["its comments and operators take too long to read"],
    });
  });

  test.each([
    ["columns", filled("SELECT a", ",a")],
    ["calls", filled("SELECT a()", ",a()")],
    ["statements", filled("", "TABLE a;")],
    ["semicolons", filled("", ";")],
    ["conditions", filled("SELECT a", " AND a")],
    ["tables", filled("SELECT FROM a", ",a")],
    ["queries in WITH", filled("WITH a AS(TABLE a)", ",a AS(TABLE a)", " SELECT 1")],
    ["XML", filled("SELECT xmlconcat(a", ",a", ")")],
  ])("more tokens than %s need", (_, text) => {
    expect(reader.read(text).doubts).toEqual(["it has too many tokens to read"]);
  });

  test("a long literal and a long comment are one token each, and a ruler in a comment is none", () => {
    for (const text of [
      filled("SELECT '", "a, b + c; ", "'"),
      filled("SELECT 1 /* ", "a, b + c; ", "*/"),
      filled("SELECT 1 -- ", "-"),
      `/${"*".repeat(200)}\n * what it is for\n ${"*".repeat(200)}/ SELECT 1 ${"-- =+=+=+=+=+=+=+=\n".repeat(1000)}`,
    ]) {
      expect(excessOf(text)).toBeNull();
      expect(reader.read(text).complete).toBe(true);
    }
  });

  test("as many tokens as the bound allows are read", () => {
    const text = `SELECT a${",a".repeat(MAX_TOKENS / 2 - 1)}`;
    expect(reader.read(text).complete).toBe(true);
    expect(reader.read(`${text},a`).complete).toBe(false);
  });
});

describe("nesting without an end is refused, and the next text is read as if nothing had been", () => {
  const deep = (open: string, close: string, n: number): string => `SELECT ${open.repeat(n)}1${close.repeat(n)}`;
  test.each([
    ["parentheses", deep("(", ")", 100_000)],
    ["NOT", deep("NOT ", "", 50_000)],
    ["NOT, few", deep("NOT ", "", 8_000)],
    ["CASE", deep("CASE WHEN a THEN ", " END", 8_000)],
    ["CASE, few", deep("CASE WHEN a THEN ", " END", 1_500)],
    ["UNION", `SELECT 1${" UNION SELECT 1".repeat(15_000)}`],
    ["UNION, few", `SELECT 1${" UNION SELECT 1".repeat(2_000)}`],
    ["arrays", deep("ARRAY[", "]", 30_000)],
    ["arrays, few", deep("ARRAY[", "]", 2_000)],
    ["arrays without the word", `SELECT ARRAY${"[".repeat(4_000)}1${"]".repeat(4_000)}`],
    ["sums, few", deep("1+", "", 4_000)],
    ["casts, few", deep("", "::int", 2_700)],
    ["joins, few", `SELECT FROM a${" NATURAL JOIN a".repeat(2_700)}`],
    ["subqueries, few", deep("(SELECT ", ")", 2_000)],
    ["functions, few", deep("lower(", ")", 2_000)],
    ["a prepared one", `PREPARE p AS ${deep("NOT ", "", 8_000)}`],
  ])("%s", (_, text) => {
    expect(reader.read(text).complete).toBe(false);
    expect(reader.read(`SELECT ${text.length} AS x`).complete).toBe(true);
  });
});

test("parentheses that change nothing are read, as many as there may be", () => {
  expect(reader.read(`SELECT ${"(".repeat(4_000)}1${")".repeat(4_000)}`).complete).toBe(true);
});

test("a prepared statement's text is what stands behind its own AS", () => {
  const effects = (text: string) => reader.read(text).statements[0]!.effects;
  expect(effects('PREPARE /* as DELETE FROM t */ "as \'x" (text) AS SELECT 1 AS a')).toEqual([
    { kind: "prepare", name: "as 'x", text: "SELECT 1 AS a" },
  ]);
});
