/**
 * Applies what `diffJson` makes (add, replace, remove) to a JSON value, in a copy. A path that does not exist throws: the patch was
 * made for another value.
 */
import type { PatchOperation } from "./json-diff.ts";

export function applyJson(value: unknown, patch: readonly PatchOperation[]): unknown {
  return patch.reduce<unknown>(
    (patched, operation) => applyOne(patched, pointerTokens(operation.path), operation),
    value,
  );
}

/** The reference tokens of a JSON Pointer (RFC 6901), unescaped. */
export function pointerTokens(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function applyOne(value: unknown, tokens: readonly string[], operation: PatchOperation): unknown {
  const [token, ...rest] = tokens;
  if (token === undefined) {
    if (operation.op === "remove") throw new RangeError("a patch cannot remove the whole value");
    return operation.value;
  }
  if (Array.isArray(value)) {
    const list: unknown[] = [...(value as readonly unknown[])];
    const index = token === "-" && rest.length === 0 && operation.op === "add" ? list.length : Number(token);
    const end = operation.op === "add" && rest.length === 0 ? list.length : list.length - 1;
    if (!Number.isInteger(index) || index < 0 || index > end) throw new RangeError(`no element ${token}`);
    if (rest.length > 0) list[index] = applyOne(list[index], rest, operation);
    else if (operation.op === "remove") list.splice(index, 1);
    else list.splice(index, operation.op === "add" ? 0 : 1, operation.value);
    return list;
  }
  if (typeof value !== "object" || value === null) throw new RangeError(`nothing to find ${token} in`);
  const members = new Map(Object.entries(value));
  if (!members.has(token) && (operation.op !== "add" || rest.length > 0)) throw new RangeError(`no member ${token}`);
  if (rest.length === 0 && operation.op === "remove") members.delete(token);
  else members.set(token, applyOne(members.get(token), rest, operation));
  return Object.fromEntries(members);
}
