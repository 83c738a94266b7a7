/**
 * What a policy reads of `data`: its own, the targets, the pod. Looks at the syntax tree, so that an import, a `with` or a local name
 * makes no difference.
 *
 * Errs towards refusal: a reference that is not spelt out (`data[x]`, `data.sidegate`, `data` alone) could read another policy.
 */
import type { Problem } from "./problem.ts";

interface Term {
  readonly type?: string;
  readonly value?: unknown;
  readonly location?: { readonly row?: number };
}

/** Every reference into `data` must be spelt out, to something that this policy may read. */
export function checkDataRefs(ast: object, file: string, policy: string): Problem[] {
  const problems: Problem[] = [];
  const { package: _own, ...rest } = ast as Record<string, unknown>;
  walk(rest, 0);
  return problems;

  function walk(node: unknown, line: number): void {
    if (Array.isArray(node)) {
      for (const item of node) walk(item, line);
      return;
    }
    if (typeof node !== "object" || node === null) return;
    const term = node as Term;
    const row = term.location?.row ?? line;
    if (term.type === "ref" && Array.isArray(term.value)) check(term.value as Term[], row);
    else if (term.type === "var" && term.value === "data")
      problems.push({ file, line: row, message: "`data` alone reads every policy" });
    for (const [key, value] of Object.entries(node)) {
      // The head of a ref was looked at as a whole.
      if (key === "value" && term.type === "ref" && Array.isArray(value))
        for (const item of value.slice(1)) walk(item, row);
      else walk(value, row);
    }
  }

  function check(ref: readonly Term[], line: number): void {
    const [head, ...path] = ref;
    if (head?.type !== "var" || head.value !== "data") return;
    const [root, kind, name] = path.map((term) => (term.type === "string" ? term.value : null));
    const readable =
      root === "sidegate" &&
      (kind === "targets" || kind === "pod" || ((kind === "data" || kind === "policy") && name === policy));
    if (!readable)
      problems.push({
        file,
        line,
        message: `${path.length === 0 ? "`data`" : `data.${path.map((term) => String(term.value)).join(".")}`} may not be read here: a policy reads data.sidegate.data.${policy}, data.sidegate.targets and data.sidegate.pod`,
      });
  }
}
