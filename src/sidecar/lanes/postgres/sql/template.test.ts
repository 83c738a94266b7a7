import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { readParserFile } from "./parser-file.ts";
import { createSqlReader } from "./reader.ts";
import type { SqlReader } from "./reading.ts";
import { templateOf } from "./template.ts";

const warm = createSqlReader({ parserFile: readParserFile });
/** Remembers nothing. */
const cold = createSqlReader({ parserFile: readParserFile, cacheBytes: 0 });
beforeAll(async () => {
  await Promise.all([warm.load(), cold.load()]);
});

const keyOf = (text: string): string | undefined => templateOf(text)?.key;

describe("which texts share a template", () => {
  test("those that differ in plain literals only", () => {
    expect(keyOf("SELECT a FROM t WHERE b = 5 AND c = 'x''y'")).toBe(keyOf("SELECT a FROM t WHERE b = 77 AND c = ''"));
    expect(keyOf("SELECT 1.5")).toBe(keyOf("SELECT 22.75"));
    expect(templateOf("SELECT 'ü', 1;  ")).toMatchObject({ cuts: [7, 10, 12, 13], semicolon: 13 });
  });

  test("not those that differ in anything else", () => {
    for (const [a, b] of [
      ["SELECT 1", "SELECT '1'"],
      ["SELECT 1", "SELECT 1.5"],
      ["SELECT 1", "SELECT  1"],
      ["SELECT 1", "SELECT 1;"],
      ["SELECT 'a'", "SELECT \u0001s"],
      ["SELECT $1", "SELECT $2"],
      ['SELECT "1"', 'SELECT "2"'],
      ["SELECT a1", "SELECT a2"],
    ] as const)
      expect(keyOf(a), a).not.toBe(keyOf(b));
  });

  test.each([
    ["an escape string", "SELECT E'a'"],
    ["a lower-case escape string", "SELECT e'a'"],
    ["a bit string", "SELECT B'1'"],
    ["a Unicode string", "SELECT U&'a'"],
    ["a Unicode name", 'SELECT U&"a"'],
    ["dollar quotes", "SELECT $$a$$"],
    ["named dollar quotes", "SELECT $a$a$a$"],
    ["a backslash", "SELECT 'a\\'"],
    ["a continued string", "SELECT 'a'\n'b'"],
    ["a comment", "SELECT 1 -- x"],
    ["a comment without a blank", "SELECT 1--x"],
    ["a block comment", "SELECT 1 /* x */"],
    ["a string that does not end", "SELECT 'a"],
    ["a name that does not end", 'SELECT "a'],
    ["a doubled quote in a name", 'SELECT "a""b"'],
    ["a second statement", "SELECT 1; SELECT 2"],
    ["a second semicolon", "SELECT 1;;"],
    ["an exponent", "SELECT 1e5"],
    ["a hexadecimal number", "SELECT 0x1f"],
    ["a number with underscores", "SELECT 1_0"],
    ["a number that begins with a point", "SELECT .5"],
    ["a number that ends with a point", "SELECT 1."],
    ["a range of points", "SELECT 1..2"],
    ["a number that may be too large", "SELECT 1234567890"],
    ["junk after a number", "SELECT 1a"],
    ["junk after a parameter", "SELECT $1a"],
    ["a control character", "SELECT '\u0001s'"],
    ["a NUL", "SELECT '\u0000'"],
    ["a replacement character", "SELECT '\ufffd'"],
    ["half a surrogate", "SELECT '\ud800'"],
    ["a form feed", "SELECT\f1"],
    ["a name that is not ASCII", "SELECT ü"],
    ["a long text", `SELECT '${"x".repeat(9000)}'`],
  ])("%s has none", (_, text) => {
    expect(templateOf(text)).toBeNull();
  });
});

/** Literals, and what stands around them: decided by the value or not, the two readers must agree. */
const STATEMENTS = [
  (a: string, b: string) => `SELECT * FROM t WHERE a = ${a} AND b IN (${b}, ${a})`,
  (a: string, b: string) => `SELECT x FROM t ORDER BY ${a} LIMIT ${b}`,
  (a: string, b: string) => `SELECT ssn, id FROM t GROUP BY ${a}, ${b}`,
  (a: string, b: string) => `SELECT DISTINCT ON (${a}) ssn FROM t OFFSET ${b}`,
  (a: string, b: string) => `SELECT set_config(${a}, ${b}, false)`,
  (a: string, b: string) => `SELECT 'x'::varchar(${a}), ${b}::numeric(${a}, 2), float(${a}) ${b}`,
  (a: string, b: string) => `SELECT interval ${a}, date ${b}, x AT TIME ZONE ${a}`,
  (a: string, b: string) => `INSERT INTO t (a, b) VALUES (${a}, ${b}), (${b}, -${a})`,
  (a: string, b: string) => `UPDATE t SET a = ${a}, b = - ${b} WHERE c = ${a} RETURNING ${b};`,
  (a: string, b: string) => `DELETE FROM t WHERE a = -${a} OR b LIKE ${b} ESCAPE ${a}; `,
  (a: string, b: string) => `SELECT x[${a}:${b}], (x).f, $1, "n" FROM f(${a}) WITH ORDINALITY`,
  (a: string, b: string) => `SELECT extract(year FROM x), substring(x FROM ${a} FOR ${b}), trim(${a} FROM x)`,
  (a: string, b: string) => `SET application_name = ${a}; -- ${b}`,
  (a: string, b: string) => `SET search_path = ${a}, ${b}`,
  (a: string, b: string) => `COPY t TO ${a} WITH (DELIMITER ${b})`,
  (a: string, b: string) => `ALTER ROLE x PASSWORD ${a} VALID UNTIL ${b}`,
  (a: string, b: string) => `SELECT query_to_xml(${a}, true, true, ${b})`,
  (a: string, b: string) => `SELECT ${a} AS ${b}`,
  (a: string, b: string) => `SELECT x IS NOT DISTINCT FROM ${a} FROM t TABLESAMPLE system (${b})`,
  (a: string, b: string) => `EXPLAIN (ANALYZE ${a}) SELECT ${b}`,
  (a: string, b: string) => `SELECT CASE ${a} WHEN ${b} THEN ${a} END, overlay(x PLACING ${a} FROM ${b})`,
  (a: string, b: string) => `VALUES (${a}), (${b}) FETCH FIRST ${b} ROWS ONLY`,
] as const;

const integer = fc.nat({ max: 999_999_999 }).map(String);
const decimal = fc.tuple(fc.nat({ max: 999 }), fc.nat({ max: 999 })).map(([a, b]) => `${a}.${b}`);
const word = fc.constantFrom(
  "off",
  "on",
  "role",
  "search_path",
  "standard_conforming_strings",
  "evil,pg_catalog",
  "it's",
  "ü",
  "\\",
  "a\nb",
  "",
  "1",
);
const text = fc.oneof(word, fc.string({ maxLength: 8 })).map((s) => `'${s.replaceAll("'", "''")}'`);
const literal = fc.oneof(integer, decimal, text);

/** Without what is only kept beside it. */
const read = (reader: SqlReader, text: string): object => ({ ...reader.read(text), alike: null });

describe("a reading that is remembered", () => {
  test("is the reading that a reader without memory gives, whatever the literals", () => {
    let shared = 0;
    fc.assert(
      fc.property(fc.constantFrom(...STATEMENTS), literal, literal, literal, literal, (statement, a, b, c, d) => {
        const [first, second] = [statement(a, b), statement(c, d)];
        warm.read(first);
        if (keyOf(first) !== undefined && keyOf(first) === keyOf(second)) shared++;
        expect(read(warm, second)).toEqual(read(cold, second));
        expect(read(warm, second)).toEqual(read(cold, second));
      }),
      { numRuns: 5000 },
    );
    expect(shared).toBeGreaterThan(300);
  });

  test("is the right one for texts put together from what troubles lexers", () => {
    const piece = fc.constantFrom(
      "SELECT ",
      "'a'",
      "'",
      "''",
      '"',
      "1",
      ".",
      "-",
      "/",
      "*",
      "$1",
      "$",
      "&",
      "U&",
      "E",
      "e",
      "\\",
      "\n",
      " ",
      ";",
      ",",
      "a",
      "=",
      "(",
      ")",
      "::int",
      "FROM t",
      " WHERE ",
      "'b'",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.nat(), fc.nat(), (pieces, x, y) => {
        const of = (n: number): string =>
          pieces.map((p) => (p === "1" ? String(n % 1000) : p === "'b'" ? `'${n}'` : p)).join("");
        warm.read(`SELECT ${of(x)}`);
        expect(warm.read(`SELECT ${of(y)}`)).toEqual(cold.read(`SELECT ${of(y)}`));
      }),
      { numRuns: 10_000 },
    );
  });
});
