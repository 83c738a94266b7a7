/**
 * JSON → CEL literals, so that a policy compares with the very object that injection writes. Parts that are only known in the
 * cluster stand in the object as `hole("params.data.image")` and come out as that expression.
 */

const OPEN = "\u2039";
const CLOSE = "\u203a";
const HOLE = new RegExp(`^${OPEN}(.*)${CLOSE}$`, "s");

/** A string that stands for a CEL expression of type string. */
export function hole(expression: string): string {
  return `${OPEN}${expression}${CLOSE}`;
}

/** CEL's string literals know every escape that JSON's do. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

export function quotedList(texts: Iterable<string | number>): string {
  return `[${[...texts].map((text) => JSON.stringify(text)).join(", ")}]`;
}

/** An object's fields are compared at run time, whatever the API server's schema calls them: a field more is a difference. */
export function celLiteral(value: unknown): string {
  if (typeof value === "string") return HOLE.exec(value)?.[1] ?? quote(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => `dyn(${celLiteral(item)})`).join(", ")}]`;
  if (typeof value !== "object" || value === null) throw new Error(`no CEL for ${String(value)}`);
  const optional = emptyable(value);
  if (optional !== null) return optional;
  return `{${Object.entries(value)
    .map(([key, member]) => `${quote(key)}: dyn(${celLiteral(member)})`)
    .join(", ")}}`;
}

/** `{name, value: hole}` of an environment: the API server leaves out an empty value, and so does injection. */
function emptyable(value: object): string | null {
  const { name, value: text, ...rest } = value as { readonly name?: unknown; readonly value?: unknown };
  const expression = typeof text === "string" ? HOLE.exec(text)?.[1] : undefined;
  if (typeof name !== "string" || expression === undefined || Object.keys(rest).length > 0) return null;
  return `(${expression} == "" ? {"name": dyn(${quote(name)})} : {"name": dyn(${quote(name)}), "value": dyn(${expression})})`;
}
