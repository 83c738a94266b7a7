import { loadModule, parseSync } from "libpg-query";
import { beforeAll, describe, expect, test } from "vitest";
import { createParser, type Parser } from "./parser.ts";
import { readParserFile } from "./parser-file.ts";

let parser: Parser;
let file: Uint8Array;
beforeAll(async () => {
  await loadModule();
  file = await readParserFile();
  parser = createParser(file);
});

const bytes = (text: string): Uint8Array => Buffer.from(text, "utf8");

function tree(text: string): unknown {
  const parsed = parser.parse(bytes(text));
  return parsed.ok ? (JSON.parse(parsed.json) as unknown) : parsed;
}

describe("PostgreSQL's parser without its glue", () => {
  test.each([
    ["SELECT 1"],
    ["SELECT 'Grüße, 世界 🙂' AS \"ünïcode\", U&'\\0041', E'a\\nb\\x41', $t$it's$t$, X'1F'"],
    ["INSERT INTO t VALUES (1, 'a'), (2, NULL) ON CONFLICT DO NOTHING; DELETE FROM t WHERE a = $1"],
    ['SELECT "a""b\\c\td", \'\u0001\u001f\u007f"\\\''],
    ["CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END"],
  ])("gives the tree that the package itself gives: %s", (text) => {
    expect(tree(text)).toEqual(parseSync(text));
  });

  test("says where a text stops being SQL", () => {
    expect(parser.parse(bytes("SELECT FROM WHERE x"))).toEqual({
      ok: false,
      kind: "syntax",
      message: 'syntax error at or near "WHERE"',
      at: 12,
    });
  });

  test("reads the next text as if nothing had been, after one that was too deep for it", () => {
    let faults = 0;
    for (const text of [
      `SELECT ${"(SELECT ".repeat(4000)}1${")".repeat(4000)}`,
      `SELECT 1${"::int".repeat(20_000)}`,
      `SELECT ${"1+".repeat(60_000)}1`,
      `SELECT 1 ${"UNION ALL SELECT 1 ".repeat(12_000)}`,
    ]) {
      if (!parser.parse(bytes(text)).ok) faults++;
      expect(tree("SELECT 1")).toEqual(parseSync("SELECT 1"));
    }
    expect(faults).toBeGreaterThan(0);
  });

  test("does not end a text at a NUL", () => {
    expect(() => parser.parse(bytes("SELECT 1\u0000; DROP TABLE t"))).toThrow(TypeError);
  });

  test("takes bytes that are no UTF-8 for no SQL, or shows them as they are never again", () => {
    for (const odd of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80]])
      expect(parser.parse(Buffer.concat([bytes("SELECT '"), Buffer.from(odd), bytes("'")])).ok).toBe(false);
  });

  test("keeps to its memory however often it is asked", () => {
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 20_000; i++) parser.parse(bytes(`SELECT a${i} FROM t WHERE b = '${i}' AND (`));
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  });

  test("is refused when it is another build", () => {
    expect(() => createParser(file.subarray(1))).toThrow(/not the expected build/);
    expect(() => createParser(new Uint8Array(8))).toThrow(/not the expected build/);
  });
});
