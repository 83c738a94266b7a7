/**
 * Expressions, node by node: what they call, mention and compare.
 */
import { HARMLESS_FUNCTIONS, HARMLESS_OPERATORS, KNOWN_TYPES, ROW_FUNCTIONS, SET_RETURNING } from "./catalogue.ts";
import { noteFunction } from "./functions.ts";
import { type Fields, listOf, namesOf, nodeOf, numberOf, textOf } from "./tree.ts";
import { conditionOf, type Place, type Shapes, type Walker } from "./walker.ts";

function columnRef(w: Walker, f: Fields, place: Place): void {
  const parts = listOf(f["fields"]).map(nodeOf);
  const last = parts.at(-1);
  if (last?.type === "A_Star") return w.found.column("*", place.condition);
  if (last?.type !== "String") return w.found.doubt("a column reference has an unknown form");
  const name = textOf(last.fields["sval"]);
  w.found.column(name, place.condition);
  if (parts.length > 1 && ROW_FUNCTIONS.has(name)) w.found.column("*", place.condition);
}

const isBlankOrSign = (c: number): boolean => c <= 0x20 || c === 0x2b || c === 0x2d;
const isDigitOrDot = (c: number): boolean => (c >= 0x30 && c <= 0x39) || c === 0x2e;

/** Numbers that PostgreSQL 16 made valid (`0x1F`, `1_000`) are `0 AS x1f` and `1 AS _000` to servers before 15. */
function isPlainNumber(bytes: Uint8Array, at: number): boolean {
  let i = at;
  while (i < bytes.length && isBlankOrSign(bytes[i] ?? 0)) i++;
  const first = i;
  while (i < bytes.length && isDigitOrDot(bytes[i] ?? 0)) i++;
  const c = (bytes[i] ?? 0) | 0x20;
  return i > first && bytes[i] !== 0x5f && c !== 0x78 && c !== 0x6f && c !== 0x62;
}

function constant(w: Walker, f: Fields): void {
  const at = numberOf(f["location"]);
  if (at < 0) return; // made up by the grammar
  w.found.literals.push(at);
  if ((f["ival"] !== undefined || f["fval"] !== undefined) && !isPlainNumber(w.bytes, at))
    w.found.doubt("older servers read a number in another way");
}

export function noteOperator(w: Walker, value: unknown): void {
  const names = namesOf(value);
  const name = names?.at(-1);
  if (names === null || name === undefined) return w.found.doubt("an operator has an unknown form");
  const schema = names.slice(0, -1).join(".");
  if ((schema === "" || schema === "pg_catalog") && HARMLESS_OPERATORS.has(name)) return;
  w.found.act("execute");
  w.found.doubt(`operator ${schema === "" ? name : `${schema}.${name}`} is not known to be harmless`);
}

/** A cast runs the type's input function, and a domain's checks. */
export function noteType(w: Walker, f: Fields): void {
  if (f["pct_type"] === true || f["setof"] === true) return w.found.doubt("a type is given by reference");
  const names = namesOf(f["names"]);
  if (names === null || names.length === 0) return w.found.doubt("a type has an unknown form");
  const [first = ""] = names;
  const key =
    names.length === 1 || (names.length === 2 && first === "pg_catalog") ? (names.at(-1) ?? "") : names.join(".");
  if (KNOWN_TYPES.has(key)) return;
  w.found.act("execute");
  w.found.doubt(`type ${names.join(".")} is not known to be harmless`);
}

export function functionNameOf(f: Fields): { readonly schema: string; readonly name: string } | null {
  const names = namesOf(f["funcname"]);
  const name = names?.at(-1);
  return names === null || name === undefined ? null : { schema: names.slice(0, -1).join("."), name };
}

function functionCall(w: Walker, f: Fields, place: Place): void {
  const name = functionNameOf(f);
  if (name === null) return w.found.doubt("a function has an unknown form");
  noteFunction(w.found, name);
  // the number of rows tells what the arguments are
  w.visit(f["args"], SET_RETURNING.has(name.name) ? conditionOf(place) : place);
}

/** `(x).name` calls the function `name(x)` where x has no such field: `('seq'::regclass).nextval` advances a sequence. */
function indirection(w: Walker, f: Fields, place: Place): void {
  for (const item of listOf(f["indirection"])) {
    const node = nodeOf(item);
    if (node?.type === "A_Star") w.found.column("*", place.condition);
    else if (node?.type !== "String") w.visit(item, place);
    else {
      const name = textOf(node.fields["sval"]);
      w.found.column(name, place.condition);
      if (w.found.functions.has("information_schema._pg_expandarray") && (name === "n" || name === "x")) continue;
      noteFunction(w.found, { schema: "", name });
      if (!HARMLESS_FUNCTIONS.has(name)) w.found.doubt(`(…).${name} may call a function of that name`);
    }
  }
}

/** Fields that JSON constructors share; on a server before 16 these words are names of functions that anybody may have made. */
function jsonWord(word: string) {
  return (w: Walker): void => noteFunction(w.found, { schema: "", name: word });
}

export const EXPRESSIONS: Shapes = {
  A_Const: { own: ["ival", "fval", "boolval", "sval", "bsval", "isnull", "location"], run: constant },
  ColumnRef: { own: ["fields"], skip: ["location"], run: columnRef },
  ParamRef: { skip: ["number", "location"] },
  A_Expr: {
    own: ["name", "kind"],
    walk: ["lexpr", "rexpr"],
    skip: ["rexpr_list_start", "rexpr_list_end", "location"],
    run: (w, f) => {
      // BETWEEN has no operator in its name: it stands for >= and <=
      if (!/^AEXPR_(NOT_)?BETWEEN(_SYM)?$/.test(textOf(f["kind"]))) noteOperator(w, f["name"]);
    },
  },
  BoolExpr: { walk: ["args"], skip: ["boolop", "location"] },
  NullTest: { walk: ["arg"], skip: ["nulltesttype", "argisrow", "location"] },
  BooleanTest: { walk: ["arg"], skip: ["booltesttype", "location"] },
  CaseExpr: { walk: ["arg", "args", "defresult"], skip: ["location"] },
  CaseWhen: { walk: ["expr", "result"], skip: ["location"] },
  CoalesceExpr: { walk: ["args"], skip: ["location"] },
  MinMaxExpr: { walk: ["args"], skip: ["op", "location"] },
  RowExpr: { walk: ["args"], skip: ["row_format", "colnames", "location"] },
  A_ArrayExpr: { walk: ["elements"], skip: ["list_start", "list_end", "location"] },
  List: { walk: ["items"] },
  TypeCast: { walk: ["arg"], enter: { typeName: "TypeName" }, skip: ["location"] },
  TypeName: {
    own: ["names", "pct_type", "setof", "typmods", "arrayBounds"],
    skip: ["typemod", "typeOid", "location"],
    run: noteType,
  },
  CollateClause: { walk: ["arg"], skip: ["collname", "location"] },
  A_Indirection: { walk: ["arg"], own: ["indirection"], run: indirection },
  A_Indices: { walk: ["lidx", "uidx"], skip: ["is_slice"] },
  FuncCall: {
    own: ["funcname", "args"],
    conditions: ["agg_order", "agg_filter"],
    enter: { over: "WindowDef" },
    skip: ["agg_within_group", "agg_star", "agg_distinct", "func_variadic", "funcformat", "location"],
    run: functionCall,
  },
  WindowDef: {
    conditions: ["partitionClause", "orderClause", "startOffset", "endOffset"],
    skip: ["name", "refname", "frameOptions", "location"],
  },
  NamedArgExpr: { walk: ["arg"], skip: ["name", "argnumber", "location"] },
  SQLValueFunction: { skip: ["op", "typmod", "location", "type"] },
  GroupingFunc: { walk: ["args"], skip: ["location", "refs", "agglevelsup"] },
  CurrentOfExpr: { skip: ["cursor_name", "cursor_param", "cvarno"] },
  SetToDefault: { skip: ["location"] },
  MultiAssignRef: { walk: ["source"], skip: ["colno", "ncolumns"] },
  MergeSupportFunc: { skip: ["msftype", "location"], run: jsonWord("merge_action") },
  SubLink: {
    own: ["operName", "testexpr", "subselect"],
    skip: ["subLinkType", "subLinkId", "location"],
    run: (w, f, place) => {
      if (f["operName"] !== undefined) noteOperator(w, f["operName"]);
      // `x IN (SELECT y …)` compares the two
      const inner = f["testexpr"] === undefined ? place : conditionOf(place);
      w.visit(f["testexpr"], inner);
      w.visit(f["subselect"], { ...inner, access: "read" });
    },
  },
  XmlExpr: {
    walk: ["named_args", "args"],
    skip: ["op", "name", "arg_names", "xmloption", "indent", "location", "type", "typmod"],
  },
  XmlSerialize: { walk: ["expr"], enter: { typeName: "TypeName" }, skip: ["xmloption", "indent", "location"] },
  JsonFormat: { skip: ["format_type", "encoding", "location"] },
  JsonReturning: { enter: { format: "JsonFormat" }, skip: ["typid", "typmod"] },
  JsonOutput: { enter: { typeName: "TypeName", returning: "JsonReturning" } },
  JsonValueExpr: { walk: ["raw_expr", "formatted_expr"], enter: { format: "JsonFormat" } },
  JsonKeyValue: { walk: ["key"], enter: { value: "JsonValueExpr" } },
  JsonArgument: { enter: { val: "JsonValueExpr" }, skip: ["name"] },
  JsonBehavior: { walk: ["expr"], skip: ["btype", "coerce", "location"] },
  JsonIsPredicate: { walk: ["expr"], enter: { format: "JsonFormat" }, skip: ["item_type", "unique_keys", "location"] },
  JsonObjectConstructor: {
    walk: ["exprs"],
    enter: { output: "JsonOutput" },
    skip: ["absent_on_null", "unique", "location"],
    run: jsonWord("json_object"),
  },
  JsonArrayConstructor: {
    walk: ["exprs"],
    enter: { output: "JsonOutput" },
    skip: ["absent_on_null", "location"],
    run: jsonWord("json_array"),
  },
  JsonArrayQueryConstructor: {
    walk: ["query"],
    enter: { output: "JsonOutput", format: "JsonFormat" },
    skip: ["absent_on_null", "location"],
    run: jsonWord("json_array"),
  },
  JsonAggConstructor: {
    conditions: ["agg_filter", "agg_order"],
    enter: { output: "JsonOutput", over: "WindowDef" },
    skip: ["location"],
  },
  JsonObjectAgg: {
    enter: { constructor: "JsonAggConstructor", arg: "JsonKeyValue" },
    skip: ["absent_on_null", "unique"],
    run: jsonWord("json_objectagg"),
  },
  JsonArrayAgg: {
    enter: { constructor: "JsonAggConstructor", arg: "JsonValueExpr" },
    skip: ["absent_on_null"],
    run: jsonWord("json_arrayagg"),
  },
  JsonParseExpr: {
    enter: { expr: "JsonValueExpr", output: "JsonOutput" },
    skip: ["unique_keys", "location"],
    run: jsonWord("json"),
  },
  JsonScalarExpr: { walk: ["expr"], enter: { output: "JsonOutput" }, skip: ["location"], run: jsonWord("json_scalar") },
  JsonSerializeExpr: {
    enter: { expr: "JsonValueExpr", output: "JsonOutput" },
    skip: ["location"],
    run: jsonWord("json_serialize"),
  },
  JsonFuncExpr: {
    walk: ["pathspec", "passing"],
    enter: { context_item: "JsonValueExpr", output: "JsonOutput", on_empty: "JsonBehavior", on_error: "JsonBehavior" },
    skip: ["op", "column_name", "wrapper", "quotes", "location"],
    run: jsonWord("json_query"),
  },
};
