/**
 * One statement of a text: its tree in, what it does out. A statement type that is not in the table is `unknown` and not complete.
 */
import { DDL } from "./ddl.ts";
import { EXPRESSIONS } from "./expressions.ts";
import { Findings, type FoundOutput } from "./findings.ts";
import { FROM } from "./from.ts";
import { tokenAt } from "./lexer.ts";
import type { Statement } from "./reading.ts";
import { ROLES } from "./roles.ts";
import { queryOutput, SELECT } from "./select.ts";
import { EXPLAIN, plainSetConfig, SESSION } from "./session.ts";
import { constantOf, type Fields, isFields, type Node, nodeOf, numberOf, textOf } from "./tree.ts";
import { compileShapes, TOP, Walker } from "./walker.ts";
import { returningOutput, WRITES } from "./writes.ts";

const SHAPES = compileShapes(EXPRESSIONS, FROM, SELECT, WRITES, SESSION, EXPLAIN, ROLES, DDL);

/** `Stmt` types whose kind is not the first word of their name in lower case. */
const KINDS: Readonly<Record<string, string>> = {
  CreatedbStmt: "create",
  DropdbStmt: "drop",
  IndexStmt: "create",
  ViewStmt: "create",
  CompositeTypeStmt: "create",
  DefineStmt: "create",
  RuleStmt: "create",
  GrantRoleStmt: "grant",
  RenameStmt: "alter",
  VariableShowStmt: "show",
  ClosePortalStmt: "close",
  ConstraintsSetStmt: "set",
  SecLabelStmt: "security-label",
  CheckPointStmt: "checkpoint",
  ImportForeignSchemaStmt: "import",
  ReassignOwnedStmt: "reassign",
};
const TRANSACTION_KINDS: Readonly<Record<string, string>> = {
  TRANS_STMT_START: "begin",
  TRANS_STMT_BEGIN: "begin",
  TRANS_STMT_COMMIT: "commit",
  TRANS_STMT_ROLLBACK: "rollback",
  TRANS_STMT_SAVEPOINT: "savepoint",
  TRANS_STMT_RELEASE: "release",
  TRANS_STMT_ROLLBACK_TO: "rollback",
  TRANS_STMT_PREPARE: "prepare-transaction",
  TRANS_STMT_COMMIT_PREPARED: "commit-prepared",
  TRANS_STMT_ROLLBACK_PREPARED: "rollback-prepared",
};

function kindOf({ type, fields }: Node): string {
  if (type === "TransactionStmt") return TRANSACTION_KINDS[textOf(fields["kind"])] ?? "transaction";
  if (type === "VariableSetStmt") return textOf(fields["kind"]).startsWith("VAR_RESET") ? "reset" : "set";
  if (type === "SelectStmt" && fields["intoClause"] !== undefined) return "create";
  if (type === "GrantStmt") return fields["is_grant"] === true ? "grant" : "revoke";
  if (type === "VacuumStmt") return fields["is_vacuumcmd"] === true ? "vacuum" : "analyze";
  if (type === "FetchStmt") return fields["ismove"] === true ? "move" : "fetch";
  if (type === "GrantRoleStmt") return fields["is_grant"] === true ? "grant" : "revoke";
  const known = KINDS[type];
  if (known !== undefined) return known;
  return /^[A-Z][a-z]+/.exec(type)?.[0].toLowerCase() ?? "unknown";
}

function outputOfStatement({ type, fields }: Node): readonly FoundOutput[] | null {
  if (type === "SelectStmt") return fields["intoClause"] === undefined ? queryOutput(fields) : [];
  if (["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"].includes(type)) return returningOutput(fields);
  if (
    type === "DeclareCursorStmt" ||
    type === "PrepareStmt" ||
    (type === "CopyStmt" && fields["query"] !== undefined)
  ) {
    const inner = nodeOf(fields["query"]);
    return inner === null ? [] : outputOfStatement(inner);
  }
  return null;
}

function limitOf({ type, fields }: Node): number | null {
  if (type !== "SelectStmt" || fields["limitOption"] !== "LIMIT_OPTION_COUNT") return null;
  const limit = constantOf(fields["limitCount"]);
  return limit !== null && /^\d{1,15}$/.test(limit) ? Number(limit) : null;
}

/** Words of the grammar that stand for a node's place in the text; two trees without them are equal when they mean the same. */
const PLACES = new Set([
  "location",
  "name_location",
  "stmt_location",
  "stmt_len",
  "list_start",
  "list_end",
  "rexpr_list_start",
  "rexpr_list_end",
]);

function withoutPlaces(value: unknown): string {
  return JSON.stringify(value, (key: string, v: unknown) => (PLACES.has(key) ? undefined : v));
}

/** The text behind PREPARE name (types) AS, if it parses to the very same tree. Null: it does not, or nobody can be sure where it begins. */
function preparedText(source: Source, from: number, to: number, query: unknown): string | null {
  const text = source.slice(from, to);
  const begins = behindAs(text);
  if (begins === null) return null;
  const tail = text.slice(begins);
  const statements = source.parse(tail);
  return statements?.length === 1 && withoutPlaces(statements[0]?.["stmt"]) === withoutPlaces(query)
    ? tail.trim()
    : null;
}

/** Index behind the first AS that is a word of its own, outside of parentheses: no type and no name can be that. */
function behindAs(text: string): number | null {
  let open = 0;
  for (let at = 0; at < text.length; ) {
    const token = tokenAt(text, at);
    if (token === null) return null;
    at = token.end;
    const word = text.slice(token.start, token.end);
    if (word === "(") open++;
    else if (word === ")") open--;
    else if (open === 0 && token.kind === "word" && word.toLowerCase() === "as") return at;
  }
  return null;
}

/** The text that a tree came from. */
export interface Source {
  readonly bytes: Uint8Array;
  /** Text of a range of bytes. */
  slice(from: number, to: number): string;
  /** Statements of another text; null where it does not parse. */
  parse(text: string): readonly Fields[] | null;
}

export interface ReadStatement {
  readonly statement: Statement;
  /** Byte offsets of literals that do not decide anything. */
  readonly literals: readonly number[];
}

/** `raw` is a RawStmt: `{ stmt, stmt_location, stmt_len }`, of which absent numbers are 0, and a length of 0 means to the end. */
export function readStatement(raw: Fields, source: Source): ReadStatement {
  const from = numberOf(raw["stmt_location"]);
  const length = numberOf(raw["stmt_len"]);
  const to = length === 0 ? source.bytes.length : from + length;
  const found = new Findings();
  const node = nodeOf(raw["stmt"]);
  if (node === null) {
    found.act("unknown");
    found.doubt("a statement has an unknown form");
    return { statement: found.finish(from, to), literals: [] };
  }
  found.kind = kindOf(node);
  found.output = outputOfStatement(node) ?? [];
  found.limit = limitOf(node);
  found.where = node.fields["whereClause"] !== undefined || node.type === "MergeStmt";
  const walker = new Walker(SHAPES, found, source.bytes);
  if (node.type !== "SelectStmt" || !plainSetConfig(walker, node.fields)) walker.visit(raw["stmt"], TOP);
  if (node.type === "PrepareStmt") {
    const text = preparedText(source, from, to, node.fields["query"]);
    if (text === null) found.doubt("the text of a prepared statement was not found");
    else found.effects.push({ kind: "prepare", name: textOf(node.fields["name"]), text });
  }
  if (!isFields(raw["stmt"])) found.doubt("a statement has an unknown form");
  return { statement: found.finish(from, to), literals: found.literals };
}
