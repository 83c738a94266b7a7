/**
 * What a module reads of `input`, from its syntax tree: `http.method`; a path ends where it is no longer a literal. The sidecar gives a
 * policy only these.
 *
 * Errs towards more: every mention counts, also in a rule that nobody asks for, because a path that is missing here is a field that the
 * policy would not see. A name of the author's own for a part of the input (`i := input.http`, an import) counts as what is read
 * through it; where that cannot be told, as all of it.
 */

interface Term {
  readonly type?: string;
  readonly value?: unknown;
}

type Path = readonly string[];
/** Names of the author's own → what they stand for. */
type Names = ReadonlyMap<string, readonly Path[]>;

/** Names of names of …: an author who goes further reads all of what the last one stands for. */
const MAX_STEPS = 8;

/** `ast`: of `opa parse`. */
export function inputReads(ast: object): readonly string[] {
  const { imports = [], rules = [] } = ast as {
    readonly imports?: readonly object[];
    readonly rules?: readonly object[];
  };
  const reads = new Set<string>();
  const imported = new Map<string, readonly Path[]>([["input", [[]]]]);
  for (const { path, alias } of imports as readonly { readonly path?: Term; readonly alias?: string }[]) {
    const found = path === undefined ? null : literal(path, imported);
    const name = alias ?? found?.[0]?.at(-1);
    if (found !== null && name !== undefined) imported.set(name, found);
  }
  for (const rule of rules) {
    // A local name lives in its rule: wherever in the rule it is mentioned, it may be that one.
    const names = namesIn(rule, imported);
    readsIn(rule, names, (path) => reads.add(path.join(".")));
  }
  return [...reads];
}

/** Every `name := input.…` of a rule, whatever its depth, on top of the module's imports. */
function namesIn(rule: object, imported: Names): Names {
  const names = new Map(imported);
  const assigned: (readonly [string, Term])[] = [];
  everyNode(rule, (node) => {
    const pair = assignment(node);
    if (pair !== null) assigned.push(pair);
  });
  for (let step = 0; step < MAX_STEPS; step++) {
    const before = size(names);
    for (const [name, value] of assigned) {
      const paths = literal(value, names);
      if (paths !== null) names.set(name, union(names.get(name) ?? [], paths));
    }
    if (size(names) === before) return names;
  }
  // Not at an end (a name that is made of itself): what any of them stands for counts whole.
  return new Map([...names].map(([name]) => [name, [[]]]));
}

function readsIn(node: unknown, names: Names, read: (path: Path) => void): void {
  if (Array.isArray(node)) {
    for (const item of node) readsIn(item, names, read);
    return;
  }
  if (typeof node !== "object" || node === null) return;
  const pair = assignment(node);
  // What a name stands for is read where the name is.
  if (pair !== null && literal(pair[1], names) !== null) return;
  const term = node as Term;
  if (term.type === "var" && typeof term.value === "string") for (const path of names.get(term.value) ?? []) read(path);
  if (term.type === "ref" && Array.isArray(term.value)) {
    const [head, ...rest] = term.value as Term[];
    const { path } = literals(rest);
    const bases = head?.type === "var" && typeof head.value === "string" ? names.get(head.value) : undefined;
    for (const base of bases ?? []) read([...base, ...path]);
    // A head that is none of ours may be a call or a text with references in it.
    readsIn(bases === undefined ? term.value : rest, names, read);
    return;
  }
  for (const value of Object.values(node)) readsIn(value, names, read);
}

/** `name := value` of a syntax tree, as the parser writes it. */
function assignment(node: object): readonly [string, Term] | null {
  const { terms } = node as { readonly terms?: unknown };
  if (!Array.isArray(terms) || terms.length !== 3 || "with" in node) return null;
  const [operator, left, right] = terms as Term[];
  const [called] = Array.isArray(operator?.value) ? (operator.value as Term[]) : [];
  if (operator?.type !== "ref" || called?.value !== "assign" || left?.type !== "var" || right === undefined)
    return null;
  return typeof left.value === "string" ? [left.value, right] : null;
}

/** What a term stands for where it is `input` or a name for a part of it, all of its steps literals; else null. */
function literal(term: Term, names: Names): readonly Path[] | null {
  if (term.type === "var" && typeof term.value === "string") return names.get(term.value) ?? null;
  if (term.type !== "ref" || !Array.isArray(term.value)) return null;
  const [head, ...rest] = term.value as Term[];
  if (head?.type !== "var" || typeof head.value !== "string") return null;
  const { path, whole } = literals(rest);
  return whole ? (names.get(head.value)?.map((base) => [...base, ...path]) ?? null) : null;
}

/** The steps up to the first that is no literal. A name with a dot cannot be told from two names: its parent counts as read. */
function literals(steps: readonly Term[]): { readonly path: Path; readonly whole: boolean } {
  const path: string[] = [];
  for (const { type, value } of steps) {
    if (type !== "string" || typeof value !== "string" || value.includes(".")) return { path, whole: false };
    path.push(value);
  }
  return { path, whole: true };
}

function everyNode(node: unknown, visit: (node: object) => void): void {
  if (typeof node !== "object" || node === null) return;
  if (!Array.isArray(node)) visit(node);
  for (const value of Object.values(node)) everyNode(value, visit);
}

function union(one: readonly Path[], other: readonly Path[]): readonly Path[] {
  return [...new Map([...one, ...other].map((path) => [path.join("."), path])).values()];
}

function size(names: Names): number {
  let count = 0;
  for (const paths of names.values()) count += paths.length;
  return count;
}
