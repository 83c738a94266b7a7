/**
 * SELECT, VALUES, TABLE, set operations, WITH.
 */
import { ROW_FUNCTIONS } from "./catalogue.ts";
import { functionNameOf, noteOperator } from "./expressions.ts";
import type { FoundOutput } from "./findings.ts";
import { constantOf, type Fields, isFields, listOf, namesOf, nodeOf, textOf } from "./tree.ts";
import { conditionOf, type Place, type Scope, type Shapes, type Walker } from "./walker.ts";

/** Set operations in set operations; the walk ends before. */
const MAX_ARMS = 1000;
const EVERYTHING: ReadonlySet<string> = new Set(["*"]);

/** A query that writes inside WITH is walked in the same place as the others: its own shape says that it writes. */
export function withClause(w: Walker, value: unknown, place: Place): Place {
  if (!isFields(value)) return place;
  const ctes = listOf(value["ctes"]).map(nodeOf);
  for (const key in value)
    if (key !== "ctes" && key !== "recursive" && key !== "location")
      w.found.doubt(`WithClause.${key} is not known to the reader`);
  let scope: Scope | null = place.scope;
  const name = (fields: Fields): string => textOf(fields["ctename"]);
  if (value["recursive"] === true)
    for (const cte of ctes) if (cte !== null) scope = { name: name(cte.fields), outer: scope };
  for (const cte of ctes) {
    if (cte?.type !== "CommonTableExpr") {
      w.found.doubt("WITH has an unknown form");
      continue;
    }
    const inner: Place = { ...place, scope, access: "read" };
    const columns = w.found.collect(() => w.enter("CommonTableExpr", cte.fields, inner));
    for (const column of namesOf(cte.fields["aliascolnames"]) ?? []) w.found.name(column, columns, false);
    if (value["recursive"] !== true) scope = { name: name(cte.fields), outer: scope };
  }
  return { ...place, scope };
}

/** ORDER BY and GROUP BY may name an output column, by its number or by its alias: then what is behind it is the condition. */
function byOutput(w: Walker, item: unknown, targets: readonly unknown[], place: Place): void {
  const node = nodeOf(item);
  if (node?.type === "SortBy") {
    for (const key in node.fields)
      if (!["node", "sortby_dir", "sortby_nulls", "useOp", "location"].includes(key))
        w.found.doubt(`SortBy.${key} is not known to the reader`);
    if (node.fields["useOp"] !== undefined) noteOperator(w, node.fields["useOp"]);
    return byOutput(w, node.fields["node"], targets, place);
  }
  const number = node?.type === "A_Const" && isFields(node.fields["ival"]) ? Number(constantOf(item)) : null;
  if (number === null) return w.visit(item, conditionOf(place));
  const chosen = targets[number - 1];
  // a star before it moves the count
  const starred = targets.slice(0, number).some((t) => isStar(t));
  if (chosen === undefined || starred) w.found.column("*", true);
  if (chosen !== undefined) for (const c of w.found.collect(() => w.visit(chosen, place))) w.found.column(c, true);
}

function lastField(value: unknown): string | null {
  const node = nodeOf(value);
  if (node?.type !== "ColumnRef") return null;
  const last = nodeOf(listOf(node.fields["fields"]).at(-1));
  return last?.type === "String" ? textOf(last.fields["sval"]) : null;
}

function isStar(resTarget: unknown): boolean {
  const node = nodeOf(resTarget);
  const value = node?.type === "ResTarget" ? nodeOf(node.fields["val"]) : null;
  return value?.type === "ColumnRef" && nodeOf(listOf(value.fields["fields"]).at(-1))?.type === "A_Star";
}

/** The name that the server gives to a column without alias, as far as it is plain to see. */
function figuredName(value: unknown): string | null {
  const node = nodeOf(value);
  if (node === null) return null;
  if (node.type === "ColumnRef") return lastField(value);
  if (node.type === "TypeCast") return figuredName(node.fields["arg"]);
  if (node.type === "FuncCall") return functionNameOf(node.fields)?.name ?? null;
  return null;
}

export function outputOf(targets: unknown): readonly FoundOutput[] {
  return listOf(targets).map((t): FoundOutput => {
    if (isStar(t)) return { name: null, reference: null, star: true };
    const node = nodeOf(t)?.fields;
    const fields = node ?? {};
    const value = fields["val"];
    const column = lastField(value);
    const alias = textOf(fields["name"]);
    const name = alias === "" ? figuredName(value) : alias;
    if (column === null || ROW_FUNCTIONS.has(column)) return { name, reference: null, star: false, node };
    const parts = listOf(nodeOf(value)?.fields["fields"]);
    const table = parts.length < 2 ? null : textOf(nodeOf(parts.at(-2))?.fields["sval"]);
    return { name, reference: { table, column }, star: false, node };
  });
}

/** Asked for at each arm of a set operation of all that are in it: without this its cost would be quadratic. */
const OUTPUTS = new WeakMap<Fields, readonly FoundOutput[]>();

/** Output of a whole query; of a set operation: the leftmost names, and no origin. */
export function queryOutput(select: Fields, depth = 0): readonly FoundOutput[] {
  const known = OUTPUTS.get(select);
  if (known !== undefined) return known;
  const output = freshOutput(select, depth);
  if (isFields(select["larg"])) OUTPUTS.set(select, output);
  return output;
}

function freshOutput(select: Fields, depth: number): readonly FoundOutput[] {
  if (depth > MAX_ARMS) return [];
  if (isFields(select["larg"])) {
    const starred = isFields(select["rarg"]) && queryOutput(select["rarg"], depth + 1).some((c) => c.star);
    return queryOutput(select["larg"], depth + 1).map((c) => ({
      name: c.name,
      reference: null,
      star: c.star || starred,
    }));
  }
  const rows = listOf(select["valuesLists"]);
  if (rows.length === 0) return outputOf(select["targetList"]);
  const first = nodeOf(rows[0]);
  return listOf(first?.fields["items"]).map((_, i) => ({ name: `column${i + 1}`, reference: null, star: false }));
}

/** What the statement calls its own output columns. */
export function resTarget(w: Walker, f: Fields, place: Place): void {
  const columns = w.found.collect(() => w.visit(f["val"], place));
  w.found.outputs.set(f, columns);
  const alias = textOf(f["name"]);
  const column = lastField(f["val"]);
  if ((column === null && !isStar({ ResTarget: f })) || (column !== null && ROW_FUNCTIONS.has(column)))
    w.found.computedFrom(columns);
  if (alias !== "" && alias !== column) w.found.name(alias, columns, column !== null && !ROW_FUNCTIONS.has(column));
  else if (alias === "" && column === null) {
    const given = figuredName(f["val"]);
    if (given === null || nodeOf(f["val"])?.type === "TypeCast") w.found.unnamed(columns);
    if (given !== null) w.found.name(given, columns, false);
  }
}

function select(w: Walker, f: Fields, place: Place): void {
  const at = withClause(w, f["withClause"], place);
  const locks = f["lockingClause"] !== undefined;
  if (locks) w.found.act("write");
  const inner: Place = { ...at, access: "read" };
  w.visit(f["fromClause"], locks || at.access === "write" ? { ...at, access: "write" } : inner);
  const targets = listOf(f["targetList"]);
  w.visit(targets, inner);
  values(w, listOf(f["valuesLists"]), inner);
  w.visit(f["whereClause"], conditionOf(inner));
  w.visit(f["havingClause"], conditionOf(inner));
  for (const item of listOf(f["groupClause"])) byOutput(w, item, targets, inner);
  for (const item of listOf(f["sortClause"])) byOutput(w, item, targets, inner);
  for (const item of listOf(f["distinctClause"]))
    if (isFields(item) && Object.keys(item).length > 0) byOutput(w, item, targets, inner);
  w.visit(f["windowClause"], inner);
  for (const bound of [f["limitCount"], f["limitOffset"]])
    if (constantOf(bound) === null) w.visit(bound, conditionOf(inner));
  if (isFields(f["larg"])) setOperation(w, f, at);
  if (f["intoClause"] !== undefined) w.enter("IntoClause", f["intoClause"], inner);
}

/** The columns of VALUES are called column1, column2, … */
function values(w: Walker, rows: readonly unknown[], place: Place): void {
  if (rows.length === 0) return;
  const columns = w.found.collect(() => w.visit(rows, place));
  if (columns.size === 0) return;
  w.found.computedFrom(columns);
  listOf(nodeOf(rows[0])?.fields["items"]).forEach((_, i) => w.found.name(`column${i + 1}`, columns, false));
}

/** All but UNION ALL compare whole rows, so each column of the arms can be guessed by asking. */
function setOperation(w: Walker, f: Fields, place: Place): void {
  const compares = f["all"] !== true || f["op"] !== "SETOP_UNION";
  const arm = compares ? conditionOf(place) : place;
  const columns = w.found.collect(() => {
    w.enter("SelectStmt", f["larg"], arm);
    w.enter("SelectStmt", f["rarg"], arm);
  });
  // The result's names are the left arm's, and stand for the columns of both.
  for (const c of isFields(f["larg"]) ? queryOutput(f["larg"]) : [])
    if (c.name !== null) w.found.name(c.name, columns, false);
}

export const SELECT: Shapes = {
  SelectStmt: {
    own: [
      "withClause",
      "lockingClause",
      "fromClause",
      "targetList",
      "valuesLists",
      "whereClause",
      "havingClause",
      "groupClause",
      "sortClause",
      "distinctClause",
      "windowClause",
      "limitCount",
      "limitOffset",
      "larg",
      "rarg",
      "op",
      "all",
      "intoClause",
    ],
    skip: ["groupDistinct", "limitOption"],
    run: select,
  },
  CommonTableExpr: {
    walk: ["ctequery"],
    enter: { search_clause: "CTESearchClause", cycle_clause: "CTECycleClause" },
    skip: ["ctename", "aliascolnames", "ctematerialized", "location"],
  },
  CTESearchClause: {
    own: ["search_col_list", "search_seq_column"],
    skip: ["search_breadth_first", "location"],
    run: (w, f) => {
      for (const c of namesOf(f["search_col_list"]) ?? []) w.found.column(c, true);
      w.found.name(textOf(f["search_seq_column"]), EVERYTHING, false);
    },
  },
  CTECycleClause: {
    own: ["cycle_col_list", "cycle_mark_column", "cycle_path_column"],
    walk: ["cycle_mark_value", "cycle_mark_default"],
    skip: ["location"],
    run: (w, f) => {
      for (const c of namesOf(f["cycle_col_list"]) ?? []) w.found.column(c, true);
      w.found.name(textOf(f["cycle_mark_column"]), EVERYTHING, false);
      w.found.name(textOf(f["cycle_path_column"]), EVERYTHING, false);
    },
  },
  /** In places that name no output column: an aggregate's, a window's, an index's. */
  SortBy: {
    conditions: ["node"],
    own: ["useOp"],
    skip: ["sortby_dir", "sortby_nulls", "location"],
    run: (w, f) => {
      if (f["useOp"] !== undefined) noteOperator(w, f["useOp"]);
    },
  },
  ResTarget: { own: ["name", "val"], walk: ["indirection"], skip: ["location"], run: resTarget },
  GroupingSet: { conditions: ["content"], skip: ["kind", "location"] },
};
