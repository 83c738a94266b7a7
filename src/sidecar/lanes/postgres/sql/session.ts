/**
 * Statements about the session itself: transactions, settings, prepared statements, cursors, notifications.
 */
import { KNOWN_TO_THE_SESSION, type SessionEffect } from "./reading.ts";
import { noteSetting } from "./settings.ts";
import { constantOf, type Fields, isFields, listOf, nodeOf, textOf } from "./tree.ts";
import type { Place, Shapes, Walker } from "./walker.ts";

/** `READ WRITE` and `READ ONLY` among the modes of a transaction; null: none given. */
function readWrite(options: unknown): boolean | null {
  let found: boolean | null = null;
  for (const item of listOf(options)) {
    const option = nodeOf(item)?.fields;
    if (option === undefined || textOf(option["defname"]) !== "transaction_read_only") continue;
    found = constantOf(option["arg"]) !== "1" ? true : (found ?? false); // said twice: the worse
  }
  return found;
}

function begin(w: Walker, options: unknown): void {
  const writes = readWrite(options);
  if (writes === true) w.found.act("write");
  w.found.effects.push({ kind: "begin", readWrite: writes });
}

const TRANSACTION: Readonly<Record<string, SessionEffect["kind"]>> = {
  TRANS_STMT_COMMIT: "commit",
  TRANS_STMT_ROLLBACK: "rollback",
  TRANS_STMT_SAVEPOINT: "savepoint",
  TRANS_STMT_RELEASE: "savepoint",
  TRANS_STMT_ROLLBACK_TO: "savepoint",
  TRANS_STMT_PREPARE: "commit",
};

function transaction(w: Walker, f: Fields): void {
  const kind = textOf(f["kind"]);
  if (kind === "TRANS_STMT_BEGIN" || kind === "TRANS_STMT_START") return begin(w, f["options"]);
  if (kind.includes("PREPARE")) {
    w.found.act("admin");
    w.found.doubt("a transaction that is prepared outlives the session");
  }
  const effect = TRANSACTION[kind];
  if (effect === "commit" || effect === "rollback" || effect === "savepoint") w.found.effects.push({ kind: effect });
  else if (!kind.endsWith("_PREPARED")) w.found.doubt("a transaction statement is not known to the reader");
  if (f["chain"] === true) w.found.effects.push({ kind: "begin", readWrite: null });
}

/** `SET a = b, c`: the values as one text; null where one is no constant. */
function settingValue(args: unknown): string | null {
  const values: string[] = [];
  for (const arg of listOf(args)) {
    const node = nodeOf(arg);
    const value = constantOf(node?.type === "TypeCast" ? node.fields["arg"] : arg);
    if (value === null) return null;
    values.push(value);
  }
  return values.length === 0 ? null : values.join(", ");
}

function set(w: Walker, f: Fields): void {
  const kind = textOf(f["kind"]);
  const name = textOf(f["name"]);
  const local = f["is_local"] === true;
  if (kind === "VAR_RESET_ALL") return void w.found.effects.push({ kind: "set", name: "*", value: null, local: false });
  if (kind === "VAR_SET_MULTI") return setTransaction(w, name, f["args"]);
  const value = kind === "VAR_SET_VALUE" ? settingValue(f["args"]) : null;
  if (kind === "VAR_SET_VALUE" && value === null) w.found.doubt("the value of a setting is not plain");
  if (!["VAR_SET_VALUE", "VAR_SET_DEFAULT", "VAR_SET_CURRENT", "VAR_RESET"].includes(kind))
    w.found.doubt("a way to set is not known to the reader");
  noteSetting(w.found, name, value);
  w.found.effects.push({ kind: "set", name: name.toLowerCase(), value, local });
}

function setTransaction(w: Walker, name: string, args: unknown): void {
  if (name === "TRANSACTION SNAPSHOT") return;
  const local = name === "TRANSACTION";
  if (!local && name !== "SESSION CHARACTERISTICS") return w.found.doubt("a way to set is not known to the reader");
  const writes = readWrite(args);
  if (writes === null) return;
  if (writes) w.found.act("write");
  const setting = local ? "transaction_read_only" : "default_transaction_read_only";
  w.found.effects.push({ kind: "set", name: setting, value: writes ? "off" : "on", local });
}

/** Whether a whole statement is `SELECT set_config(…), …` of constants: then it is read as SET; else the functions' list doubts it. */
export function plainSetConfig(w: Walker, f: Fields): boolean {
  if (Object.keys(f).some((k) => !["targetList", "limitOption", "op"].includes(k))) return false;
  const settings: { readonly name: string; readonly value: string; readonly local: boolean }[] = [];
  for (const item of listOf(f["targetList"])) {
    const call = nodeOf(nodeOf(item)?.fields["val"]);
    if (call?.type !== "FuncCall") return false;
    if (Object.keys(call.fields).some((k) => !["funcname", "args", "funcformat", "location"].includes(k))) return false;
    const written = listOf(call.fields["funcname"]).map(constantOf).join(".");
    if (written !== "set_config" && written !== "pg_catalog.set_config") return false;
    const args = listOf(call.fields["args"]);
    const [name, value, local] = args.map(constantOf);
    if (args.length !== 3 || typeof name !== "string" || typeof value !== "string" || typeof local !== "string")
      return false;
    if (local !== "true" && local !== "false") return false;
    settings.push({ name, value, local: local === "true" });
  }
  if (settings.length === 0) return false;
  w.found.function("set_config");
  for (const { name, value, local } of settings) {
    noteSetting(w.found, name, value);
    w.found.effects.push({ kind: "set", name: name.toLowerCase(), value, local });
  }
  return true;
}

function execute(w: Walker, f: Fields): void {
  w.found.act("execute");
  w.found.doubt(KNOWN_TO_THE_SESSION);
  w.found.effects.push({ kind: "execute", name: textOf(f["name"]) });
}

export const SESSION: Shapes = {
  TransactionStmt: { own: ["kind", "options", "chain"], skip: ["savepoint_name", "gid", "location"], run: transaction },
  VariableSetStmt: { own: ["kind", "name", "args", "is_local"], skip: ["jumble_args", "location"], run: set },
  VariableShowStmt: { skip: ["name"] },
  ConstraintsSetStmt: { skip: ["constraints", "deferred"], run: (w) => w.found.act("write") },
  /** Its text is added where the whole text is at hand: statements.ts. */
  PrepareStmt: { own: ["name", "argtypes"], walk: ["query"] },
  ExecuteStmt: { own: ["name"], walk: ["params"], run: execute },
  DeallocateStmt: {
    own: ["name", "isall"],
    skip: ["location"],
    run: (w, f) =>
      void w.found.effects.push({ kind: "deallocate", name: f["isall"] === true ? null : textOf(f["name"]) }),
  },
  DeclareCursorStmt: {
    own: ["portalname"],
    walk: ["query"],
    skip: ["options"],
    run: (w, f) => void w.found.effects.push({ kind: "declare-cursor", name: textOf(f["portalname"]) }),
  },
  /** What it shows is what was declared: the session judges it by that, and doubts a cursor that it does not know. */
  FetchStmt: {
    own: ["portalname"],
    skip: ["direction", "howMany", "ismove"],
    run: (w, f) => void w.found.effects.push({ kind: "fetch", name: textOf(f["portalname"]) }),
  },
  ClosePortalStmt: {
    own: ["portalname"],
    run: (w, f) => {
      const name = textOf(f["portalname"]);
      w.found.effects.push({ kind: "close-cursor", name: name === "" ? null : name });
    },
  },
  ListenStmt: { skip: ["conditionname"], run: (w) => void w.found.effects.push({ kind: "listen" }) },
  UnlistenStmt: { skip: ["conditionname"] },
  NotifyStmt: { skip: ["conditionname", "payload"], run: (w) => w.found.act("write") },
  DiscardStmt: { skip: ["target"], run: (w) => void w.found.effects.push({ kind: "discard" }) },
};

/** Whether EXPLAIN runs its statement: any ANALYZE that is not plainly false. */
export function explainRuns(f: Fields): boolean {
  return listOf(f["options"]).some((item) => {
    const option = nodeOf(item)?.fields;
    if (option === undefined) return true;
    if (textOf(option["defname"]).toLowerCase() !== "analyze") return false;
    if (option["arg"] === undefined) return true;
    return !["0", "false", "off"].includes((constantOf(option["arg"]) ?? "").toLowerCase());
  });
}

export const EXPLAIN: Shapes = {
  ExplainStmt: {
    own: ["query", "options"],
    run: (w: Walker, f: Fields, place: Place) => {
      w.visit(f["query"], place);
      if (!explainRuns(f)) w.found.plannedOnly();
      w.found.output = [{ name: "QUERY PLAN", reference: null, star: false }];
      if (!isFields(f["query"])) w.found.doubt("EXPLAIN of nothing");
    },
  },
};
