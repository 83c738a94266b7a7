/**
 * INSERT, UPDATE, DELETE, MERGE: as statements, inside WITH, and in the bodies of other statements.
 */
import { target } from "./from.ts";
import { outputOf, withClause } from "./select.ts";
import { type Fields, isFields, listOf, nodeOf, textOf } from "./tree.ts";
import { conditionOf, type Place, type Shapes, TOP, type Walker } from "./walker.ts";

/** What a writing statement gives back, as output columns. */
export function returningOf(f: Fields): readonly unknown[] {
  const clause = f["returningClause"];
  return isFields(clause) ? listOf(clause["exprs"]) : [];
}

export function returningOutput(f: Fields) {
  return outputOf(returningOf(f));
}

function columnTargets(w: Walker, value: unknown, place: Place): void {
  for (const item of listOf(value)) {
    const node = nodeOf(item);
    if (node?.type !== "ResTarget") {
      w.found.doubt("a target column has an unknown form");
      continue;
    }
    for (const key in node.fields)
      if (!["name", "indirection", "val", "location"].includes(key))
        w.found.doubt(`ResTarget.${key} is not known to the reader`);
    w.found.target(textOf(node.fields["name"]));
    for (const part of listOf(node.fields["indirection"])) if (nodeOf(part)?.type !== "String") w.visit(part, place);
    w.visit(node.fields["val"], place);
  }
}

/** `outer`: where the statement itself stands. Within WITH, whatever it gives back may be used for anything. */
function returning(w: Walker, f: Fields, place: Place, outer: Place): void {
  const clause = f["returningClause"];
  if (clause === undefined) return;
  if (outer === TOP) w.found.givenBack(() => w.enter("ReturningClause", clause, place));
  else w.enter("ReturningClause", clause, place);
}

/** Without a list of columns, a row has all of them. */
function rowTargets(w: Walker, columns: unknown, place: Place): void {
  if (listOf(columns).length === 0) w.found.target("*");
  else columnTargets(w, columns, place);
}

/** A condition that mentions no column holds for all rows or for none: `WHERE true` is no WHERE. */
function guard(w: Walker, condition: unknown, place: Place): void {
  const columns = w.found.collect(() => w.visit(condition, conditionOf(place)));
  if (columns.size === 0 && nodeOf(condition)?.type !== "CurrentOfExpr") w.found.unguarded = true;
}

function insert(w: Walker, f: Fields, place: Place): void {
  w.found.act("write");
  const at: Place = { ...withClause(w, f["withClause"], place), access: "read" };
  target(w, f["relation"], "write");
  // DEFAULT VALUES has no row.
  if (f["selectStmt"] !== undefined) rowTargets(w, f["cols"], at);
  w.visit(f["selectStmt"], at);
  const conflict = f["onConflictClause"];
  if (isFields(conflict)) w.enter("OnConflictClause", conflict, at);
  returning(w, f, at, place);
}

function update(w: Walker, f: Fields, place: Place): void {
  w.found.act("write");
  const at: Place = { ...withClause(w, f["withClause"], place), access: "read" };
  target(w, f["relation"], "write");
  columnTargets(w, f["targetList"], at);
  w.visit(f["fromClause"], at);
  guard(w, f["whereClause"], at);
  returning(w, f, at, place);
}

function remove(w: Walker, f: Fields, place: Place): void {
  w.found.act("write");
  const at: Place = { ...withClause(w, f["withClause"], place), access: "read" };
  target(w, f["relation"], "write");
  w.visit(f["usingClause"], at);
  guard(w, f["whereClause"], at);
  returning(w, f, at, place);
}

function merge(w: Walker, f: Fields, place: Place): void {
  w.found.act("write");
  const at: Place = { ...withClause(w, f["withClause"], place), access: "read" };
  target(w, f["relation"], "write");
  w.visit(f["sourceRelation"], at);
  guard(w, f["joinCondition"], at);
  w.visit(f["mergeWhenClauses"], at);
  returning(w, f, at, place);
}

export const WRITES: Shapes = {
  InsertStmt: {
    own: ["relation", "cols", "selectStmt", "onConflictClause", "returningClause", "withClause"],
    skip: ["override"],
    run: insert,
  },
  UpdateStmt: {
    own: ["relation", "targetList", "whereClause", "fromClause", "returningClause", "withClause"],
    run: update,
  },
  DeleteStmt: { own: ["relation", "usingClause", "whereClause", "returningClause", "withClause"], run: remove },
  MergeStmt: {
    own: ["relation", "sourceRelation", "joinCondition", "mergeWhenClauses", "returningClause", "withClause"],
    run: merge,
  },
  MergeWhenClause: {
    own: ["targetList"],
    walk: ["values"],
    conditions: ["condition"],
    skip: ["matchKind", "commandType", "override"],
    run: (w, f, place) => {
      if (f["commandType"] === "CMD_INSERT" && listOf(f["values"]).length > 0) rowTargets(w, f["targetList"], place);
      else columnTargets(w, f["targetList"], place);
    },
  },
  ReturningClause: { walk: ["exprs", "options"] },
  ReturningOption: {
    own: ["value"],
    skip: ["option", "location"],
    run: (w, f) => void w.found.relations.add(textOf(f["value"])),
  },
  OnConflictClause: {
    own: ["targetList"],
    enter: { infer: "InferClause" },
    conditions: ["whereClause"],
    skip: ["action", "location"],
    run: (w, f, place) => {
      w.found.relations.add("excluded");
      columnTargets(w, f["targetList"], place);
    },
  },
  InferClause: { walk: ["indexElems"], conditions: ["whereClause"], skip: ["conname", "location"] },
  IndexElem: {
    own: ["name", "opclass"],
    walk: ["expr"],
    skip: ["indexcolname", "collation", "opclassopts", "ordering", "nulls_ordering"],
    run: (w, f) => {
      if (textOf(f["name"]) !== "") w.found.column(textOf(f["name"]), true);
    },
  },
};
