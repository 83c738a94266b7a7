/**
 * The SQL reader: a text in, what each of its statements does out. Loads PostgreSQL's parser on first use, remembers what it read, and
 * fails towards `complete: false`: what is too long, not well formed, not parsed or not described was not understood.
 */
import { excessOf } from "./bounds.ts";
import { type Condensed, condensed } from "./condense.ts";
import { createParser, type Parser } from "./parser.ts";
import type { SqlReader, SqlReading, Statement } from "./reading.ts";
import { ReadingCache } from "./reading-cache.ts";
import { type ReadStatement, readStatement, type Source } from "./statements.ts";
import { MAX_TEMPLATE_CHARS, type Template, templateOf } from "./template.ts";
import { type Fields, isFields, listOf } from "./tree.ts";

export const MAX_TEXT_BYTES = 256 * 1024;
/** Of a text that is a list of rows or values, which is not parsed as a whole. */
export const MAX_LIST_BYTES = 512 * 1024;
/** The tree of a longer text is not read: it would keep every connection of the pod waiting. */
const MAX_TREE_CHARS = 4 * 1024 * 1024;
const DEFAULT_CACHE_BYTES = 4 * 1024 * 1024;
/** A longer text is seldom sent twice. */
const MAX_CACHED_CHARS = 16 * 1024;
/** Where a literal's value may decide (COPY, SET, DDL, …), texts are known by all of their characters only. */
const TEMPLATE_KINDS = new Set(["select", "insert", "update", "delete"]);

export interface SqlReaderOptions {
  /** The parser's file: `readParserFile`. Called once, on the first `load`; again only if that failed. */
  readonly parserFile: () => Promise<Uint8Array>;
  /** How much the remembered texts and readings may weigh. Default 4 MiB. */
  readonly cacheBytes?: number;
}

interface ReadText {
  readonly reading: SqlReading;
  /** The only statement of the text, where there is exactly one. */
  readonly only: ReadStatement | null;
}

const NONE: readonly number[] = [];

function refused(doubt: string): ReadText {
  return { reading: { alike: null, statements: [], complete: false, doubts: [doubt] }, only: null };
}

/** What stands in a text and is read differently by different servers, or is not what the agent sent. */
function oddity(text: string): string | null {
  if (!text.isWellFormed()) return "the text is not well formed";
  if (text.includes("\u0000")) return "the text holds a NUL";
  if (text.includes("\ufffd")) return "the text holds U+FFFD: bytes of it may have been lost";
  if (text.includes("\v")) return "servers do not agree on what a vertical tab is";
  return null;
}

/** The parser writes JSON, so this does not fail; if it did, the text was not understood. */
function treeOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function parse(parser: Parser, bytes: Uint8Array): readonly Fields[] | string {
  const parsed = parser.parse(bytes);
  if (!parsed.ok)
    return parsed.kind === "syntax"
      ? `not known to PostgreSQL's parser: ${parsed.message}`
      : "PostgreSQL's parser gave up on it";
  if (parsed.json.length > MAX_TREE_CHARS) return "the statement is too large to read";
  const tree = treeOf(parsed.json);
  if (!isFields(tree)) return "the tree has an unknown form";
  const statements = listOf(tree["stmts"]);
  return statements.every(isFields) ? statements : "the tree has an unknown form";
}

/** Null: nothing speaks against parsing it. */
function objectionTo(text: string, maxBytes: number): string | null {
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) return "the text is too long to read";
  return oddity(text);
}

/** Nothing speaks against it. */
function readText(parser: Parser, text: string): ReadText {
  const excess = excessOf(text);
  if (excess !== null) return refused(excess);
  const bytes = Buffer.from(text, "utf8");
  const statements = parse(parser, bytes);
  if (typeof statements === "string") return refused(statements);
  const source: Source = {
    bytes,
    slice: (from, to) => bytes.toString("utf8", from, to),
    parse: (other) => {
      const result = parse(parser, Buffer.from(other, "utf8"));
      return typeof result === "string" ? null : result;
    },
  };
  const read = statements.map((raw) => readStatement(raw, source));
  const reading = readingOf(read.map((r) => r.statement));
  return { reading, only: read.length === 1 ? (read[0] ?? null) : null };
}

/** A tree that is deeper than our own stack is refused; everything else that is thrown is a bug. */
function readOrRefuse(parser: Parser, text: string): ReadText {
  const odd = objectionTo(text, MAX_TEXT_BYTES);
  if (odd !== null) return refused(odd);
  try {
    return readText(parser, text);
  } catch (cause) {
    if (cause instanceof RangeError) return refused("nested too deeply");
    throw cause;
  }
}

function readingOf(statements: readonly Statement[]): SqlReading {
  return {
    alike: null,
    statements,
    complete: statements.every((s) => s.complete),
    doubts: [...new Set(statements.flatMap((s) => s.doubts))],
  };
}

/** Whether each literal that was cut is one whose value decided nothing: `-5` is one constant that begins at its sign. */
function cutsAreFree(text: string, template: Template, literals: readonly number[]): boolean {
  const free = new Set<number>();
  for (const at of literals) {
    let i = at;
    while (/[-\s]/.test(text[i] ?? "")) i++;
    free.add(i);
  }
  const plain = Buffer.byteLength(text) === text.length;
  return plain && template.cuts.every((cut, i) => i % 2 === 1 || free.has(cut));
}

/** The same statement in another text of its template: only its end may differ. */
function placed(reading: SqlReading, text: string, { semicolon, cuts }: Template): SqlReading {
  if (cuts.length === 0 || reading.alike === null) return reading;
  return { ...ending(reading, text, semicolon), alike: { shape: reading.alike.shape, literals: cuts } };
}

/** Its only statement ends where the text does, or at a semicolon before. */
function ending(reading: SqlReading, text: string, semicolon: number): SqlReading {
  const [statement] = reading.statements;
  const to = Buffer.byteLength(semicolon === -1 ? text : text.slice(0, semicolon));
  return statement === undefined || statement.to === to ? reading : { ...reading, statements: [{ ...statement, to }] };
}

/** Whether the literals that stand for others decide nothing, and the statement is of a kind in which such lists are. */
function mayStandForOthers({ reading, only }: ReadText, { text, literals }: Condensed): boolean {
  if (only === null || !reading.complete || !TEMPLATE_KINDS.has(only.statement.kind)) return false;
  const free = new Set(only.literals);
  let bytes = 0;
  let at = 0;
  for (const index of literals) {
    bytes += Buffer.byteLength(text.slice(at, index));
    at = index;
    if (!free.has(bytes)) return false;
  }
  return true;
}

/** No template has this character. */
const CONDENSED_KEY = "\u0002";

/** A long text that is a list, by one item of each form. Null: it has to be read as it is. */
function readCondensed(parser: Parser, text: string, cache: ReadingCache): SqlReading | null {
  if (objectionTo(text, MAX_LIST_BYTES) !== null) return null;
  const short = condensed(text);
  if (short === null) return null;
  const key = CONDENSED_KEY + short.text;
  let reading = cache.get(key);
  if (reading === undefined) {
    const read = readOrRefuse(parser, short.text);
    if (!mayStandForOthers(read, short)) return null;
    reading = cache.set(key, read.reading);
  }
  return ending(reading, text, short.semicolon);
}

/** As it is remembered. */
function shaped(reading: SqlReading, literals: readonly number[]): SqlReading {
  return { ...reading, alike: { shape: { kept: null, secrets: undefined }, literals } };
}

export function createSqlReader(options: SqlReaderOptions): SqlReader {
  const half = Math.floor((options.cacheBytes ?? DEFAULT_CACHE_BYTES) / 2);
  const byText = new ReadingCache(half);
  const byTemplate = new ReadingCache(half);
  let parser: Parser | undefined;
  let loading: Promise<void> | undefined;

  return {
    get loaded() {
      return parser !== undefined;
    },
    async load() {
      loading ??= options.parserFile().then((file) => {
        parser = createParser(file);
      });
      try {
        await loading;
      } catch (cause) {
        loading = undefined;
        throw cause;
      }
    },
    read(text) {
      if (parser === undefined) throw new Error("the SQL reader was asked before it was loaded");
      const template = templateOf(text);
      const similar = template === null ? undefined : byTemplate.get(template.key);
      if (template !== null && similar !== undefined) return placed(similar, text, template);
      const known = byText.get(text);
      if (known !== undefined) return known;
      const long = text.length > MAX_TEMPLATE_CHARS ? readCondensed(parser, text, byTemplate) : null;
      if (long !== null) return long;
      const { reading, only } = readOrRefuse(parser, text);
      const kind = only?.statement.kind ?? "";
      if (template !== null && only !== null && TEMPLATE_KINDS.has(kind) && cutsAreFree(text, template, only.literals))
        return byTemplate.set(template.key, shaped(reading, template.cuts));
      return text.length <= MAX_CACHED_CHARS ? byText.set(text, shaped(reading, NONE)) : reading;
    },
  };
}
