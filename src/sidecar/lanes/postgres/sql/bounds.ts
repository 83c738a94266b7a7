/**
 * What it may cost to read one text: PostgreSQL's parser runs on the event loop, so while it reads, every connection of the pod waits.
 * Both bounds are found in one pass over the text, before the parser sees it; what is above them was not understood.
 *
 * Tokens: parser, tree and walk take up to 3 µs for each. Comparisons: PostgreSQL's scanner takes a run of operator characters as a
 * whole and gives back what it does not need (scan.l: `operator`, `xcstart`), so that a comment that stands directly behind another
 * one is read again with each: quadratic, a minute for 250 KiB of empty comments.
 */
import { tokenAt } from "./lexer.ts";

/** Without blanks. A text without more characters than this cannot have more, and is not counted. */
export const MAX_TOKENS = 8_192;
/** About 4 ns each. */
const MAX_COMPARISONS = 2_000_000;

const SLASH = 0x2f;
const STAR = 0x2a;
const PLUS = 0x2b;
const MINUS = 0x2d;
const IS_OPERATOR: readonly boolean[] = Array.from({ length: 128 }, (_, code) =>
  "~!@#^&|`?+-*/%<>=".includes(String.fromCharCode(code)),
);

/** Null: it can be read. Else the doubt that it leaves. */
export function excessOf(text: string): string | null {
  if (comparisonsIn(text) > MAX_COMPARISONS) return "its comments and operators take too long to read";
  return text.length > MAX_TOKENS && hasMoreTokens(text, MAX_TOKENS) ? "it has too many tokens to read" : null;
}

/** False also where the lexer is not sure: the parser's scanner does not accept such a text, and stops at the same place. */
function hasMoreTokens(text: string, bound: number): boolean {
  let count = 0;
  for (let at = 0; at < text.length; ) {
    const token = tokenAt(text, at);
    if (token === null) return false;
    if (token.kind !== "blank" && ++count > bound) return true;
    at = token.end;
  }
  return false;
}

/**
 * At most so many characters are looked at while runs of operator characters are scanned, wherever they stand: in each run a token can
 * begin anew only at its first character, at a comment's, and at a plus or a minus, which no operator of SQL's own ends with.
 */
function comparisonsIn(text: string): number {
  const { length } = text;
  let sum = 0;
  for (let at = 0; at < length; at++) {
    if (IS_OPERATOR[text.charCodeAt(at)] !== true) continue;
    const from = at;
    let begins = 1;
    for (; at < length; at++) {
      const c = text.charCodeAt(at);
      if (IS_OPERATOR[c] !== true) break;
      if (c !== SLASH && c !== PLUS && c !== MINUS) continue;
      const next = text.charCodeAt(at + 1);
      if (c === PLUS || (c === SLASH && next === STAR) || (c === MINUS && next !== MINUS)) begins++;
    }
    sum += begins * (at - from);
  }
  return sum;
}
