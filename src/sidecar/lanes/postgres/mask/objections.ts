/**
 * Which statements are not sent at all, because what they give back could not be masked or would tell a confidential value by other
 * ways (THREATS Q9): conditions and orderings (guessing by asking), expressions (also by whether they fail), copies into other tables,
 * statistics.
 *
 * Errs towards objecting: a name that may stand for a confidential column is one.
 */
import type { OutputColumn, Statement } from "../sql/reading.ts";
import { type Catalogue, latin1, type Relation } from "./catalogue.ts";

/** They hold sampled values of every column. */
const STATISTICS = new Set(["pg_statistic", "pg_stats", "pg_statistic_ext_data", "pg_stats_ext", "pg_stats_ext_exprs"]);
/** What they read is kept: in a table, a view, a comment. */
const KEEPING = new Set(["create", "alter", "comment"]);

export interface Touched {
  readonly relations: readonly Relation[];
  /** Whether one of these names may stand for a confidential column of them. */
  hits(names: readonly string[]): boolean;
}

export function touchedBy(statement: Statement, catalogue: Catalogue): Touched {
  const relations = catalogue.touched(statement.tables);
  return {
    relations,
    hits: (names) =>
      relations.length > 0 &&
      names.some((name) => name === "*" || relations.some((relation) => relation.names.has(latin1(name)))),
  };
}

/** Null: it may be sent. */
export function objectionTo(statement: Statement, catalogue: Catalogue): string | null {
  if (!statement.complete) return "it was not understood completely, so a mask could be evaded";
  if (statement.tables.some(({ name }) => STATISTICS.has(name))) return "statistics show values of masked columns";
  // Schemas and databases are no tables: renamed, nothing in them is what a mask names.
  if (statement.kind === "alter" && statement.tables.length === 0) return "what a mask names could get another name";
  const touched = touchedBy(statement, catalogue);
  if (touched.relations.length === 0) return null;
  if (statement.tables.some(({ access }) => access === "admin") && touched.relations.length > 0)
    return "the table that a mask names could become another one";
  if (touched.hits(statement.conditionColumns))
    return "a masked column stands in a condition, an ordering, a grouping or a join";
  if (touched.hits(statement.expressionColumns)) return "an expression is computed from a masked column";
  if (statement.output.some((output) => showsByExpression(output, statement, touched)))
    return "an expression, a row or a set operation could show a masked column";
  if (KEEPING.has(statement.kind) && touched.hits(statement.columns)) return COPIED;
  if (statement.writtenColumns.length > 0 && touched.hits(statement.readColumns)) return COPIED;
  return whyNotWritten(statement, catalogue);
}

const COPIED = "a masked column could be copied to where it is not masked";

/**
 * Values of the agent's own, written to a masked column: they reveal nothing, unless it can compare what they become (a token), whether
 * they are accepted (unique, exclusion, foreign key), or where they come in an order (any index), with what it is not to know.
 */
function whyNotWritten({ tables, writtenColumns }: Statement, catalogue: Catalogue): string | null {
  if (writtenColumns.length === 0) return null;
  const all = writtenColumns.includes("*");
  for (const { names, guarded } of catalogue.touched(tables.filter(({ access }) => access === "write"))) {
    const written = all ? [...names.keys()] : writtenColumns.map(latin1).filter((name) => names.has(name));
    for (const name of written) {
      if (names.get(name) === "token")
        return "a masked column is written: its token would tell which rows have the same value (redact it, to let it be written)";
      if (guarded.has(name))
        return "a masked column is written: an index, a key or a partition would tell which values other rows have";
    }
  }
  return null;
}

/** Null: rows can be masked as this statement copies them out, or it does not. */
export function copyObjection({ effects }: Statement): string | null {
  return effects.some((effect) => effect.kind === "copy-out" && effect.format === null)
    ? "rows cannot be masked in the format of this copy"
    : null;
}

function showsByExpression(
  { star, reference, columns }: OutputColumn,
  statement: Statement,
  touched: Touched,
): boolean {
  if (star) return columns !== undefined && touched.hits(columns);
  return reference === null && touched.hits(columns ?? statement.columns);
}

/** Whether a message about this statement may quote a confidential value: constraint violations show whole rows. */
export function mayQuote(statement: Statement, catalogue: Catalogue): boolean {
  return !statement.complete || catalogue.touched(statement.tables).length > 0;
}
