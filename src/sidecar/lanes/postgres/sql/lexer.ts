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

/** First characters of what is neither a word nor a number, by character code. */
const DIGIT = /[0-9]/;
const SINGLE = "()[],;:.";
const WORD_START = /[A-Za-z_]/;

type Begins = "word" | "blank" | "number" | "string" | "quoted" | "dollar" | "operator" | "single" | "none";

function begins(c: string): Begins {
  if (WORD_START.test(c)) return "word";
  if (DIGIT.test(c)) return "number";
  if (" \t\n\r\f".includes(c)) return "blank";
  if (c === "'") return "string";
  if (c === '"') return "quoted";
  if (c === "$") return "dollar";
  if ("~!@#^&|`?+-*/%<>=".includes(c)) return "operator";
  return SINGLE.includes(c) ? "single" : "none";
}

const BEGINS: readonly Begins[] = Array.from({ length: 128 }, (_, code) => begins(String.fromCharCode(code)));

/** `1a`, `$1a`: an error to new servers, two tokens to old ones. */
function numeric(kind: "number" | "parameter", expression: RegExp, text: string, start: number): Token | null {
  const end = match(expression, text, start);
  return end === -1 || match(WORD, text, end) !== -1 ? null : { kind, start, end };
}

/** The token at an index of the text; null: nobody can be sure of it. */
export function tokenAt(text: string, start: number): Token | null {
  const code = text.charCodeAt(start);
  switch (code > 0x7f ? "word" : (BEGINS[code] ?? "none")) {
    case "word":
      return wordToken(text, start);
    case "blank":
      return { kind: "blank", start, end: match(BLANK, text, start) };
    case "number":
      return numeric("number", NUMBER, text, start);
    case "string": {
      const { end, continued } = stringEnd(text, start, false);
      return end === -1 ? null : { kind: continued ? "special" : "string", start, end };
    }
    case "quoted":
      return quotedToken(text, start, start);
    case "dollar":
      return dollarToken(text, start);
    case "operator":
      return operatorToken(text, start);
    case "single":
      if (text[start] === "." && DIGIT.test(text[start + 1] ?? "")) return numeric("number", NUMBER, text, start);
      return { kind: "sign", start, end: start + 1 };
    default:
      return null;
  }
}

function dollarToken(text: string, start: number): Token | null {
  if (DIGIT.test(text[start + 1] ?? "")) return numeric("parameter", PARAMETER, text, start);
  const end = dollarEnd(text, start);
  return end === -1 ? null : { kind: "special", start, end };
}

function operatorToken(text: string, start: number): Token | null {
  if (text.startsWith("--", start)) return { kind: "comment", start, end: match(LINE_COMMENT, text, start) };
  if (!text.startsWith("/*", start)) return { kind: "sign", start, end: operatorEnd(text, start) };
  const end = commentEnd(text, start);
  return end === -1 ? null : { kind: "comment", start, end };
}

/**
 * In one pass over the text; tokens cover it without gaps as far as they go. `until`: to the end of the token that stands there, at
 * most: what comes behind is not looked at.
 */
export function tokensOf(text: string, until = text.length): Tokens {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length && at < until; ) {
    const token = tokenAt(text, at);
    if (token === null) return { tokens, whole: false };
    tokens.push(token);
    at = token.end;
  }
  return { tokens, whole: true };
}
