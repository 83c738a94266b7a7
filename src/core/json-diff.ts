/**
 * The difference of two JSON values as an RFC 6902 patch that people can read: list elements are matched by what names them, so an
 * inserted container is one `add` and not a rewrite of its neighbours. Applied to `from`, the patch gives exactly `to`.
 *
 * Errs towards replacing a whole list where elements cannot be matched or changed their order.
 */

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

type JsonObject = Readonly<Record<string, unknown>>;

/** Members that name an element of a list in Kubernetes objects. `mountPath` comes first: several mounts may share a volume's name. */
const KEYS = ["mountPath", "name"] as const;

/** Empty when the two are equal. Depth is bounded by the values, which were parsed from bounded texts. */
export function diffJson(from: unknown, to: unknown, path = ""): PatchOperation[] {
  // What was carried over untouched is the same object: nothing in it has to be looked at.
  if (from === to) return [];
  if (Array.isArray(from) && Array.isArray(to)) return diffLists(from, to, path);
  if (isObject(from) && isObject(to)) return diffObjects(from, to, path);
  return [{ op: "replace", path, value: to }];
}

export function equalJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => equalJson(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equalJson(a[key], b[key]))
  );
}

/** One reference token of a JSON Pointer (RFC 6901, section 3). */
export function pointerToken(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function diffObjects(from: JsonObject, to: JsonObject, path: string): PatchOperation[] {
  const operations: PatchOperation[] = [];
  for (const key of Object.keys(from))
    if (!Object.hasOwn(to, key)) operations.push({ op: "remove", path: `${path}/${pointerToken(key)}` });
  for (const [key, value] of Object.entries(to)) {
    const at = `${path}/${pointerToken(key)}`;
    if (Object.hasOwn(from, key)) operations.push(...diffJson(from[key], value, at));
    else operations.push({ op: "add", path: at, value });
  }
  return operations;
}

function diffLists(from: readonly unknown[], to: readonly unknown[], path: string): PatchOperation[] {
  if (equalJson(from, to)) return [];
  const key = KEYS.find((k) => namesEach(from, k) && namesEach(to, k));
  if (key === undefined) return [{ op: "replace", path, value: to }];
  const name = (element: unknown): unknown => (element as JsonObject)[key];
  const wanted = new Set(to.map(name));
  const kept = from.filter((element) => wanted.has(name(element)));
  const before = new Map(kept.map((element) => [name(element), element]));
  const order = to.map(name).filter((n) => before.has(n));
  if (order.some((n, index) => n !== name(kept[index]))) return [{ op: "replace", path, value: to }];

  const operations: PatchOperation[] = [];
  for (let index = from.length - 1; index >= 0; index--)
    if (!wanted.has(name(from[index]))) operations.push({ op: "remove", path: `${path}/${index}` });
  // From here on the patched list holds `to[0..index)`, then the kept elements not yet reached: each insertion lands at its final index.
  let left = kept.length;
  for (const [index, element] of to.entries()) {
    const old = before.get(name(element));
    if (old === undefined) operations.push({ op: "add", path: `${path}/${left === 0 ? "-" : index}`, value: element });
    else {
      left--;
      operations.push(...diffJson(old, element, `${path}/${index}`));
    }
  }
  return operations;
}

function namesEach(list: readonly unknown[], key: string): boolean {
  const names = new Set<unknown>();
  for (const element of list) {
    if (!isObject(element) || typeof element[key] !== "string") return false;
    names.add(element[key]);
  }
  return names.size === list.length;
}
