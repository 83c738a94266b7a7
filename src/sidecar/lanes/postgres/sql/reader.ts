/**
 * The SQL reader: a text in, what each of its statements does out. Loads PostgreSQL's parser on first use, remembers what it read, and
 * fails towards `complete: false`: what is too long, not well formed, not parsed or not described was not understood.
 */
import { createParser, type Parser } from "./parser.ts";
import type { SqlReader, SqlReading } from "./reading.ts";
import { readStatement, type Source } from "./statements.ts";
import { type Fields, isFields, listOf } from "./tree.ts";

export const MAX_TEXT_BYTES = 256 * 1024;
/** The tree of a longer text is not read: it would keep every connection of the pod waiting. */
const MAX_TREE_CHARS = 4 * 1024 * 1024;
const DEFAULT_CACHE_BYTES = 4 * 1024 * 1024;
/** A longer text is seldom sent twice. */
const MAX_CACHED_CHARS = 16 * 1024;
/** What a reading weighs beside its text, roughly. */
const READING_BYTES = 2048;

export interface SqlReaderOptions {
  /** The parser's file: `readParserFile`. Called once, on the first `load`; again only if that failed. */
  readonly parserFile: () => Promise<Uint8Array>;
  /** How much the remembered texts and readings may weigh. Default 4 MiB. */
  readonly cacheBytes?: number;
}

function refused(doubt: string): SqlReading {
  return { statements: [], complete: false, doubts: [doubt] };
}

/** What stands in a text and is read differently by different servers, or is not what the agent sent. */
function oddity(text: string): string | null {
  if (!text.isWellFormed()) return "the text is not well formed";
  if (text.includes("\u0000")) return "the text holds a NUL";
  if (text.includes("\ufffd")) return "the text holds U+FFFD: bytes of it may have been lost";
  if (text.includes("\v")) return "servers do not agree on what a vertical tab is";
  return null;
}

export function createSqlReader(options: SqlReaderOptions): SqlReader {
  const maxCacheBytes = options.cacheBytes ?? DEFAULT_CACHE_BYTES;
  const cache = new Map<string, SqlReading>();
  let cached = 0;
  let parser: Parser | undefined;
  let loading: Promise<void> | undefined;

  const weight = (text: string): number => text.length * 2 + READING_BYTES;

  const remember = (text: string, reading: SqlReading): void => {
    if (text.length > MAX_CACHED_CHARS) return;
    cache.set(text, reading);
    cached += weight(text);
    for (const oldest of cache.keys()) {
      if (cached <= maxCacheBytes) return;
      cache.delete(oldest);
      cached -= weight(oldest);
    }
  };

  const parse = (at: Parser, bytes: Uint8Array): readonly Fields[] | string => {
    const parsed = at.parse(bytes);
    if (!parsed.ok)
      return parsed.kind === "syntax"
        ? `PostgreSQL's parser does not know it: ${parsed.message}`
        : "PostgreSQL's parser gave up on it";
    if (parsed.json.length > MAX_TREE_CHARS) return "the statement is too large to read";
    const tree: unknown = JSON.parse(parsed.json);
    const statements = isFields(tree) ? listOf(tree["stmts"]) : [];
    return statements.every(isFields) ? statements : "the tree has an unknown form";
  };

  const readText = (at: Parser, text: string): SqlReading => {
    if (text.length > MAX_TEXT_BYTES) return refused("the text is too long to read");
    const odd = oddity(text);
    if (odd !== null) return refused(odd);
    const bytes = Buffer.from(text, "utf8");
    if (bytes.length > MAX_TEXT_BYTES) return refused("the text is too long to read");
    const statements = parse(at, bytes);
    if (typeof statements === "string") return refused(statements);
    const source: Source = {
      bytes,
      slice: (from, to) => bytes.toString("utf8", from, to),
      parse: (other) => {
        const result = parse(at, Buffer.from(other, "utf8"));
        return typeof result === "string" ? null : result;
      },
    };
    const read = statements.map((raw) => readStatement(raw, source).statement);
    return {
      statements: read,
      complete: read.every((s) => s.complete),
      doubts: [...new Set(read.flatMap((s) => s.doubts))],
    };
  };

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
      const known = cache.get(text);
      if (known !== undefined) {
        cache.delete(text);
        cache.set(text, known);
        return known;
      }
      const reading = readText(parser, text);
      remember(text, reading);
      return reading;
    },
  };
}
