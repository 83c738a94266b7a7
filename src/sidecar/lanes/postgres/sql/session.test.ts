import { beforeAll, describe, expect, test } from "vitest";
import { readParserFile } from "./parser-file.ts";
import { createSqlReader } from "./reader.ts";
import type { SessionEffect, Statement } from "./reading.ts";

const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(() => reader.load());

function one(text: string): Statement {
  const [statement] = reader.read(text).statements;
  expect(statement, text).toBeDefined();
  return statement!;
}

describe("what a statement does to its session", () => {
  test.each<[string, readonly SessionEffect[]]>([
    ["BEGIN", [{ kind: "begin", readWrite: null }]],
    ["START TRANSACTION READ ONLY", [{ kind: "begin", readWrite: false }]],
    ["BEGIN READ ONLY, READ WRITE", [{ kind: "begin", readWrite: true }]],
    ["COMMIT", [{ kind: "commit" }]],
    ["END", [{ kind: "commit" }]],
    ["COMMIT AND CHAIN", [{ kind: "commit" }, { kind: "begin", readWrite: null }]],
    ["ABORT", [{ kind: "rollback" }]],
    ["SAVEPOINT a", [{ kind: "savepoint" }]],
    ["ROLLBACK TO a", [{ kind: "savepoint" }]],
    ["SET TimeZone = 'UTC'", [{ kind: "set", name: "timezone", value: "UTC", local: false }]],
    ["SET LOCAL search_path TO a, b", [{ kind: "set", name: "search_path", value: "a, b", local: true }]],
    ["RESET ALL", [{ kind: "set", name: "*", value: null, local: false }]],
    ["SET TRANSACTION READ WRITE", [{ kind: "set", name: "transaction_read_only", value: "off", local: true }]],
    [
      "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
      [{ kind: "set", name: "default_transaction_read_only", value: "off", local: false }],
    ],
    ["SELECT set_config('Work_Mem', '1MB', true)", [{ kind: "set", name: "work_mem", value: "1MB", local: true }]],
    ["PREPARE a (int) AS SELECT $1 AS as_b", [{ kind: "prepare", name: "a", text: "SELECT $1 AS as_b" }]],
    ['PREPARE "as" AS /* as */ SELECT 1', [{ kind: "prepare", name: "as", text: "/* as */ SELECT 1" }]],
    ["EXECUTE a(1)", [{ kind: "execute", name: "a" }]],
    ["EXPLAIN EXECUTE a", [{ kind: "execute", name: "a" }]],
    ["CREATE TABLE t AS EXECUTE a", [{ kind: "execute", name: "a" }]],
    ["DEALLOCATE a", [{ kind: "deallocate", name: "a" }]],
    ["DEALLOCATE ALL", [{ kind: "deallocate", name: null }]],
    ["DECLARE c CURSOR FOR SELECT 1", [{ kind: "declare-cursor", name: "c" }]],
    ["FETCH 5 FROM c", [{ kind: "fetch", name: "c" }]],
    ["MOVE NEXT c", [{ kind: "fetch", name: "c" }]],
    ["CLOSE c", [{ kind: "close-cursor", name: "c" }]],
    ["CLOSE ALL", [{ kind: "close-cursor", name: null }]],
    ["LISTEN a", [{ kind: "listen" }]],
    ["DISCARD ALL", [{ kind: "discard" }]],
    ["COPY t FROM STDIN", [{ kind: "copy-in" }]],
    [
      "COPY (SELECT 1) TO STDOUT",
      [{ kind: "copy-out", format: { kind: "text", delimiter: "\t", nullText: "\\N", header: false } }],
    ],
    ["COPY t TO '/tmp/x'", []],
    ["EXPLAIN DECLARE c CURSOR FOR SELECT 1", []],
    ["SELECT 1", []],
  ])("%s", (text, effects) => {
    expect(one(text).effects).toEqual(effects);
  });
});

describe("what masks have to know", () => {
  const output = (text: string) => one(text).output;
  const plain = (column: string, table: string | null = null) => ({
    name: column,
    reference: { table, column },
    star: false,
  });

  test("a name that the statement gave is followed to the column behind it", () => {
    expect(output("SELECT y FROM (SELECT x AS y FROM (SELECT ssn AS x FROM users) a) b")).toEqual([
      { name: "y", reference: { table: null, column: "ssn" }, star: false },
    ]);
    expect(output("SELECT u.ssn FROM users u")).toEqual([plain("ssn", "u")]);
  });

  test.each([
    "SELECT ssn::text FROM users",
    "SELECT ssn || '' FROM users",
    "SELECT x FROM (SELECT upper(ssn) AS x FROM users) a",
    "SELECT upper FROM (SELECT upper(ssn) FROM users) a",
    "SELECT \"?column?\" FROM (SELECT ssn || '' FROM users) a",
    "SELECT u FROM users u",
    "SELECT users FROM users",
    "SELECT u.to_json FROM users u",
    "SELECT ssn FROM users UNION SELECT name FROM users",
    "SELECT column1 FROM (VALUES ((SELECT ssn FROM users))) v",
    "SELECT b FROM users AS u(a, b)",
    "WITH w(s) AS (SELECT ssn FROM users) SELECT s FROM w",
    "SELECT x FROM lower((SELECT ssn FROM users LIMIT 1)) AS x",
    "SELECT (SELECT ssn FROM users LIMIT 1)",
    "SELECT ROW(ssn) FROM users",
    "UPDATE users SET a = 1 RETURNING ssn || ''",
  ])("no column is called plain that is not: %s", (text) => {
    expect(output(text).map((c) => c.reference)).toEqual([null]);
  });

  test.each([
    "SELECT 1 FROM users WHERE ssn LIKE '1%'",
    "SELECT 1 FROM users ORDER BY ssn",
    "SELECT ssn FROM users ORDER BY 1",
    "SELECT ssn AS x FROM users ORDER BY x",
    "SELECT count(*) FROM users GROUP BY ssn",
    "SELECT ssn, count(*) FROM users GROUP BY 1",
    "SELECT 1 FROM users GROUP BY id HAVING max(ssn) > '5'",
    "SELECT 1 FROM users u JOIN guesses g ON g.guess = u.ssn",
    "SELECT 1 FROM users JOIN guesses USING (ssn)",
    "SELECT count(*) FILTER (WHERE ssn > '5') FROM users",
    "SELECT rank() OVER (ORDER BY ssn) FROM users",
    "SELECT 1 FROM (SELECT ssn AS x FROM users) a WHERE x = '1'",
    "SELECT 1 FROM (SELECT ssn || '' FROM users) a WHERE \"?column?\" = '1'",
    "SELECT 1 FROM (SELECT ssn::text FROM users) a WHERE ssn = '1'",
    "SELECT 1 FROM (VALUES ((SELECT ssn FROM users))) v WHERE column1 = '1'",
    "WITH w(x) AS (SELECT ssn FROM users) SELECT 1 FROM w WHERE x = '1'",
    "SELECT ssn FROM users INTERSECT SELECT '1'",
    "SELECT '1' IN (SELECT ssn FROM users)",
    "SELECT 1 FROM users LIMIT (SELECT ascii(ssn) FROM users LIMIT 1)",
    "SELECT count(*) FROM users, generate_series(1, ascii(ssn))",
    "SELECT generate_series(1, ascii(ssn)) FROM users",
    "SELECT DISTINCT ON (ssn) 1 FROM users",
    "UPDATE users SET a = 1 WHERE ssn = '1'",
    "DELETE FROM users WHERE ssn = '1'",
    "INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1 WHERE users.ssn = '1'",
  ])("a column that can be guessed by asking is a condition: %s", (text) => {
    expect(one(text).conditionColumns).toContain("ssn");
  });

  test("a join by whatever two tables have in common, and a whole row, may be any column", () => {
    expect(one("SELECT 1 FROM users NATURAL JOIN guesses").conditionColumns).toContain("*");
    expect(one("SELECT 1 FROM users u WHERE u::text LIKE '%1%'").conditionColumns).toContain("*");
    expect(one("SELECT row_to_json(u) FROM users u").columns).toContain("*");
  });
});

describe("whether a write is bounded", () => {
  test.each([
    ["DELETE FROM t WHERE id = 1", true],
    ["DELETE FROM t", false],
    ["DELETE FROM t WHERE true", false],
    ["UPDATE t SET a = 1 WHERE 1 = 1", false],
    ["UPDATE t SET a = 1 WHERE id IN (SELECT id FROM s)", true],
    ["WITH d AS (DELETE FROM t) SELECT * FROM s WHERE id = 1", false],
    ["SELECT * FROM t WHERE id = 1", true],
    ["DELETE FROM t WHERE CURRENT OF c", true],
  ])("%s: %s", (text, where) => {
    expect(one(text).where).toBe(where);
  });
});
