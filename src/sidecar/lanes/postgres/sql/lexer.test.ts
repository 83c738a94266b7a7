import * as fc from "fast-check";
import { loadModule, scanSync } from "libpg-query";
import { beforeAll, describe, expect, test } from "vitest";
import { type TokenKind, tokensOf } from "./lexer.ts";

beforeAll(() => loadModule());

/** SCONST, USCONST, BCONST, XCONST and SQL_COMMENT, C_COMMENT of PostgreSQL 18's grammar. */
const LITERALS = new Set([261, 262, 263, 264]);
const COMMENTS = new Set([275, 276]);

interface Cut {
  readonly what: "literal" | "comment";
  readonly start: number;
  readonly end: number;
}

/** Where PostgreSQL's own scanner finds literals and comments; null: it does not accept the text. Texts are ASCII. */
function theirs(text: string): readonly Cut[] | null {
  try {
    return scanSync(text).tokens.flatMap(({ tokenType, start, end }): Cut[] => {
      if (LITERALS.has(tokenType)) return [{ what: "literal", start, end }];
      return COMMENTS.has(tokenType) ? [{ what: "comment", start, end }] : [];
    });
  } catch {
    return null;
  }
}

const WHAT: Partial<Record<TokenKind, Cut["what"]>> = { string: "literal", special: "literal", comment: "comment" };

function ours(text: string): { readonly cuts: readonly Cut[]; readonly whole: boolean } {
  const { tokens, whole } = tokensOf(text);
  const cuts = tokens.flatMap(({ kind, start, end }): Cut[] => {
    const what = WHAT[kind];
    return what === undefined ? [] : [{ what, start, end }];
  });
  return { cuts, whole };
}

/**
 * Where the two differ. libpg_query's scanner shows the parts of a literal that goes on behind a line comment, and the comment, each for
 * itself; PostgreSQL's takes them for one literal, and so do we.
 */
function apart(mine: readonly Cut[], others: readonly Cut[]): readonly string[] {
  const differences: string[] = [];
  let at = 0;
  for (const cut of mine) {
    const inside: Cut[] = [];
    for (let o = others[at]; o !== undefined && o.end <= cut.end; o = others[++at]) inside.push(o);
    const [first] = inside;
    const last = inside.at(-1);
    if (first?.start !== cut.start || last?.end !== cut.end || first.what !== cut.what || last.what !== cut.what)
      differences.push(JSON.stringify({ cut, inside }));
    if (inside.length > 1 && cut.what === "comment") differences.push("a comment in two");
  }
  return at === others.length ? differences : [...differences, JSON.stringify(others.slice(at))];
}

/**
 * A literal with escapes that goes on behind a line comment. libpg_query's scanner has forgotten the E by then, and reads the rest
 * without escapes: it cannot say where PostgreSQL ends it. (As a statement it is a syntax error to the parser, so nothing rests on it.)
 */
function isForgotten(text: string, cuts: readonly Cut[]): boolean {
  return cuts.some(({ start, end }) => /^e'[^]*--[^\n\r]*[\n\r][^]*\\/i.test(text.slice(start, end)));
}

/** What gives lexers trouble, to be put together in any order. */
const PIECES = [
  "'",
  "''",
  '"',
  '""',
  "\\",
  "\\'",
  "$",
  "$$",
  "$a$",
  "$1",
  "--",
  "/*",
  "*/",
  "\n",
  "\r",
  " ",
  "\t",
  "\f",
  "e'",
  "E'",
  "b'",
  "x'",
  "N'",
  "U&'",
  'u&"',
  "u&",
  "UESCAPE",
  "a",
  "e",
  "ab$c",
  "1",
  "1.5",
  ".5",
  "1e5",
  "1.",
  "..",
  "+",
  "-",
  "*",
  "/",
  "&",
  "|",
  "<",
  "=",
  ":",
  "::",
  ":=",
  ";",
  ",",
  "(",
  ")",
  "[",
  "]",
  "@",
  "select",
  "'x'",
  "'\n'",
  "' -- c\n'",
  "_",
  "0",
  "$_$",
] as const;

describe("where literals and comments begin and end", () => {
  test.each([
    ["SELECT 'a''b', E'a\\'b', $$it's$$, $t$ $$ $t$, B'01', X'1F', U&'\\0041', N'n'"],
    ["SELECT 'a'\n  'b' -- c\n 'd'"],
    ["SELECT 'a' -- c\n -- d\n 'b', 'c' 'd'"],
    ["/* a /* b */ c */ SELECT a--b\n+ 1"],
    ['SELECT "a""b", u&"x" uescape \'!\', a$b$c'],
    ["SELECT 1-- '\r'x'"],
    ["SELECT '-- no comment', \"/* nor this */\""],
    ["SELECT e'\\\\', E'\\''"],
    ["SELECT 1 <-- 2 '\n"],
    ["SELECT a*/* 'x' */b"],
  ])("%s: as PostgreSQL's scanner", (text) => {
    expect(theirs(text)).not.toBeNull();
    expect(ours(text).whole).toBe(true);
    expect(apart(ours(text).cuts, theirs(text) ?? [])).toEqual([]);
  });

  test("any text that PostgreSQL's scanner accepts is cut at the same places, or not to its end", () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }), (pieces) => {
        const text = pieces.join("");
        const expected = theirs(text);
        if (expected === null) return;
        const { cuts, whole } = ours(text);
        if (!whole || isForgotten(text, cuts)) return;
        compared++;
        expect(apart(cuts, expected)).toEqual([]);
      }),
      { numRuns: 20_000, examples: [[["E'", "' -- c\n'", "\\'", "--", "'"]]] },
    );
    expect(compared).toBeGreaterThan(3000);
  });

  test("what is not sure ends the tokens", () => {
    for (const text of [
      "SELECT 'a",
      'SELECT "a',
      "SELECT /* a",
      "SELECT $$a",
      "SELECT e'a\\'",
      "SELECT 1a",
      "SELECT $1a",
      "\u0000",
      "a \\ b",
    ])
      expect(tokensOf(text).whole, text).toBe(false);
  });

  test("a long text of one kind is cut in linear time", () => {
    const n = 100_000;
    for (const piece of [
      "' ",
      "'\n",
      "'--\n",
      "'a'\n",
      "$a",
      "$a$",
      "/*",
      "--",
      '"',
      "e'\\'",
      "\n",
      "-- ",
      "'a' -- -- --",
      "1",
      ".",
      "'a'\n--\n",
    ])
      expect(tokensOf(piece.repeat(n)).tokens.length, piece).toBeGreaterThanOrEqual(0);
  }, 20_000);
});
