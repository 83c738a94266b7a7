/**
 * One operation in, the decision and the rules that made it out: which rules held, and where each of the others stopped.
 *
 * Uses OPA's interpreter with coverage: a rule whose head was reached has held; of another, the last expression that was looked at
 * is the one that did not. Rule indexing is off, so that every rule is looked at.
 */
import type { Decision } from "#contract/decision.ts";
import type { PolicyModule } from "../compile/modules.ts";
import type { Problem } from "../compile/problem.ts";
import { runOpa } from "../compile/run-opa.ts";
import type { PolicySources } from "../compile/sources.ts";
import { CAPABILITIES_FILE, DATA_FILE, type Problems, type Workspace, withWorkspace } from "../compile/workspace.ts";
import type { RuleLocation } from "../manifest.ts";
import { readDecision } from "../reading.ts";

export interface ExplainedRule extends RuleLocation {
  readonly held: boolean;
  /** Where it stopped: the expression that was not true; null when it held or was never looked at. */
  readonly stopped: { readonly line: number; readonly text: string } | null;
}

export interface Explained {
  readonly kind: "explained";
  readonly decision: Decision;
  readonly rules: readonly ExplainedRule[];
}

export interface ExplainOptions {
  readonly opa: string;
  readonly tmp: string;
  /** `data.sidegate.pod`. */
  readonly pod: Readonly<Record<string, unknown>>;
}

interface Range {
  readonly start: { readonly row: number; readonly col: number };
}
interface Evaluated {
  readonly result?: readonly { readonly bindings?: { readonly decision?: unknown } }[];
  readonly errors?: readonly { readonly message?: string }[];
  readonly coverage?: { readonly files?: Readonly<Record<string, { readonly covered?: readonly Range[] }>> };
}

export async function explainOperation(
  sources: PolicySources,
  input: Readonly<Record<string, unknown>>,
  options: ExplainOptions,
): Promise<Explained | Problems> {
  return withWorkspace(options.opa, options.tmp, sources, (workspace) => explainIn(workspace, sources, input, options));
}

async function explainIn(
  workspace: Workspace,
  sources: PolicySources,
  input: Readonly<Record<string, unknown>>,
  { opa, pod }: ExplainOptions,
): Promise<Explained | Problems> {
  const run = await runOpa(opa, {
    args: [
      ..."eval --format json --coverage --disable-indexing --stdin-input --capabilities".split(" "),
      CAPABILITIES_FILE,
      ...[DATA_FILE, ...workspace.policyFiles].flatMap((file) => ["-d", file]),
      "decision := data.sidegate.decision with input as input.operation with data.sidegate.pod as input.pod",
    ],
    cwd: workspace.folder,
    stdin: JSON.stringify({ operation: input, pod }),
  });
  const evaluated = parse(run.stdout);
  if (run.status !== 0 || evaluated === null) {
    const said = evaluated?.errors?.map((error) => error.message ?? "").join("; ");
    const problem: Problem = { file: "opa eval", line: 0, message: said || run.stderr.trim() || "was stopped" };
    return { kind: "problems", problems: [problem] };
  }
  const value = evaluated.result?.[0]?.bindings?.decision;
  const text = JSON.stringify(value === undefined ? [] : [{ result: value }]);
  const rules = workspace.modules.flatMap((module) => module.rules);
  const decision = readDecision(text, sources.settings, rules);
  const lines = new Map(sources.modules.map(({ name, text: module }) => [name, module.split("\n")]));
  return {
    kind: "explained",
    decision,
    rules: workspace.modules.flatMap((module) => {
      const covered = coveredIn(evaluated, module.file);
      return module.rules.map((rule) => explainRule(rule, module.starts, covered, lines.get(module.file) ?? []));
    }),
  };
}

function parse(text: string): Evaluated | null {
  try {
    return JSON.parse(text) as Evaluated;
  } catch {
    return null;
  }
}

/** Row → columns at which something began that was reached: a rule's head begins where the rule does. */
function coveredIn(evaluated: Evaluated, file: string): ReadonlyMap<number, ReadonlySet<number>> {
  const rows = new Map<number, Set<number>>();
  for (const { start } of evaluated.coverage?.files?.[file]?.covered ?? []) {
    const columns = rows.get(start.row) ?? new Set<number>();
    rows.set(start.row, columns.add(start.col));
  }
  return rows;
}

function explainRule(
  rule: RuleLocation,
  starts: PolicyModule["starts"],
  covered: ReadonlyMap<number, ReadonlySet<number>>,
  lines: readonly string[],
): ExplainedRule {
  const column = starts.find((start) => start.line === rule.line)?.column ?? 1;
  if (covered.get(rule.line)?.has(column) === true) return { ...rule, held: true, stopped: null };
  const end = starts.find((start) => start.line > rule.line)?.line ?? lines.length + 1;
  let last = 0;
  for (let row = rule.line; row < end; row++) if (covered.has(row)) last = row;
  return { ...rule, held: false, stopped: last === 0 ? null : { line: last, text: (lines[last - 1] ?? "").trim() } };
}
