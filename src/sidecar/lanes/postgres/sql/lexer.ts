/**
 * PostgreSQL's lexical structure (manual, section 4.1, with standard_conforming_strings on), as far as is needed to know where each
 * literal begins and ends. The parser does the understanding; this is for cutting literals out of a text.
 *
 * Where it is not sure, it says so: `whole` is false, and the tokens end there.
 */

export type TokenKind =
  /** An unquoted word, a keyword or a name. */
  | "word"
  /** `"name"`, `U&"name"` */
  | "quoted"
  /** `'text'` without backslash and continuation */
  | "string"
  /** `E'…'`, `B'…'`, `X'…'`, `U&'…'`, `$$…$$`, and a string that goes on in the next line */
  | "special"
  | "number"
  /** `$1` */
  | "parameter"
  | "comment"
  | "blank"
  /** An operator, or a single character */
  | "sign";

export interface Token {
  readonly kind: TokenKind;
  /** Indices in the text, end exclusive. */
  readonly start: number;
  readonly end: number;
}

export interface Tokens {
  readonly tokens: readonly Token[];
  readonly whole: boolean;
}

/** Sticky expressions, one a token; at each position at most one way to go on, so none takes more than linear time. */
const BLANK = /[ \t\n\r\f]+/y;
const LINE_COMMENT = /--[^\n\r]*/y;
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const PARAMETER = /\$\d+/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const OPERATOR = /[~!@#^&|`?+\-*/%<>=]/y;
const PLAIN_REST = /[^']*'/y;
const ESCAPED_REST = /(?:[^'\\]|\\[^])*'/y;
const QUOTED_REST = /[^"]*"/y;
/** Between two parts of one literal: blanks and line comments with at least one line end. */
const CONTINUED = /(?:[ \t\f]|--[^\n\r]*(?=[\n\r]))*[\n\r](?:[ \t\n\r\f]|--[^\n\r]*[\n\r])*'/y;

function match(expression: RegExp, text: string, at: number): number {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : -1;
}

/** End of a quoted thing whose opening quote is at `at`; doubled quotes stand for one. -1: it does not end. */
function quotedEnd(text: string, at: number, rest: RegExp, quote: string): number {
  let end = match(rest, text, at + 1);
  while (end !== -1 && text[end] === quote) end = match(rest, text, end + 1);
  return end;
}

function stringEnd(text: string, at: number, escaped: boolean): { readonly end: number; readonly continued: boolean } {
  const rest = escaped ? ESCAPED_REST : PLAIN_REST;
  let end = quotedEnd(text, at, rest, "'");
  let continued = false;
  for (;;) {
    const next = end === -1 ? -1 : match(CONTINUED, text, end);
    if (next === -1) return { end, continued };
    continued = true;
    end = quotedEnd(text, next - 1, rest, "'");
  }
}

function commentEnd(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; ) {
    if (text.startsWith("/*", i)) depth++;
    else if (text.startsWith("*/", i)) depth--;
    else {
      i++;
      continue;
    }
    i += 2;
    if (depth === 0) return i;
  }
  return -1;
}

function dollarEnd(text: string, at: number): number {
  const opened = match(DOLLAR_TAG, text, at);
  if (opened === -1) return -1;
  const tag = text.slice(at, opened);
  const close = text.indexOf(tag, opened);
  return close === -1 ? -1 : close + tag.length;
}

/** Prefixes of a string, in lower case. */
const PREFIXES: Readonly<Record<string, { readonly escaped: boolean }>> = {
  e: { escaped: true },
  b: { escaped: false },
  x: { escaped: false },
};

function wordToken(text: string, start: number): Token | null {
  const prefix = PREFIXES[(text[start] ?? "").toLowerCase()];
  if (prefix !== undefined && text[start + 1] === "'") {
    const { end } = stringEnd(text, start + 1, prefix.escaped);
    return end === -1 ? null : { kind: "special", start, end };
  }
  if ((text[start] === "u" || text[start] === "U") && text[start + 1] === "&") {
    if (text[start + 2] === "'") {
      const { end } = stringEnd(text, start + 2, false);
      return end === -1 ? null : { kind: "special", start, end };
    }
    if (text[start + 2] === '"') return quotedToken(text, start, start + 2);
  }
  return { kind: "word", start, end: match(WORD, text, start) };
}

function quotedToken(text: string, start: number, quote: number): Token | null {
  const end = quotedEnd(text, quote, QUOTED_REST, '"');
  return end === -1 ? null : { kind: "quoted", start, end };
}

function operatorEnd(text: string, start: number): number {
  let end = start;
  while (match(OPERATOR, text, end) !== -1 && !text.startsWith("--", end) && !text.startsWith("/*", end)) end++;
  return Math.max(end, start + 1);
}

function tokenAt(text: string, start: number): Token | null {
  const simple: readonly [TokenKind, RegExp][] = [
    ["blank", BLANK],
    ["comment", LINE_COMMENT],
    ["number", NUMBER],
    ["parameter", PARAMETER],
  ];
  const c = text[start] ?? "";
  if (match(WORD, text, start) !== -1) return wordToken(text, start);
  for (const [kind, expression] of simple) {
    const end = match(expression, text, start);
    if (end === -1) continue;
    // `1a`, `$1a`: an error to new servers, two tokens to old ones
    if (kind !== "blank" && kind !== "comment" && match(WORD, text, end) !== -1) return null;
    return { kind, start, end };
  }
  if (c === "'") {
    const { end, continued } = stringEnd(text, start, false);
    return end === -1 ? null : { kind: continued ? "special" : "string", start, end };
  }
  if (c === '"') return quotedToken(text, start, start);
  if (c === "$") {
    const end = dollarEnd(text, start);
    return end === -1 ? null : { kind: "special", start, end };
  }
  if (text.startsWith("/*", start)) {
    const end = commentEnd(text, start);
    return end === -1 ? null : { kind: "comment", start, end };
  }
  if (match(OPERATOR, text, start) !== -1) return { kind: "sign", start, end: operatorEnd(text, start) };
  return "()[],;:.".includes(c) ? { kind: "sign", start, end: start + 1 } : null;
}

/** In one pass over the text; tokens cover it without gaps as far as they go. */
export function tokensOf(text: string): Tokens {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; ) {
    const token = tokenAt(text, at);
    if (token === null) return { tokens, whole: false };
    tokens.push(token);
    at = token.end;
  }
  return { tokens, whole: true };
}
