/**
 * The long texts that ORMs send are lists: rows behind VALUES, values behind IN, elements of ARRAY. What such a text does is said by
 * one item of each form, so the others are left out before PostgreSQL's parser sees it.
 *
 *   INSERT INTO t VALUES (1, 'a', now()), (2, NULL, now()), …  ─▶  INSERT INTO t VALUES (0, 0, now())
 *
 * Why that reads alike: PostgreSQL's grammar has these lists as left recursion, so behind any number of items its parser is where it
 * was behind the first one; and a reading is made of sets (tables, columns, functions, doubts), which an item that differs only in
 * literals adds nothing to. That a literal decides nothing is the reader's to say: `literals` are those that were put in the place of
 * others, and each must have been found free. What the server would not parse it does not run.
 *
 * Fails towards the whole text: null.
 */
import { type Token, tokenAt } from "./lexer.ts";

export interface Condensed {
  readonly text: string;
  /** Indices in it. */
  readonly literals: readonly number[];
  /** Index in the whole text of the semicolon that ends the statement; -1: none. */
  readonly semicolon: number;
}

/** A longer rest is not worth it. */
const MAX_CONDENSED = 16_384;
/** Blanks are some, too; about 0.1 µs each. 1,000 rows of 20 parameters with a cast are 220,000. */
const MAX_LIST_TOKENS = 250_000;
/** Lists in lists. */
const MAX_DEPTH = 8;
const CONSTANTS = /^(null|true|false|default)$/i;

export function condensed(text: string): Condensed | null {
  const condenser = new Condenser(text);
  try {
    return condenser.whole();
  } catch (cause) {
    if (cause === GIVEN_UP) return null;
    throw cause;
  }
}

const GIVEN_UP: unique symbol = Symbol("given up");

class Condenser {
  readonly #text: string;
  #at = 0;
  #taken = 0;
  #out = "";
  readonly #literals: number[] = [];
  #omitted = false;
  #semicolon = -1;
  /** The token before, without blanks; and the one before that. */
  #last = "";
  #before = "";

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Condensed | null {
    while (this.#at < this.#text.length) {
      const token = this.#next();
      if (this.#semicolon !== -1 && token.kind !== "blank") return null;
      if (this.#is(token, ";")) this.#semicolon = token.start;
      this.#copy(token);
      if (this.#out.length > MAX_CONDENSED) return null;
      this.#list(0);
    }
    return this.#omitted ? { text: this.#out, literals: this.#literals, semicolon: this.#semicolon } : null;
  }

  /** Behind the opening sign of a list, or behind VALUES. True: the sign is closed already. */
  #list(depth: number): boolean {
    if (depth > MAX_DEPTH) throw GIVEN_UP;
    if (this.#opens("(", "in")) return this.#values(")");
    if (this.#opens("[", "array")) return this.#values("]");
    // Not `a.values(…)`, which is a call.
    if (this.#last === "values" && /^(\(|\)|["a-z_].*|)$/is.test(this.#before)) this.#rows(depth);
    return false;
  }

  #opens(sign: string, word: string): boolean {
    return this.#last === sign && this.#before === word;
  }

  /** Nothing but constants up to the closing sign: one stands for all. Anything else: as it is. */
  #values(closing: string): boolean {
    const from = this.#at;
    let count = 0;
    for (;;) {
      const behind = this.#constant();
      if (behind === null) break;
      count++;
      const token = this.#next();
      if (this.#is(token, ",")) continue;
      if (!this.#is(token, closing)) break;
      if (count > 1) this.#omitted = true;
      this.#put("0");
      this.#copy(token);
      return true;
    }
    this.#at = from;
    return false;
  }

  /** Behind VALUES: rows of the same form are one. */
  #rows(depth: number): void {
    const forms = new Set<string>();
    this.#blank();
    if (!this.#ahead("(")) return;
    for (;;) {
      const out = this.#out;
      const literals = this.#literals.length;
      if (forms.size > 0) this.#out += ",";
      const start = this.#out.length;
      this.#row(depth);
      const form = this.#out.slice(start);
      if (forms.has(form)) {
        this.#out = out;
        this.#literals.length = literals;
        this.#omitted = true;
      }
      forms.add(form);
      if (this.#out.length > MAX_CONDENSED) throw GIVEN_UP;
      const end = this.#at;
      this.#skipBlank();
      if (!this.#ahead(",")) {
        this.#at = end;
        return;
      }
      const comma = this.#at++;
      this.#skipBlank();
      if (this.#ahead("(")) continue;
      this.#at = comma;
      return;
    }
  }

  /** From its opening parenthesis to its closing one. */
  #row(depth: number): void {
    let open = 0;
    let begins = false;
    do {
      if (begins && this.#constant() !== null) {
        this.#put("0");
        begins = false;
        continue;
      }
      const token = this.#next();
      if (token.kind === "comment") throw GIVEN_UP;
      const sign = token.kind === "sign" ? this.#slice(token) : "";
      if (sign === "(" || sign === "[") open++;
      else if (sign === ")" || sign === "]") open--;
      begins = open === 1 && (sign === "(" || sign === ",");
      this.#form(token);
      if (this.#list(depth + 1)) open--;
    } while (open > 0);
  }

  /** A token within a row, without what may be different in the next one. */
  #form(token: Token): void {
    if (token.kind === "blank") this.#out += " ";
    else if (token.kind === "parameter") this.#say("$1");
    else if (isText(token, this.#text)) {
      this.#literals.push(this.#out.length);
      this.#say("''");
    } else this.#copy(token);
  }

  /** Skips an item that is a constant and nothing else: index behind it. Null, and nothing is skipped: it is something else. */
  #constant(): number | null {
    const from = this.#at;
    this.#skipBlank();
    let token = this.#next();
    if (this.#is(token, "-")) {
      this.#skipBlank();
      token = this.#next();
      if (token.kind !== "number") return this.#back(from);
    } else if (token.kind === "word") {
      if (!CONSTANTS.test(this.#slice(token))) return this.#back(from);
    } else if (token.kind !== "number" && token.kind !== "parameter" && !isText(token, this.#text))
      return this.#back(from);
    this.#skipBlank();
    return this.#ahead(",") || this.#ahead(")") || this.#ahead("]") ? this.#at : this.#back(from);
  }

  #back(to: number): null {
    this.#at = to;
    return null;
  }

  // --- tokens -------------------------------------------------------------------------------------------------------------

  #next(): Token {
    const token = this.#at < this.#text.length ? tokenAt(this.#text, this.#at) : null;
    if (token === null || ++this.#taken > MAX_LIST_TOKENS) throw GIVEN_UP;
    this.#at = token.end;
    return token;
  }

  #ahead(sign: string): boolean {
    return this.#text[this.#at] === sign;
  }

  #skipBlank(): void {
    const token = this.#at < this.#text.length ? tokenAt(this.#text, this.#at) : null;
    if (token?.kind === "blank") this.#at = token.end;
  }

  #blank(): void {
    const from = this.#at;
    this.#skipBlank();
    if (this.#at > from) this.#out += " ";
  }

  #slice({ start, end }: Token): string {
    return this.#text.slice(start, end);
  }

  #is({ kind, start, end }: Token, sign: string): boolean {
    return kind === "sign" && end - start === sign.length && this.#text.startsWith(sign, start);
  }

  // --- what is put out ------------------------------------------------------------------------------------------------------

  #copy(token: Token): void {
    const text = this.#slice(token);
    if (token.kind === "blank" || token.kind === "comment") this.#out += text;
    else this.#say(text);
  }

  #say(text: string): void {
    this.#out += text;
    this.#before = this.#last;
    this.#last = text.toLowerCase();
  }

  #put(literal: string): void {
    this.#literals.push(this.#out.length);
    this.#say(literal);
  }
}

/**
 * A string that stands for its value and nothing else: B'…' and X'…' are bits, U&'…' may have a UESCAPE behind it. One that may go on
 * behind a line comment is PostgreSQL's to read as a whole: the parser that we have takes it for two (lexer.test.ts).
 */
function isText({ kind, start, end }: Token, text: string): boolean {
  if (kind === "string") return true;
  return kind === "special" && /[eE']/.test(text[start] ?? "") && !text.slice(start, end).includes("--");
}
