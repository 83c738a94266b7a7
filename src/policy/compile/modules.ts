/**
 * Reads Rego modules through OPA's own parser and checks what OPA cannot: the package that a policy must have, the rules that the
 * generated main asks it for, and what it may read of `data`.
 *
 * Errs towards refusal: a reference into `data` that is not spelt out (`data[x]`, `data.sidegate`) could read another policy, so
 * it is a problem.
 */
import { createHash } from "node:crypto";
import { Lru } from "#core/lru.ts";
import type { RuleLocation } from "../manifest.ts";
import { checkDataRefs } from "./data-refs.ts";
import type { Problem } from "./problem.ts";
import { inputReads } from "./reads.ts";
import { runOpa } from "./run-opa.ts";
import { POLICY_NAME, type SourceFile } from "./sources.ts";

/** What a policy may say, and how: `allow if …` or `deny contains … if …`. */
const RULES: ReadonlyMap<string, "value" | "set"> = new Map([
  ["allow", "value"],
  ["deny", "set"],
  ["hold", "set"],
  ["mask", "set"],
  ["credential", "value"],
  ["allow_incomplete", "value"],
  ["allow_credential_action", "value"],
]);

export interface PolicyModule {
  readonly file: string;
  readonly policy: string;
  /** Which of the known rules it has. */
  readonly has: ReadonlySet<string>;
  readonly rules: readonly RuleLocation[];
  /** Input paths. */
  readonly reads: readonly string[];
  /** Where each rule begins, also one that is only the policy's own; ascending. */
  readonly starts: readonly { readonly line: number; readonly column: number }[];
}

interface Located {
  readonly location?: { readonly row?: number; readonly col?: number };
}
interface Term extends Located {
  readonly type?: string;
  readonly value?: unknown;
}
interface RuleHead extends Located {
  readonly ref?: readonly Term[];
  readonly name?: string;
  readonly key?: Term;
  readonly value?: Term;
  readonly args?: readonly unknown[];
}
interface Rule extends Located {
  readonly head: RuleHead;
  readonly default?: boolean;
  readonly else?: unknown;
}
interface Ast {
  readonly package: { readonly path: readonly Term[] } & Located;
  readonly rules?: readonly Rule[];
}

/** `folder`: where the files lie; names are relative to it. */
export async function readModules(
  opa: string,
  folder: string,
  files: readonly SourceFile[],
  kind: "policy" | "test",
): Promise<{ readonly modules: readonly PolicyModule[]; readonly problems: readonly Problem[] }> {
  const modules: PolicyModule[] = [];
  const problems: Problem[] = [];
  const names = new Map<string, string>();
  for (const [at, parsed] of (await parseAll(opa, folder, files)).entries()) {
    const file = files[at]?.name ?? "";
    if (!("ast" in parsed)) {
      problems.push(...parsed.problems);
      continue;
    }
    const { ast } = parsed;
    const policy = kind === "policy" ? policyOf(ast) : testOf(ast);
    if (policy === null) {
      const expected =
        kind === "policy" ? "sidegate.policy.<name>" : "sidegate.policy.<name>_test or sidegate.test.<name>";
      problems.push({
        file,
        line: ast.package.location?.row ?? 0,
        message: `the package must be ${expected}, with a name like read_only (lower case, digits, _ and -)`,
      });
      continue;
    }
    if (kind === "test") continue;
    const before = names.get(policy);
    if (before !== undefined)
      problems.push({ file, line: 0, message: `package sidegate.policy.${policy} is already in ${before}` });
    names.set(policy, file);
    problems.push(...checkDataRefs(ast, file, policy));
    modules.push(readRules(ast, file, policy, problems));
  }
  return { modules, problems };
}

type Parsed = { readonly ast: Ast } | { readonly problems: readonly Problem[] };

/**
 * What was parsed once, by program and text: of a set of policies one changes at a time, and each `opa` costs a process. Only what is
 * good is kept; a tree is some ten times its text.
 */
const kept = new Lru<string, Ast>(256);
const MAX_KEPT_TEXT = 64 * 1024;
/** At a time: a parse is a process on a core. */
const AT_ONCE = 2;

async function parseAll(opa: string, folder: string, files: readonly SourceFile[]): Promise<Parsed[]> {
  const parsed: Parsed[] = [];
  const next = files.entries();
  const work = async (): Promise<void> => {
    for (const [at, { name, text }] of next) {
      const key = createHash("sha256").update(`${opa}\0${text}`).digest("base64");
      const known = kept.get(key);
      const one = known === undefined ? await parse(opa, folder, name) : { ast: known };
      if ("ast" in one && text.length <= MAX_KEPT_TEXT) kept.set(key, one.ast);
      parsed[at] = one;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return parsed;
}

async function parse(opa: string, folder: string, file: string): Promise<Parsed> {
  const run = await runOpa(opa, {
    args: ["parse", "--format", "json", "--json-include", "locations,-comments", file],
    cwd: folder,
  });
  if (run.status === 0) return { ast: JSON.parse(run.stdout) as Ast };
  const problems = readOpaErrors(run.stdout) ?? readOpaErrors(run.stderr);
  return { problems: problems ?? [{ file, line: 0, message: `opa parse: ${run.stderr.trim() || run.stopped}` }] };
}

/** OPA's `{"errors": [{message, location}]}`; null when it is something else. */
export function readOpaErrors(text: string): Problem[] | null {
  let parsed: {
    errors?: { message?: string; location?: { file?: string; row?: number }; details?: { oneOf?: string[] } }[];
  };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch {
    return null;
  }
  return (parsed.errors ?? []).map((error) => ({
    file: (error.location?.file ?? "").replace(/^\.\//, "") || "policy",
    line: error.location?.row ?? 0,
    message: `${error.message ?? "error"}${error.details?.oneOf === undefined ? "" : ` (there is: ${error.details.oneOf.join(", ")})`}`,
  }));
}

function pathOf(ast: Ast): unknown[] {
  return ast.package.path.map((term) => term.value);
}

function policyOf(ast: Ast): string | null {
  const [data, sidegate, policy, name, ...rest] = pathOf(ast);
  if (data !== "data" || sidegate !== "sidegate" || policy !== "policy" || rest.length > 0) return null;
  return typeof name === "string" && POLICY_NAME.test(name) && !name.endsWith("_test") ? name : null;
}

function testOf(ast: Ast): string | null {
  const [data, sidegate, kind, name, ...rest] = pathOf(ast);
  if (data !== "data" || sidegate !== "sidegate" || typeof name !== "string" || rest.length > 0) return null;
  return kind === "test" || (kind === "policy" && name.endsWith("_test")) ? name : null;
}

function readRules(ast: Ast, file: string, policy: string, problems: Problem[]): PolicyModule {
  const rules: RuleLocation[] = [];
  const starts: { line: number; column: number }[] = [];
  const has = new Set<string>();
  for (const rule of ast.rules ?? []) {
    const { head } = rule;
    const first = head.ref?.[0]?.value;
    const name = typeof first === "string" ? first : (head.name ?? "");
    const shape = RULES.get(name);
    const line = rule.location?.row ?? head.location?.row ?? 0;
    starts.push({ line, column: rule.location?.col ?? 1 });
    if (shape === undefined) continue;
    const set = head.key !== undefined && head.value === undefined;
    if (head.args !== undefined || (head.ref?.length ?? 1) > (set ? 2 : 1) || set !== (shape === "set"))
      problems.push({
        file,
        line,
        message: `${name} must be written as \`${name} ${shape === "set" ? "contains … if" : "if"} …\``,
      });
    has.add(name);
    // Which credentials a policy can name is what the controller hands out by: so a default counts as well.
    if (name === "credential") rules.push({ policy, rule: name, code: literalCredential(rule), file, line });
    else if (rule.default !== true) rules.push({ policy, rule: name, code: literalCode(head.key), file, line });
  }
  if (has.size === 0)
    problems.push({
      file,
      line: 0,
      message: `has none of the rules that are asked for: ${[...RULES.keys()].join(", ")}`,
    });
  return { file, policy, has, rules, reads: inputReads(ast), starts: starts.sort((a, b) => a.line - b.line) };
}

/** The name in `credential := "…" if …`; null where it is computed. */
function literalCredential({ head, else: other }: Rule): string | null {
  return other === undefined && head.value?.type === "string" ? String(head.value.value) : null;
}

/** The code of `deny contains {"code": "…", …}`, where it is a literal. */
function literalCode(key: Term | undefined): string | null {
  if (key?.type !== "object" || !Array.isArray(key.value)) return null;
  for (const [name, value] of key.value as [Term, Term][])
    if (name.value === "code" && value.type === "string") return String(value.value);
  return null;
}
