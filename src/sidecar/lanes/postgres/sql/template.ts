/**
 * Texts that differ only in their literals share one reading. `templateOf` cuts plain numbers and plain strings out of a text; what is
 * left, with a mark for each, is the key.
 *
 * Two texts with one key give PostgreSQL's parser the same tokens but for the values of those literals, so they parse to the same tree
 * but for those values. That holds because everything unusual has no template: a comment, a backslash, a prefixed, dollar-quoted or
 * continued string, a number that is not plain, a second statement. Whether a *value* decides something is the reader's to say: it
 * keeps a template only if every literal that was cut stood where any other would have read the same (reader.ts).
 */

export interface Template {
  readonly key: string;
  /** Indices in the text at which a literal was cut and goes on behind it, in turn, rising. */
  readonly cuts: readonly number[];
  /** Index of the semicolon that ends the statement; -1: none. */
  readonly semicolon: number;
}

/** Longer texts are seldom sent again, whatever their literals. */
export const MAX_TEMPLATE_CHARS = 8192;

/** A control character, which can stand nowhere else in a text that has a template. */
const STRING_MARK = "\u0001s";
const INTEGER_MARK = "\u0001i";
const DECIMAL_MARK = "\u0001d";
/** More digits may be another kind of token. */
const MAX_DIGITS = 9;

const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const DOLLAR = 0x24;
const DOT = 0x2e;
const MINUS = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;
const AMPERSAND = 0x26;

const isBlank = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;
const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isWord = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || c === 0x5f || isDigit(c) || c === DOLLAR;

/** End of the plain string that opens at `at`; -1: not plain, or it does not end. */
function stringEnd(text: string, at: number): number {
  let i = at + 1;
  for (;;) {
    const c = text.charCodeAt(i);
    if (Number.isNaN(c) || c < 0x20 || c === BACKSLASH || c === 0xfffd || (c >= 0xd800 && c <= 0xdfff)) return -1;
    if (c !== QUOTE) i++;
    else if (text.charCodeAt(i + 1) === QUOTE) i += 2;
    else break;
  }
  // a quote after blanks would go on with the same literal
  let next = i + 1;
  while (isBlank(text.charCodeAt(next))) next++;
  return text.charCodeAt(next) === QUOTE ? -1 : i + 1;
}

function quotedNameEnd(text: string, at: number): number {
  for (let i = at + 1; ; i++) {
    const c = text.charCodeAt(i);
    if (Number.isNaN(c) || c < 0x20 || c > 0x7e) return -1;
    if (c === DOUBLE_QUOTE) return text.charCodeAt(i + 1) === DOUBLE_QUOTE ? -1 : i + 1;
  }
}

/** End of digits; what follows must not go on with them. */
function digitsEnd(text: string, at: number): number {
  let i = at;
  while (isDigit(text.charCodeAt(i))) i++;
  return i;
}

function numberEnd(text: string, at: number): { readonly end: number; readonly mark: string } | null {
  const whole = digitsEnd(text, at);
  let end = whole;
  let mark = INTEGER_MARK;
  if (text.charCodeAt(whole) === DOT) {
    end = digitsEnd(text, whole + 1);
    if (end === whole + 1) return null;
    mark = DECIMAL_MARK;
  }
  const after = text.charCodeAt(end);
  if (isWord(after) || after === DOT || after > 0x7e || end - at > MAX_DIGITS) return null;
  return { end, mark };
}

/** Null: the text has no template, and is known by all of its characters only. */
export function templateOf(text: string): Template | null {
  if (text.length > MAX_TEMPLATE_CHARS) return null;
  const cuts: number[] = [];
  let key = "";
  let kept = 0;
  let semicolon = -1;
  let before = 0x20;
  for (let i = 0; i < text.length; ) {
    const c = text.charCodeAt(i);
    if (semicolon !== -1 && !isBlank(c)) return null;
    let end = i + 1;
    let mark: string | null = null;
    if (isDigit(c)) {
      const number = numberEnd(text, i);
      if (number === null) return null;
      ({ end, mark } = number);
    } else if (c === DOLLAR) {
      end = digitsEnd(text, i + 1);
      if (end === i + 1 || isWord(text.charCodeAt(end)) || text.charCodeAt(end) > 0x7e) return null;
    } else if (isWord(c)) {
      while (isWord(text.charCodeAt(end))) end++;
      if (text.charCodeAt(end) > 0x7e) return null;
    } else if (c === QUOTE) {
      if (isWord(before) || before === AMPERSAND) return null;
      end = stringEnd(text, i);
      if (end === -1) return null;
      mark = STRING_MARK;
    } else if (c === DOUBLE_QUOTE) {
      if (before === AMPERSAND) return null;
      end = quotedNameEnd(text, i);
      if (end === -1) return null;
    } else if (c === SEMICOLON) semicolon = i;
    else if (c > 0x7e || c === BACKSLASH || (c < 0x20 && !isBlank(c))) return null;
    else if (c === DOT && isDigit(text.charCodeAt(end))) return null;
    else if (c === MINUS && text.charCodeAt(end) === MINUS) return null;
    else if (c === SLASH && text.charCodeAt(end) === STAR) return null;
    if (mark !== null) {
      cuts.push(i, end);
      key += text.slice(kept, i) + mark;
      kept = end;
    }
    before = text.charCodeAt(end - 1);
    i = end;
  }
  return { key: key + text.slice(kept), cuts, semicolon };
}
