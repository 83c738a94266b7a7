/**
 * Looking into PostgreSQL's parse tree, which arrives as JSON of libpg_query: a node is `{ "SelectStmt": { …fields } }`, a field whose
 * type is fixed carries the fields without that wrapper, and a field with its default value (0, false, empty) is absent.
 */

export type Fields = Readonly<Record<string, unknown>>;

export interface Node {
  readonly type: string;
  readonly fields: Fields;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The wrapped node; null for anything else. */
export function nodeOf(value: unknown): Node | null {
  if (!isFields(value)) return null;
  let found: Node | null = null;
  for (const type in value) {
    if (found !== null) return null;
    const fields = value[type];
    if (!isFields(fields)) return null;
    found = { type, fields };
  }
  return found;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A string field; empty where it is absent. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/** The names of a list of `String` nodes; null when something else is among them. */
export function namesOf(value: unknown): readonly string[] | null {
  const names: string[] = [];
  for (const item of listOf(value)) {
    const node = nodeOf(item);
    if (node?.type !== "String") return null;
    names.push(textOf(node.fields["sval"]));
  }
  return names;
}

/** Text of a constant (`'x'`, `5`, `1.5`, `true`); null for NULL, bit strings and everything that is no constant. */
export function constantOf(value: unknown): string | null {
  const node = nodeOf(value);
  if (node === null) return null;
  const { type, fields } = node;
  if (type === "String") return textOf(fields["sval"]);
  if (type === "Integer") return String(numberOf(fields["ival"]));
  if (type === "Float") return textOf(fields["fval"]);
  if (type === "Boolean") return fields["boolval"] === true ? "true" : "false";
  if (type !== "A_Const" || fields["isnull"] === true) return null;
  if (isFields(fields["sval"])) return textOf(fields["sval"]["sval"]);
  if (isFields(fields["ival"])) return String(numberOf(fields["ival"]["ival"]));
  if (isFields(fields["fval"])) return textOf(fields["fval"]["fval"]);
  if (isFields(fields["boolval"])) return fields["boolval"]["boolval"] === true ? "true" : "false";
  return null;
}
