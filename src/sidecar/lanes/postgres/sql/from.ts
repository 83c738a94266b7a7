/**
 * FROM: which tables, under which names, and what the statement calls their columns.
 */
import { HARMLESS_FUNCTIONS } from "./catalogue.ts";
import { noteFunction } from "./functions.ts";
import type { TableRef } from "./reading.ts";
import { noteTable } from "./relations.ts";
import { type Fields, isFields, listOf, namesOf, nodeOf, textOf } from "./tree.ts";
import { conditionOf, inScope, type Place, type Shapes, type Walker } from "./walker.ts";

const TABLESAMPLE = new Set(["bernoulli", "system"]);

export interface AliasNames {
  readonly name: string;
  /** `AS t(a, b)`: new names for columns, by position. */
  readonly columns: readonly string[];
}

export function aliasOf(value: unknown): AliasNames {
  if (!isFields(value)) return { name: "", columns: [] };
  return { name: textOf(value["aliasname"]), columns: namesOf(value["colnames"]) ?? [] };
}

/** Columns get new names whose origin the text does not show. */
function rename(w: Walker, alias: AliasNames, behind: ReadonlySet<string>): void {
  for (const column of alias.columns) w.found.name(column, behind, false);
}

const EVERYTHING: ReadonlySet<string> = new Set(["*"]);

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

export function relationName(f: Fields): RelationName {
  return { schema: textOf(f["schemaname"]), name: textOf(f["relname"]) };
}

/** A table that a statement names outside FROM: the target of a write, of DDL, …; never a common table expression. */
export function target(w: Walker, value: unknown, access: TableRef["access"]): void {
  if (!isFields(value)) return w.found.doubt("a table has an unknown form");
  const { schema, name } = relationName(value);
  const alias = aliasOf(value["alias"]);
  noteTable(w.found, schema, name, access);
  w.found.relations.add(name);
  if (alias.name !== "") w.found.relations.add(alias.name);
}

function rangeVar(w: Walker, f: Fields, place: Place): void {
  const { schema, name } = relationName(f);
  const alias = aliasOf(f["alias"]);
  w.found.relations.add(alias.name === "" ? name : alias.name);
  if (alias.columns.length > 0) {
    w.found.column("*", place.condition);
    rename(w, alias, EVERYTHING);
  }
  if (schema === "" && inScope(place.scope, name)) return;
  noteTable(w.found, schema, name, place.access);
}

function rangeSubselect(w: Walker, f: Fields, place: Place): void {
  const alias = aliasOf(f["alias"]);
  const columns = w.found.collect(() => w.visit(f["subquery"], place));
  if (alias.name !== "") w.found.relations.add(alias.name);
  rename(w, alias, columns);
}

/** `ROWS FROM (f(…) AS (a int), …)`, `f(…) AS t(a, b)`: each function is a list of the call and its column definitions. */
function rangeFunction(w: Walker, f: Fields, place: Place): void {
  // how many rows there are depends on the arguments
  const columns = w.found.collect(() => {
    for (const item of listOf(f["functions"])) {
      const node = nodeOf(item);
      if (node?.type === "List") w.visit(node.fields["items"], conditionOf(place));
      else w.found.doubt("a function in FROM has an unknown form");
    }
    w.visit(f["coldeflist"], place);
  });
  const alias = aliasOf(f["alias"]);
  if (alias.name !== "" && columns.size > 0) w.found.name(alias.name, columns, false);
  rename(w, alias, columns);
}

function tableFunction(w: Walker, f: Fields): void {
  rename(w, aliasOf(f["alias"]), EVERYTHING);
}

function join(w: Walker, f: Fields, place: Place): void {
  const alias = aliasOf(f["alias"]);
  if (alias.name !== "") w.found.relations.add(alias.name);
  rename(w, alias, EVERYTHING);
  w.visit(f["larg"], place);
  w.visit(f["rarg"], place);
  w.visit(f["quals"], conditionOf({ ...place, access: "read" }));
  if (f["isNatural"] === true) w.found.column("*", true);
  const using = namesOf(f["usingClause"]);
  if (using === null) return w.found.doubt("USING has an unknown form");
  for (const column of using) w.found.column(column, true);
}

function tableSample(w: Walker, f: Fields): void {
  const method = namesOf(f["method"]);
  if (method === null || !TABLESAMPLE.has(method.join("."))) {
    w.found.act("execute");
    w.found.doubt("a sampling method is not known to be harmless");
  }
}

export const FROM: Shapes = {
  Alias: { skip: ["aliasname", "colnames"] },
  RangeVar: {
    own: ["schemaname", "relname", "alias"],
    skip: ["catalogname", "inh", "relpersistence", "location"],
    run: rangeVar,
  },
  RangeSubselect: { own: ["subquery", "alias"], skip: ["lateral"], run: rangeSubselect },
  RangeFunction: {
    own: ["functions", "coldeflist", "alias"],
    skip: ["lateral", "ordinality", "is_rowsfrom"],
    run: rangeFunction,
  },
  /** In a column definition list (`AS t(a int)`) its type is a cast; in DDL (access `admin`) it is a name. */
  ColumnDef: {
    own: ["colname", "typeName", "identitySequence"],
    walk: ["raw_default", "constraints"],
    enter: { collClause: "CollateClause" },
    skip: [
      "compression",
      "inhcount",
      "is_local",
      "is_not_null",
      "is_from_type",
      "storage",
      "storage_name",
      "identity",
      "generated",
      "collOid",
      "fdwoptions",
      "location",
    ],
    run: (w, f, place) => {
      const name = textOf(f["colname"]);
      if (place.access === "admin") return w.found.column(name, false);
      w.found.name(name, EVERYTHING, false);
      w.enter("TypeName", f["typeName"], place);
    },
  },
  JoinExpr: {
    own: ["larg", "rarg", "quals", "isNatural", "usingClause", "alias", "join_using_alias"],
    skip: ["jointype", "rtindex"],
    run: join,
  },
  RangeTableSample: {
    walk: ["relation"],
    conditions: ["args", "repeatable"],
    own: ["method"],
    skip: ["location"],
    run: tableSample,
  },
  RangeTableFunc: {
    walk: ["docexpr", "rowexpr", "namespaces", "columns"],
    own: ["alias"],
    skip: ["lateral", "location"],
    run: tableFunction,
  },
  RangeTableFuncCol: {
    walk: ["colexpr", "coldefexpr"],
    enter: { typeName: "TypeName" },
    skip: ["colname", "for_ordinality", "is_not_null", "location"],
  },
  JsonTable: {
    walk: ["passing", "columns"],
    enter: { context_item: "JsonValueExpr", pathspec: "JsonTablePathSpec", on_error: "JsonBehavior" },
    own: ["alias"],
    skip: ["lateral", "location"],
    run: (w, f) => {
      tableFunction(w, f);
      if (!HARMLESS_FUNCTIONS.has("json_table")) noteFunction(w.found, { schema: "", name: "json_table" });
    },
  },
  JsonTablePathSpec: { walk: ["string"], skip: ["name", "name_location", "location"] },
  JsonTableColumn: {
    walk: ["columns"],
    enter: {
      typeName: "TypeName",
      pathspec: "JsonTablePathSpec",
      format: "JsonFormat",
      on_empty: "JsonBehavior",
      on_error: "JsonBehavior",
    },
    skip: ["coltype", "name", "wrapper", "quotes", "location"],
  },
};
