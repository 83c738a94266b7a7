import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokensOf } from "./lexer.ts";
import { redactAlike, redactSql } from "./redact.ts";
import { templateOf } from "./template.ts";

/** Stands for a secret; no rule knows it by its looks. */
const SECRET = "Zebra7";

describe("what a record shows of a text", () => {
  test.each([
    ["a role's password", `ALTER ROLE a PASSWORD '${SECRET}'`],
    ["a new role's", `CREATE USER a WITH LOGIN ENCRYPTED PASSWORD '${SECRET}' VALID UNTIL 'tomorrow'`],
    ["between comments", `ALTER ROLE a PASSWORD/* x */ -- y\n'${SECRET}'`],
    ["as an escape string", `ALTER ROLE a PASSWORD E'${SECRET}\\''`],
    ["as a Unicode string", `ALTER ROLE a PASSWORD U&'${SECRET}'`],
    ["in dollar quotes", `ALTER ROLE a PASSWORD $x$${SECRET}$x$`],
    ["over two lines", `ALTER ROLE a PASSWORD 'x'\n '${SECRET}'`],
    ["a user mapping's", `CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', password '${SECRET}')`],
    [
      "a user mapping's, changed",
      `ALTER USER MAPPING FOR a SERVER s OPTIONS (SET password '${SECRET}', ADD sslkey '${SECRET}')`,
    ],
    ["a subscription's address", `CREATE SUBSCRIPTION s CONNECTION 'host=h ${SECRET}' PUBLICATION p`],
    ["an address in dblink", `SELECT * FROM dblink('host=h pw=${SECRET}', 'SELECT 1') AS t(a int)`],
    ["a later argument of dblink", `SELECT dblink_exec('c', 'ALTER ROLE a PASSWORD ''${SECRET}''')`],
    ["an argument in an argument", `SELECT crypt(lower('${SECRET}'), gen_salt('bf'))`],
    ["a key of encryption", `SELECT pgp_sym_encrypt(email, '${SECRET}') FROM t`],
    ["a column that is called so", `SELECT * FROM t WHERE api_key = '${SECRET}'`],
    ["a quoted column", `UPDATE t SET "Password" = '${SECRET}' WHERE id = 1`],
    ["a column compared in words", `SELECT * FROM t WHERE token LIKE '${SECRET}%'`],
    ["a column in a list", `SELECT * FROM t WHERE secret IN ('x', '${SECRET}')`],
    ["a row that is inserted", `INSERT INTO users (name, password) VALUES ('a', '${SECRET}'), ('b', '${SECRET}')`],
    ["a setting", `SET app.jwt_secret = '${SECRET}'`],
    ["a setting by function", `SELECT set_config('app.x', '${SECRET}', false)`],
    ["an address with a password in it", `SELECT 'postgres://u:${SECRET}@h/db'`],
    ["in a block", `DO $$ BEGIN ALTER ROLE a PASSWORD '${SECRET}'; END $$`],
    ["in a string in a block", `DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''${SECRET}'''; END $$`],
    ["in a block in a string", `DO 'BEGIN ALTER ROLE a PASSWORD ''${SECRET}''; END'`],
    ["in a comment", `SELECT 1 -- password: ${SECRET}`],
    ["SQL that runs SQL", `SELECT query_to_xml('SELECT ''${SECRET}''', true, true, '')`],
  ])("not %s", (_, text) => {
    expect(redactSql(text, true)).not.toContain(SECRET);
    expect(redactSql(text, false)).not.toContain(SECRET);
  });

  test.each([
    ["AWS", `AKIA${"Q".repeat(16)}`],
    ["GitHub", `ghp_${"q".repeat(36)}`],
    ["a JWT", `eyJ${"q".repeat(20)}.e.s`],
    ["a private key", "-----BEGIN PRIVATE KEY-----"],
    ["a verifier", "SCRAM-SHA-256$4096:x$y:z"],
    ["an MD5 verifier", `md5${"0".repeat(32)}`],
    ["anything long and random", "q9".repeat(20)],
  ])("not a literal that looks like a key: %s", (_, key) => {
    expect(redactSql(`SELECT * FROM t WHERE a = '${key}'`, true)).toBe("SELECT * FROM t WHERE a = '[redacted]'");
  });

  test("everything else of it, so that a reviewer can read what was asked", () => {
    for (const text of [
      "SELECT id, name FROM users WHERE country = 'CH' AND age > 17 -- by the week\nLIMIT 5",
      "DO $$ BEGIN DELETE FROM orders; END $$",
      "UPDATE t SET note = 'it''s', n = 5 /* why */ WHERE id = $1",
      "ALTER ROLE a VALID UNTIL 'tomorrow'",
    ])
      expect(redactSql(text, true)).toBe(text);
  });

  test("no literal at all of what was not understood, and nothing behind what is not sure", () => {
    expect(redactSql("DROP 'a' THE 5 $$b$$ -- c", false)).toBe(
      "DROP '[redacted]' THE '[redacted]' '[redacted]' /* [redacted] */",
    );
    expect(redactSql(`SELECT 'a ${SECRET}`, true)).toBe("SELECT [redacted]");
    expect(redactSql(`SELECT 1 /* ${SECRET}`, false)).not.toContain(SECRET);
    expect(redactSql(`\\connect ${SECRET}`, false)).not.toContain(SECRET);
  });

  test("no literal of what was not understood, whatever it is put together from", () => {
    const piece = fc.constantFrom(
      "SELECT",
      "'",
      "''",
      '"',
      "$$",
      "--",
      "/*",
      "*/",
      "\n",
      " ",
      ";",
      "(",
      "a",
      "1",
      "\\",
      "E'",
      "U&'",
      "$a$",
      "'x'",
      "=",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 16 }), (pieces) => {
        const shown = redactSql(pieces.join(""), false);
        const { tokens } = tokensOf(shown);
        for (const t of tokens.filter((x) => x.kind === "string" || x.kind === "special"))
          expect(shown.slice(t.start, t.end).replaceAll("'[redacted]'", "").trim()).toBe("");
      }),
      { numRuns: 5000 },
    );
  });

  test("bodies in bodies are followed as deep as people write them, and cut behind that", () => {
    const nested = (n: number, inside: string): string => {
      const tags = Array.from({ length: n }, (_, i) => `$a${i}$`);
      return `DO ${tags.join(" ")} ${inside} ${tags.toReversed().join(" ")}`;
    };
    expect(redactSql(nested(2, `ALTER ROLE a PASSWORD '${SECRET}'`), true)).toBe(
      nested(2, "ALTER ROLE a PASSWORD '[redacted]'"),
    );
    for (const levels of [2, 3, 4, 5, 6, 2_000, 20_000])
      expect(redactSql(nested(levels, `ALTER ROLE a PASSWORD '${SECRET}'`), true)).not.toContain(SECRET);
  });

  test("of a long text the beginning, and nothing of a literal that goes on behind it", () => {
    const long = `SELECT ${"a, ".repeat(6_000)}'x'`;
    expect(long.startsWith(redactSql(long, true))).toBe(true);
    expect(redactSql(long, true).length).toBeLessThan(17_000);
    const literal = `SELECT ${"a, ".repeat(5_455)}'${"x".repeat(40)} postgres://u:${SECRET}@h/db', 1`;
    expect(redactSql(literal, true)).not.toContain(SECRET);
  });

  test("a hostile text in linear time", () => {
    for (const piece of ["'://a:", "eyJ-", "password(", "'x',", "$$'", "(", "insert token "])
      redactSql(piece.repeat(20_000), true);
    for (const inside of ["://a:", "eyJ-", "AKIA", "sk-", "md5", "-----BEGI"])
      redactSql(`SELECT '${inside.repeat(30_000)}'`, true);
  }, 20_000);
});

test("what is known of one text's literals gives for every other text of its template what that text alone gives", () => {
  const value = fc.oneof(
    fc.constantFrom(
      "'a'",
      "''",
      "'it''s'",
      "'postgres://u:Zebra7@h/db'",
      "'password'",
      `'ghp_${"q".repeat(36)}'`,
      "','",
      "'('",
    ),
    fc.integer({ min: 0, max: 999_999 }).map(String),
    fc.constantFrom("1.5", "12345.678"),
    fc.stringMatching(/^[a-z_ =:,()]{0,12}$/).map((text) => `'${text}'`),
  );
  const form = fc.constantFrom(
    "SELECT abalance FROM pgbench_accounts WHERE aid = ?;",
    "SELECT ?, a, ? FROM t WHERE pin = ? AND b = ?",
    "INSERT INTO users (name, password) VALUES (?, ?), (?, ?)",
    "INSERT INTO t (a, b) VALUES (?, ?)",
    'UPDATE t SET "Password" = ?, n = ? WHERE id = ?',
    "SELECT * FROM t WHERE secret IN (?, ?) OR x IN (?, ?)",
    "SELECT crypt(?, gen_salt(?)), ?",
    "SELECT * FROM t WHERE token LIKE ? AND a = ?",
    "SELECT $1, ? FROM t WHERE a = -?",
  );
  const filled = (text: string, values: readonly string[]): string => {
    let i = 0;
    return text.replaceAll("?", () => values[i++ % values.length] ?? "1");
  };
  const values = fc.array(value, { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(form, values, values, (text, one, other) => {
      const texts = [filled(text, one), filled(text, other)];
      const templates = texts.map(templateOf);
      fc.pre(templates[0]?.key !== undefined && templates[0]?.key === templates[1]?.key);
      const shape = { secrets: undefined };
      for (const [i, each] of texts.entries())
        expect(redactAlike(each, templates[i]?.cuts ?? [], shape)).toBe(redactSql(each, true));
    }),
    { numRuns: 2_000 },
  );
});
