/**
 * Takes secrets out of a text of SQL before it is recorded: passwords of roles and user mappings, connection strings, arguments of
 * functions that encrypt or dial, values of columns that are called like secrets, and literals that look like keys.
 *
 * Errs towards cutting: where the text was not understood, every literal and comment goes, and where even the literals' ends are not
 * sure, everything from there on.
 */
import { type Token, tokensOf } from "./lexer.ts";

/** Of a longer text only so much is read, to the end of the token there: more is on no record, and in no policy's facts. */
export const SHOWN_CHARS = 16_384;
/** Bodies in bodies (`$a$ … $b$ … $b$ … $a$`). A deeper one is cut as a whole. */
const MAX_LEVELS = 4;

const QUOTE = 0x27;
const CUT = "'[redacted]'";
const CUT_COMMENT = "/* [redacted] */";
const CUT_REST = "[redacted]";

/** Names of columns, options and settings whose value is a secret. */
const SECRET_NAME =
  /pass(word|wd|phrase|code)?s?$|passw|secret|token|api_?key|private_?key|access_?key|credential|auth|salt|(^|_)pin$|ssn$|(^|_)key$/i;
/** Functions whose arguments are secrets, or texts with secrets in them. */
const SECRET_FUNCTION =
  /^(dblink|postgres_fdw|crypt|gen_salt|pgp_|encrypt|decrypt|hmac|digest|set_config|http|net_http|query_to_xml|pg_read_|lo_|sha\d|md5$)/i;
/** Repetitions are bounded, or an attacker's literal would take quadratic time. Text of a literal that holds a secret, whatever it stands for. */
const SECRET_TEXT =
  /pass(word|wd|phrase)|secret|token|api[_-]?key|scram-sha-256|^md5[0-9a-f]{32}$|:\/\/[^/\s:@]{0,128}:[^@\s]{1,256}@|-----BEGIN|\b(AKIA|ASIA)[A-Z0-9]{12,}|\bgh[pousr]_[A-Za-z0-9]{16,}|\bglpat-|\bsk[-_](live|test|ant|proj)?|\bxox[abprs]-|\beyJ[A-Za-z0-9_-]{8,512}\.|\bAIza[0-9A-Za-z_-]{20,}|^[A-Za-z0-9+/_=-]{32,}$/i;
/** Words after which a literal is a secret. */
const SECRET_WORD = /^(password|connection|identified|secret)$/i;

function isLiteral(t: Token): boolean {
  return t.kind === "string" || t.kind === "special";
}

function cutAll(text: string, tokens: readonly Token[]): string {
  return tokens
    .map((t) =>
      isLiteral(t) || t.kind === "number" ? CUT : t.kind === "comment" ? CUT_COMMENT : text.slice(t.start, t.end),
    )
    .join("");
}

function bare(word: string): string {
  return word.startsWith('"') ? word.slice(1, -1) : word;
}

/** What stands before a literal, and around it. */
class Context {
  /** For each open parenthesis: whether all literals in it are secrets. */
  readonly #stack: boolean[] = [];
  /** The last words and signs, without blanks and comments. */
  #before: string[] = [];
  /** The statement so far has a name of a secret: in an INSERT the values cannot be told apart. */
  #insertsSecret = false;
  #insert = false;

  get secret(): boolean {
    if (this.#insertsSecret || this.#stack.includes(true)) return true;
    const [a = "", b = "", c = ""] = [this.#before.at(-1), this.#before.at(-2), this.#before.at(-3)].map(
      (w) => w ?? "",
    );
    if (SECRET_WORD.test(a) || SECRET_NAME.test(bare(a))) return true;
    // name = 'x', name TO 'x', name := 'x', name LIKE 'x', name IN ('x'
    return SECRET_NAME.test(bare(b)) || (SECRET_NAME.test(bare(c)) && !/^[,;]$/.test(b));
  }

  /** `crypt(…`, `OPTIONS (…`, `secret IN (…`, `secret = ANY (…` */
  #opensSecret(): boolean {
    const last = bare(this.#before.at(-1) ?? "");
    if (SECRET_FUNCTION.test(last) || /^options$/i.test(last)) return true;
    return last !== "," && this.#before.slice(-3).some((word) => SECRET_NAME.test(bare(word)));
  }

  take(word: string): void {
    if (word === "(") this.#stack.push(this.#opensSecret());
    else if (word === ")") this.#stack.pop();
    else if (word === ";") {
      this.#stack.length = 0;
      this.#insert = false;
      this.#insertsSecret = false;
    } else if (/^(insert|merge)$/i.test(word)) this.#insert = true;
    else if (this.#insert && SECRET_NAME.test(bare(word))) this.#insertsSecret = true;
    this.#before = [...this.#before.slice(-3), word];
  }
}

/** What is known of a shape's literals; undefined: nothing yet. Null: its texts take the long way. */
interface LiteralsOf {
  secrets: readonly boolean[] | null | undefined;
}

/**
 * As `redactSql` of an understood text, for one of many that differ in their literals only: which of those stand where a secret stands is
 * found out once for all of them, because a literal's own value says nothing of what is around it.
 */
export function redactAlike(text: string, literals: readonly number[], shape: LiteralsOf): string {
  if (shape.secrets === undefined) shape.secrets = secretsOf(text, literals);
  const { secrets } = shape;
  if (secrets === null || secrets.length * 2 !== literals.length) return redactSql(text, true);
  let out = "";
  let at = 0;
  for (let i = 0; i < secrets.length; i++) {
    const from = literals[2 * i] ?? 0;
    const to = literals[2 * i + 1] ?? 0;
    const quoted = text.charCodeAt(from) === QUOTE;
    const cut =
      secrets[i] === true ? quoted || to - from > 3 : quoted && SECRET_TEXT.test(text.slice(from + 1, to - 1));
    if (!cut) continue;
    out += text.slice(at, from) + CUT;
    at = to;
  }
  return at === 0 ? text : out + text.slice(at);
}

/** Null: the lexer sees other literals than those. */
function secretsOf(text: string, literals: readonly number[]): boolean[] | null {
  const { tokens, whole } = tokensOf(text);
  if (!whole) return null;
  const context = new Context();
  const secrets: boolean[] = [];
  for (const token of tokens) {
    if (token.kind === "blank") continue;
    if (token.kind === "comment" || token.kind === "special") return null;
    const value = token.kind === "string" || token.kind === "number";
    if (value) {
      const at = 2 * secrets.length;
      if (literals[at] !== token.start || literals[at + 1] !== token.end) return null;
      secrets.push(context.secret);
    }
    context.take(token.kind === "string" ? "'" : text.slice(token.start, token.end));
  }
  return 2 * secrets.length === literals.length ? secrets : null;
}

/**
 * `understood`: the reader parsed it. The result is for people and records; it is not meant to be parsed again. Of a text of more than
 * `SHOWN_CHARS` it is the beginning.
 */
export function redactSql(text: string, understood: boolean, level = 0): string {
  const { tokens, whole } = tokensOf(text, SHOWN_CHARS);
  const rest = whole ? "" : CUT_REST;
  if (!understood || !whole) return cutAll(text, tokens) + rest;
  const context = new Context();
  let out = "";
  for (const token of tokens) {
    const piece = text.slice(token.start, token.end);
    if (token.kind === "blank") out += piece;
    else if (token.kind === "comment") out += SECRET_TEXT.test(piece) ? CUT_COMMENT : piece;
    else if (isLiteral(token)) {
      out += literal(piece, context.secret, level);
      context.take("'");
    } else {
      out += token.kind === "number" && context.secret && piece.length > 3 ? CUT : piece;
      context.take(piece);
    }
  }
  return out;
}

/** A body between dollar quotes is itself SQL, as a rule: cut inside it, so that a reviewer still reads the rest. */
function literal(piece: string, secret: boolean, level: number): string {
  if (secret) return CUT;
  const tag = /^\$[^$]*\$/.exec(piece)?.[0];
  if (tag !== undefined) return `${tag}${redactBody(piece.slice(tag.length, -tag.length), level + 1)}${tag}`;
  return SECRET_TEXT.test(content(piece).slice(0, SHOWN_CHARS)) ? CUT : piece;
}

function redactBody(body: string, level: number): string {
  if (level > MAX_LEVELS) return CUT_REST;
  const { whole } = tokensOf(body, SHOWN_CHARS);
  if (!whole) return SECRET_TEXT.test(body.slice(0, SHOWN_CHARS)) ? CUT_REST : body;
  return redactSql(body, true, level);
}

function content(piece: string): string {
  const open = piece.indexOf("'");
  return piece.slice(open + 1, -1);
}
