import { beforeAll, describe, expect, test } from "vitest";
import { readParserFile } from "./parser-file.ts";
import { createSqlReader } from "./reader.ts";
import type { Statement } from "./reading.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

function one(text: string): Statement {
  const { statements } = reader.read(text);
  expect(statements, text).toHaveLength(1);
  return statements[0]!;
}

describe("what a statement touches", () => {
  test("a read names its tables, columns, conditions and limit", () => {
    const s = one("SELECT id, u.ssn AS s FROM crm.users u WHERE lower(email) = 'x' ORDER BY 1 LIMIT 5");
    expect(s).toMatchObject({ kind: "select", action: "read", where: true, limit: 5, complete: true, doubts: [] });
    expect(s.tables).toEqual([{ schema: "crm", name: "users", access: "read" }]);
    expect(s.functions).toEqual(["lower"]);
    expect([...s.columns].sort()).toEqual(["email", "id", "ssn"]);
    expect([...s.conditionColumns].sort()).toEqual(["email", "id"]);
    expect(s.output).toEqual([
      { name: "id", reference: { table: null, column: "id" }, star: false },
      { name: "s", reference: { table: "u", column: "ssn" }, star: false },
    ]);
  });

  test("a write hidden in WITH is a write", () => {
    const s = one("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone WHERE true");
    expect(s).toMatchObject({ kind: "select", action: "write", where: false });
    expect(s.tables).toEqual([{ schema: "", name: "t", access: "write" }]);
  });

  test("a name of WITH hides a table only where PostgreSQL looks for it first", () => {
    expect(one("WITH users AS (SELECT 1) SELECT * FROM users").tables).toEqual([]);
    expect(one("WITH users AS (SELECT * FROM users) SELECT * FROM users").tables).toHaveLength(1);
    expect(one("SELECT (WITH users AS (SELECT 1) SELECT 1 FROM users) FROM users").tables).toHaveLength(1);
    expect(one("WITH users AS (SELECT 1) SELECT * FROM public.users").tables).toHaveLength(1);
    expect(one("WITH RECURSIVE users AS (SELECT 1 UNION ALL SELECT * FROM users) TABLE users").tables).toEqual([]);
    expect(one("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a").tables).toHaveLength(1);
  });

  test("a function that is not known makes the statement incomplete, wherever it stands", () => {
    for (const text of [
      "SELECT evil()",
      "SELECT 1 FROM evil()",
      "SELECT 1 WHERE evil()",
      "SELECT 1 ORDER BY evil()",
      "SELECT count(*) FILTER (WHERE evil()) FROM t",
      "SELECT rank() OVER (ORDER BY evil()) FROM t",
      "SELECT 1 FROM a JOIN b ON evil()",
      "SELECT 1 LIMIT evil()",
      "VALUES (evil())",
      "SELECT ARRAY[evil()]",
      "SELECT (ARRAY[1])[evil()]",
      "SELECT CASE WHEN evil() THEN 1 END",
      "SELECT 1 GROUP BY ROLLUP(evil())",
      "SELECT 1 FROM LATERAL (SELECT evil()) x",
      "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = evil()",
      "UPDATE t SET a = 1 RETURNING evil()",
      "COPY (SELECT evil()) TO STDOUT",
      "DECLARE c CURSOR FOR SELECT evil()",
      "EXPLAIN SELECT evil()",
      "CREATE INDEX ON t (evil(a))",
    ]) {
      expect(one(text), text).toMatchObject({ complete: false });
      expect(one(text).functions, text).toContain("evil");
    }
  });

  test("an operator, a cast or a collation of somebody's own is a doubt", () => {
    expect(one("SELECT 1 OPERATOR(public.=) 2").complete).toBe(false);
    expect(one("SELECT a <=> b FROM t").complete).toBe(false);
    expect(one("SELECT 'x'::public.bad").complete).toBe(false);
    expect(one("SELECT CAST('x' AS bad[])").complete).toBe(false);
    expect(one("SELECT 1 OPERATOR(pg_catalog.=) '2'::pg_catalog.int4").complete).toBe(true);
  });
});

describe("what cannot be read", () => {
  test.each([
    ["a text that does not parse", "SELECT FROM WHERE"],
    ["a NUL", "SELECT 1\u0000; DROP TABLE t"],
    ["half a surrogate", "SELECT '\ud800'"],
    ["what may be a lost byte", "SELECT '\ufffd'"],
    ["a vertical tab", "SELECT\v1"],
    ["256 KiB and a byte", `SELECT '${"x".repeat(256 * 1024)}'`],
    ["deep nesting", `SELECT ${"(SELECT ".repeat(9000)}1${")".repeat(9000)}`],
    ["a chain that is too long", `SELECT ${"1+".repeat(5000)}1`],
  ])("%s is not complete", (_, text) => {
    expect(reader.read(text)).toMatchObject({ complete: false });
    expect(reader.read("SELECT 1")).toMatchObject({ complete: true });
  });

  test("nothing at all is complete and has no statements", () => {
    expect(reader.read("")).toMatchObject({ statements: [], complete: true, doubts: [] });
    expect(reader.read("-- only a comment")).toMatchObject({ statements: [], complete: true, doubts: [] });
  });
});

describe("what an output and a COPY say beside it", () => {
  test("an expression says what it may read, names followed to their columns", () => {
    const columnsOf = (text: string): unknown => one(text).output.map((o) => o.columns?.toSorted());
    expect(columnsOf("SELECT id, lower(email), now() FROM users")).toEqual([undefined, ["email"], []]);
    expect(columnsOf("SELECT x.e || 'a' FROM (SELECT email AS e FROM users) x")).toEqual([["e", "email"]]);
    expect(columnsOf("SELECT to_json(u), u FROM users u")).toEqual([
      ["*", "u"],
      ["*", "u"],
    ]);
    expect(columnsOf("SELECT (SELECT email FROM users LIMIT 1), id FROM t")).toEqual([["email"], undefined]);
    expect(columnsOf("UPDATE users SET a = 1 RETURNING id, upper(email)")).toEqual([undefined, ["email"]]);
  });

  test("COPY says how it writes rows down; null where it is not understood", () => {
    const formatOf = (options: string): unknown =>
      one(`COPY users TO STDOUT ${options}`).effects.map((e) => (e.kind === "copy-out" ? e.format : e.kind))[0];
    const text = { kind: "text", delimiter: "\t", nullText: "\\N", header: false };
    const csv = { kind: "csv", delimiter: ",", nullText: "", header: false, quote: '"', escape: '"' };
    expect(formatOf("")).toEqual(text);
    expect(formatOf("(FORMAT binary)")).toEqual({ kind: "binary" });
    expect(formatOf("(DELIMITER '|', NULL '')")).toEqual({ ...text, delimiter: "|", nullText: "" });
    expect(formatOf("(FORMAT csv)")).toEqual(csv);
    for (const header of ["HEADER", "HEADER true", "HEADER on", "HEADER 1", "HEADER 'ON'"])
      expect(formatOf(`(FORMAT csv, ${header})`), header).toEqual({ ...csv, header: true });
    expect(formatOf("(FORMAT csv, HEADER off, FORCE_QUOTE *, ENCODING 'utf8')")).toEqual(csv);
    expect(formatOf("WITH CSV HEADER DELIMITER ';' QUOTE '|' ESCAPE '!' NULL 'ñ'")).toEqual({
      kind: "csv",
      delimiter: ";",
      nullText: "\u00c3\u00b1",
      header: true,
      quote: "|",
      escape: "!",
    });
    for (const options of [
      "(FORMAT csv, HEADER match)",
      "(FORMAT csv, HEADER 2)",
      "(FORMAT csv, DELIMITER ',,')",
      "(FORMAT csv, QUOTE 'ñ')",
      "(FORMAT csv, NULL 'a,b')",
      "(FORMAT csv, FORMAT text)",
      "(FORMAT nonsense)",
      "(FORMAT csv, DEFAULT 'x')",
      "(NULL 'ada@example.com')",
      "(DELIMITER 'a')",
      "(DELIMITER '\\')",
      "(QUOTE '|')",
    ])
      expect(formatOf(options), options).toBeNull();
  });
});

test("what is given a value is told apart from what is read", () => {
  const columns = (text: string): unknown => {
    const { writtenColumns, readColumns } = one(text);
    return [writtenColumns.toSorted(), readColumns.toSorted()];
  };
  expect(columns("INSERT INTO t(a, b) SELECT c, d FROM s")).toEqual([
    ["a", "b"],
    ["c", "d"],
  ]);
  expect(columns("INSERT INTO t VALUES (1)")).toEqual([["*"], []]);
  expect(columns("INSERT INTO t DEFAULT VALUES")).toEqual([[], []]);
  expect(columns("UPDATE t SET a = b WHERE c = 1 RETURNING d, e")).toEqual([["a"], ["b", "c"]]);
  expect(columns("DELETE FROM t WHERE a = 1 RETURNING b")).toEqual([[], ["a"]]);
  expect(columns("COPY t FROM STDIN")).toEqual([["*"], []]);
  expect(columns("COPY t(a) FROM STDIN")).toEqual([["a"], []]);
  expect(columns("WITH x AS (UPDATE t SET a = 1 RETURNING b AS c) INSERT INTO s(d) SELECT c FROM x")).toEqual([
    ["a", "d"],
    ["b", "c"],
  ]);
  expect(columns("MERGE INTO t USING s ON t.a = s.b WHEN NOT MATCHED THEN INSERT VALUES (s.c)")).toEqual([
    ["*"],
    ["a", "b", "c"],
  ]);
  expect(columns("PREPARE p AS UPDATE t SET a = $1 RETURNING a")).toEqual([["a"], []]);
});

test("what an output at any depth is computed from is told, a plain column is not", () => {
  const computed = (text: string): string[] => [...one(text).expressionColumns].sort();
  expect(computed("SELECT email, u.id, * FROM users u")).toEqual([]);
  expect(computed("SELECT count(*) FROM users")).toEqual([]);
  expect(computed("SELECT * FROM (SELECT upper(email) FROM users) x")).toEqual(["email"]);
  expect(computed("SELECT id FROM (SELECT id, 1/length(e) AS l FROM (SELECT id, email AS e FROM users) y) x")).toEqual([
    "e",
    "email",
  ]);
  expect(computed("SELECT * FROM users, LATERAL (VALUES (upper(email))) v(x)")).toEqual(["email"]);
  expect(computed("WITH g AS (DELETE FROM users RETURNING md5(email)) SELECT 1 FROM g")).toEqual(["email"]);
  expect(computed("SELECT u FROM users u")).toEqual([]);
  expect(computed("SELECT (u).email, email::text, (SELECT email) FROM users u")).toContain("*");
});
