import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { DDL } from "./ddl.ts";
import { EXPRESSIONS } from "./expressions.ts";
import { FROM } from "./from.ts";
import { ROLES } from "./roles.ts";
import { SELECT } from "./select.ts";
import { EXPLAIN, SESSION } from "./session.ts";
import type { Shape } from "./walker.ts";
import { WRITES } from "./writes.ts";

/** What the parser's own type declarations say of each node: field → type. */
function declared(): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const file = createRequire(createRequire(import.meta.url).resolve("libpg-query")).resolve("@pgsql/types/types.d.ts");
  const types = new Map<string, ReadonlyMap<string, string>>();
  for (const [, name = "", body = ""] of readFileSync(file, "utf8").matchAll(/export interface (\w+) \{(.*?)\n\}/gs)) {
    const fields = [...body.matchAll(/(\w+)\??: ([^;]+);/g)].map(([, f = "", t = ""]) => [f, t] as const);
    types.set(name, new Map(fields));
  }
  return types;
}

const TYPES = declared();
const SHAPES: readonly [string, Shape][] = [EXPRESSIONS, FROM, SELECT, WRITES, SESSION, EXPLAIN, ROLES, DDL].flatMap(
  (t) => Object.entries(t),
);

/** Statements that only PL/pgSQL's own parser makes, or that stand for the list itself. */
const NOT_IN_A_TEXT = new Set(["RawStmt", "SetOperationStmt", "ReturnStmt", "PLAssignStmt"]);

describe("the table of node types", () => {
  test("describes every statement that the parser can give", () => {
    const described = new Set(SHAPES.map(([type]) => type));
    const statements = [...TYPES.keys()].filter((t) => t.endsWith("Stmt") && !NOT_IN_A_TEXT.has(t));
    expect(statements.length).toBeGreaterThan(110);
    expect(statements.filter((t) => !described.has(t))).toEqual([]);
  });

  test("names only types and fields that there are, with the type that they have", () => {
    const wrong: string[] = [];
    for (const [type, shape] of SHAPES) {
      const fields = TYPES.get(type);
      if (fields === undefined) wrong.push(type);
      const { skip = [], walk = [], conditions = [], own = [], enter = {} } = shape;
      for (const field of [...skip, ...walk, ...conditions, ...own])
        if (!fields?.has(field)) wrong.push(`${type}.${field}`);
      for (const [field, of] of Object.entries(enter))
        if (fields?.get(field) !== of) wrong.push(`${type}.${field}: ${of}`);
    }
    expect(wrong).toEqual([]);
  });

  test("walks every node that can hold an expression, and skips none of an expression's own", () => {
    const skipped: string[] = [];
    for (const [type, { skip = [] }] of [EXPRESSIONS, SELECT, WRITES].flatMap((t) => Object.entries(t)))
      for (const field of skip)
        if (/\b(Node|[A-Z]\w*(Clause|Stmt|Expr|Call|Def))\b(\[\])?$/.test(TYPES.get(type)?.get(field) ?? ""))
          skipped.push(`${type}.${field}`);
    // lists of names
    expect(skipped.sort()).toEqual([
      "CollateClause.collname",
      "CommonTableExpr.aliascolnames",
      "GroupingFunc.refs",
      "IndexElem.collation",
      "IndexElem.opclassopts",
      "RowExpr.colnames",
      "XmlExpr.arg_names",
    ]);
  });
});
