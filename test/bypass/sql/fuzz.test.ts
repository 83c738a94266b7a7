/**
 * The reader against texts that nobody would write. It must not throw, must not grow, and what it calls a complete read must be one for a
 * second look that shares nothing with it: the tree from the npm package's own host of the parser, searched without any table of node
 * types. `SIDEGATE_FUZZ=1000000` for more than the 100,000 of every run.
 */
import { loadModule, parseSync } from "libpg-query";
import { beforeAll, expect, test } from "vitest";
import {
  HARMLESS_FUNCTIONS,
  HARMLESS_OPERATORS,
  KNOWN_TYPES,
} from "../../../src/sidecar/lanes/postgres/sql/catalogue.ts";
import { readParserFile } from "../../../src/sidecar/lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "../../../src/sidecar/lanes/postgres/sql/reader.ts";
import type { SqlReading } from "../../../src/sidecar/lanes/postgres/sql/reading.ts";
import { redactSql } from "../../../src/sidecar/lanes/postgres/sql/redact.ts";
import { corpus } from "./corpus.ts";
import { type Random, randomness } from "./support/compose.ts";

const RUNS = Number(process.env["SIDEGATE_FUZZ"] ?? 100_000);
const SEED = Number(process.env["SIDEGATE_FUZZ_SEED"] ?? 1);
const reader = createSqlReader({ parserFile: readParserFile });
beforeAll(async () => {
  await Promise.all([reader.load(), loadModule()]);
});

const TEXTS = ["not-reads.md", "reads.md", "reads-captured.md"]
  .flatMap((f) => corpus(f).map((r) => r.sql))
  .filter((sql) => sql.length < 400);
const ODDITIES = [
  "'",
  '"',
  "$$",
  "--",
  "/*",
  "*/",
  ";",
  "\\",
  "(",
  ")",
  "\u0000",
  "\ud800",
  "ü",
  "🙂",
  "\ufffd",
  "\v",
  "nextval('s')",
  "(x).nextval",
  "FOR UPDATE",
  "INTO t",
  "evil()",
  "::evil",
  "OPERATOR(a.+)",
  " RETURNING *",
  "WITH x AS (DELETE FROM t) ",
  "SELECT ",
  ",",
  "[",
  "]",
  "=>",
  "$1",
  "E'",
  "U&'",
  "1_0",
] as const;

const MUTATIONS: readonly ((text: string, random: Random) => string)[] = [
  // cut off
  (t, r) => t.slice(0, r(t.length + 1)),
  // a piece taken out
  (t, r) => {
    const at = r(t.length + 1);
    return t.slice(0, at) + t.slice(at + r(12));
  },
  // something put in
  (t, r) => {
    const at = r(t.length + 1);
    return t.slice(0, at) + (ODDITIES[r(ODDITIES.length)] ?? "") + t.slice(at);
  },
  // one word for another's
  (t, r) => {
    const words = t.split(/\b/);
    const others = (TEXTS[r(TEXTS.length)] ?? "").split(/\b/);
    words[r(words.length)] = others[r(others.length)] ?? "";
    return words.join("");
  },
  // a piece of another text
  (t, r) => {
    const other = TEXTS[r(TEXTS.length)] ?? "";
    const from = r(other.length);
    const at = r(t.length + 1);
    return t.slice(0, at) + other.slice(from, from + r(40)) + t.slice(at);
  },
  // one text in another
  (t, r) => `SELECT (${t}) FROM (${TEXTS[r(TEXTS.length)] ?? ""}) x`,
  (t, r) => `WITH x AS (${t}) ${TEXTS[r(TEXTS.length)] ?? ""}`,
  (t, r) => `${t}; ${TEXTS[r(TEXTS.length)] ?? ""}`,
  (t, r) => `${t} UNION ALL ${TEXTS[r(TEXTS.length)] ?? ""}`,
  // a character changed
  (t, r) => {
    const at = r(t.length + 1);
    return t.slice(0, at) + String.fromCharCode(r(r(4) === 0 ? 0xffff : 128)) + t.slice(at + 1);
  },
];

interface Seen {
  readonly functions: Set<string>;
  readonly tables: Set<string>;
  readonly bad: string[];
}

const WRITES =
  /^(Insert|Update|Delete|Merge|Truncate|Create|Alter|Drop|Grant|Do|Call|Load|Comment|Lock|Vacuum|Cluster|Reindex|Refresh|Notify|Rename|Rule|View|Index|Sec|Define|Import|Reassign|CheckPoint)\w*Stmt$/;

const lastName = (names: unknown): string => {
  const list = names as readonly { readonly String?: { readonly sval?: string } }[];
  return list
    .map((n) => n.String?.sval ?? "")
    .filter((n) => n !== "pg_catalog")
    .join(".");
};

/** Everything in a tree, wherever it stands. */
function look(value: unknown, seen: Seen, path: string): void {
  if (Array.isArray(value)) for (const item of value) look(item, seen, path);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  for (const [key, inner] of Object.entries(value)) {
    if (WRITES.test(key)) seen.bad.push(key);
    if (key === "lockingClause" || key === "intoClause") seen.bad.push(key);
    if (key === "funcname") seen.functions.add(lastName(inner));
    if (key === "relname") seen.tables.add(String(inner));
    if (key === "names" && path === "typeName" && !KNOWN_TYPES.has(lastName(inner)))
      seen.bad.push(`type ${lastName(inner)}`);
    if (
      key === "name" &&
      Array.isArray(inner) &&
      !HARMLESS_OPERATORS.has(lastName(inner)) &&
      !lastName(inner).includes("BETWEEN")
    )
      seen.bad.push(`operator ${lastName(inner)}`);
    look(inner, seen, key);
  }
}

/** What contradicts that the text is a complete read. */
function contradictions(text: string, reading: SqlReading): readonly string[] {
  const seen: Seen = { functions: new Set(), tables: new Set(), bad: [] };
  const tree = parseSync(text);
  for (const statement of tree.stmts ?? []) {
    // its statement is not run
    if (statement.stmt !== undefined && "ExplainStmt" in statement.stmt) continue;
    look(statement.stmt, seen, "");
  }
  for (const f of seen.functions) if (!HARMLESS_FUNCTIONS.has(f) && f !== "set_config") seen.bad.push(`function ${f}`);
  const named = new Set(reading.statements.flatMap((s) => s.tables.map((t) => t.name)));
  const ctes = new Set(
    [...text.matchAll(/(?:\b[\w$]+|"[^"]+"|\w[\w$\u0080-\uffff]*)(?=\s*(?:\([^)]*\))?\s+as\s)/gi)].map((m) => m[0]),
  );
  if (ctes.size === 0) for (const t of seen.tables) if (!named.has(t)) seen.bad.push(`table ${t}`);
  return seen.bad;
}

function isRead(reading: SqlReading): boolean {
  return reading.complete && reading.statements.length > 0 && reading.statements.every((s) => s.action === "read");
}

test("no text makes the reader throw, grow, or take for a read what a second look does not", () => {
  const random = randomness(SEED);
  const wrong: string[] = [];
  const before = process.memoryUsage.rss();
  let reads = 0;
  let parsed = 0;
  for (let i = 0; i < RUNS; i++) {
    let text = TEXTS[random(TEXTS.length)] ?? "";
    for (let n = random(3); n >= 0; n--) text = MUTATIONS[random(MUTATIONS.length)]?.(text, random) ?? "";
    const reading = reader.read(text);
    if (reading.statements.length > 0) parsed++;
    for (const s of reading.statements)
      if (s.from < 0 || s.to < s.from || s.to > Buffer.byteLength(text)) wrong.push(`range: ${text}`);
    if (typeof redactSql(text, reading.statements.length > 0) !== "string") wrong.push(`redacted: ${text}`);
    if (!isRead(reading)) continue;
    reads++;
    const found = contradictions(text, reading);
    if (found.length > 0) wrong.push(`${found.join(", ")}: ${text}`);
  }
  expect(wrong.slice(0, 10)).toEqual([]);
  expect(reads).toBeGreaterThan(RUNS / 50);
  expect(parsed).toBeGreaterThan(RUNS / 20);
  expect(process.memoryUsage.rss() - before).toBeLessThan(256 * 1024 * 1024);
}, 1_200_000);
