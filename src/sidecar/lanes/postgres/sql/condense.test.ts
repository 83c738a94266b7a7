import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { condensed } from "./condense.ts";
import { readParserFile } from "./parser-file.ts";
import { createSqlReader } from "./reader.ts";
import type { SqlReading, Statement } from "./reading.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

const rows = (count: number, row: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => row(i)).join(", ");
const columns = Array.from({ length: 20 }, (_, i) => `c${i}`).join(", ");
const cells = (cell: (i: number) => string): string => `(${rows(20, cell)})`;

describe("what ORMs send is understood, however many rows it has", () => {
  test.each([
    ["parameters", (i: number) => cells((c) => `$${i * 20 + c + 1}`)],
    ["literals", (i: number) => cells((c) => (c % 2 === 0 ? String(i * c - 5) : `'it''s \n "${i}" ü 🙂 \\'`))],
    ["NULL and DEFAULT among them", (i: number) => cells((c) => ["NULL", "DEFAULT", "1.5", "E'a\\'b'"][(i + c) % 4]!)],
    ["parameters with types", (i: number) => cells((c) => `$${i * 20 + c + 1}::VARCHAR(20)`)],
    [
      "calls and casts",
      (i: number) => cells((c) => (c === 0 ? "now()" : c === 1 ? `'{"a": ${i}}'::jsonb` : "ARRAY[1, 2]")),
    ],
  ])("1,000 rows of 20 columns: %s", (_, row) => {
    const text = `INSERT INTO shop.t (${columns}) VALUES ${rows(1000, row)} ON CONFLICT (c0) DO UPDATE SET c1 = excluded.c1 RETURNING c0`;
    const reading = reader.read(text);
    expect(reading.doubts).toEqual([]);
    expect(reading).toMatchObject({ complete: true, statements: [{ kind: "insert", action: "write" }] });
    const [statement] = reading.statements;
    expect(statement!.tables).toEqual([{ schema: "shop", name: "t", access: "write" }]);
    expect(statement!.writtenColumns).toContain("c19");
    expect(statement!.output).toMatchObject([{ name: "c0" }]);
    expect(statement!.to).toBe(Buffer.byteLength(text));
  });

  test("but not over 512 KiB", () => {
    const text = `INSERT INTO t VALUES ${rows(1000, () => `('${"x".repeat(600)}')`)}`;
    expect(reader.read(text).doubts).toEqual(["the text is too long to read"]);
  });

  test("30,000 values of a list", () => {
    expect(reader.read(`SELECT * FROM t WHERE id IN (${rows(30_000, (i) => `$${i}`)}) AND a = 1`).complete).toBe(true);
    expect(reader.read(`SELECT * FROM t WHERE id IN (${rows(30_000, String)})`).complete).toBe(true);
    expect(reader.read(`SELECT * FROM t WHERE id = ANY (ARRAY[${rows(30_000, String)}])`).complete).toBe(true);
  });
});

describe("what is left out is looked for", () => {
  const hidden = (row: string): string =>
    `INSERT INTO t VALUES ${rows(3000, (i) => (i === 2000 ? row : `(${i}, 'x')`))}`;
  test("another function, another table, another column in one row of thousands", () => {
    expect(reader.read(hidden("(pg_sleep(1), 'x')")).complete).toBe(false);
    expect(reader.read(hidden("((SELECT secret FROM vault), 'x')")).statements[0]).toMatchObject({
      tables: [{ name: "t" }, { name: "vault", access: "read" }],
      readColumns: ["secret"],
    });
    expect(reader.read(hidden("(nextval('s'), 'x')")).complete).toBe(false);
    expect(
      reader.read(`SELECT * FROM t WHERE a IN (${rows(4000, (i) => (i === 3000 ? "pg_sleep(1)" : `${i}`))})`).complete,
    ).toBe(false);
  });

  test("a second statement, a comment, an odd number, and what the lexer is not sure of", () => {
    const head = `INSERT INTO t VALUES ${rows(3000, (i) => `(${i}, 'x')`)}`;
    for (const tail of [
      "; DELETE FROM t",
      ", (1, /* x */ 2)",
      ", (0x1F, 'x')",
      ", (1_000, 'x')",
      ", (1, 'x",
      ", (1, $a$)",
    ])
      expect(condensed(head + tail), tail).toBeNull();
    expect(reader.read(`${head} ;\n`).complete).toBe(true);
    expect(reader.read(`${head}, (1, '\ufffd')`).complete).toBe(false);
    expect(reader.read(`${head}, (1, '\u0000')`).complete).toBe(false);
  });

  test("a call that only looks like such a list is none", () => {
    expect(condensed("SELECT a.values (1), (2), (3)")).toBeNull();
    expect(condensed("SELECT f(1, 2, 3), (1), (2)")).toBeNull();
    expect(condensed("SELECT x = values (1), (2)")).toBeNull();
  });

  test("a literal that decides something is not put in the place of others", () => {
    const select = `SELECT * FROM (VALUES ${rows(2000, (i) => `((SELECT a FROM b ORDER BY ${1 + (i % 2)}))`)}) x`;
    expect(condensed(select)?.text).toContain("ORDER BY 2");
  });
});

/** All but where it stands. */
function said(reading: SqlReading): readonly unknown[] {
  return reading.statements.map((rest: Statement) => ({
    ...rest,
    from: 0,
    to: 0,
    columns: [...rest.columns].sort(),
    functions: [...rest.functions].sort(),
    readColumns: [...rest.readColumns].sort(),
    writtenColumns: [...rest.writtenColumns].sort(),
    conditionColumns: [...rest.conditionColumns].sort(),
    expressionColumns: [...rest.expressionColumns].sort(),
    tables: [...rest.tables].sort((a, b) => a.name.localeCompare(b.name)),
  }));
}

test("one row of each form says what all of them say, whatever they are put together from", () => {
  const cell = fc.constantFrom(
    "1",
    "-2",
    "- 3",
    "1.5",
    "1e5",
    "'a'",
    "'it''s'",
    "E'\\''",
    "$1",
    "$2",
    "NULL",
    "true",
    "DEFAULT",
    "now()",
    "lower('x')",
    "'1'::int",
    "$3::text",
    "ARRAY[1, 2]",
    "ARRAY[a, 2]",
    "(1, 2)",
    "(SELECT x FROM y)",
    "(SELECT x FROM y WHERE z IN (1, 2))",
    "(VALUES (1), (2))",
    "pg_sleep(1)",
    "a",
    "t.b",
    "x'1F'",
    "U&'a'",
    "'a' || 'b'",
    "CASE WHEN a IN (1, 2) THEN 1 END",
    "date '2020-01-01'",
    "1::numeric(10, 2)",
    "n'x'",
    "f(VALUES)",
    "a.values(1)",
    "$$x$$",
    "values",
    "in",
    '"values"',
    "( 1 )",
    "1 IN (1,2,b)",
    "coalesce(NULL, 1)",
  );
  const blank = fc.constantFrom("", " ", "\n", "  ");
  const row = fc
    .tuple(fc.array(cell, { minLength: 1, maxLength: 3 }), blank)
    .map(([parts, b]) => `(${b}${parts.join(`,${b}`)}${b})`);
  const list = fc.tuple(fc.array(row, { minLength: 1, maxLength: 6 }), blank).map(([all, b]) => all.join(`${b},${b}`));
  const frame = fc.constantFrom(
    "INSERT INTO t VALUES ?",
    "INSERT INTO t (a, b) VALUES? RETURNING a",
    "SELECT * FROM (VALUES ?) AS v(a, b) WHERE a IN (1, 2, 3)",
    "VALUES ? ORDER BY 1",
    "VALUES ? UNION SELECT 1",
    "WITH x AS (VALUES ?) INSERT INTO t SELECT * FROM x",
    "SELECT a FROM t values (a), ?",
    "SELECT a.values ?",
    "SELECT a AS values, ?",
    "SELECT 1 FROM a values, ?",
    "INSERT INTO t VALUES ? ON CONFLICT DO NOTHING;",
    "SELECT a IN ?",
    "UPDATE t SET a = 1 WHERE (a, b) IN (VALUES ?)",
    "MERGE INTO t USING (VALUES ?) s(a) ON t.a = s.a WHEN MATCHED THEN DELETE",
    "INSERT INTO values VALUES ?",
    "SELECT ARRAY[?]",
    "INSERT INTO t SELECT ?",
  );
  let compared = 0;
  fc.assert(
    fc.property(frame, list, (text, all) => {
      const whole = text.replace("?", () => all);
      const short = condensed(whole);
      const expected = reader.read(whole);
      if (short === null || !expected.complete) return;
      compared++;
      const reading = reader.read(short.text);
      expect(said(reading), whole).toEqual(said(expected));
    }),
    { numRuns: 20_000 },
  );
  expect(compared).toBeGreaterThan(500);
});
