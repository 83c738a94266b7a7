/**
 * Sources → checked, tested WebAssembly module with its metadata. A step that finds problems ends it:
 * parse and package rules, input paths read → generated main → in one process modules AND tests checked, then the interpreter asked;
 * beside it `opa build -O0`; what was built against what the interpreter said → `opa test` in a process with limits.
 *
 * Each `opa` costs a process that waits for its turn of a core, so none is run for what is known: a tree by its module's text, a built
 * module by the texts of all (targets and data are no part of it).
 *
 * Never `-O1` or `-O2`: with optimisation and without the run-time data, rules silently fold to their defaults.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { CAPABILITIES } from "#contract/capabilities.ts";
import { Lru } from "#core/lru.ts";
import type { BundleParts } from "../assemble.ts";
import { ENTRYPOINT } from "../manifest.ts";
import { readArchive } from "../tar.ts";
import { checkAndAsk, compareBuilt } from "./check-built.ts";
import { MAIN_FILE, mainReads } from "./main-module.ts";
import { type PolicyModule, readOpaErrors } from "./modules.ts";
import type { Problem } from "./problem.ts";
import { type OpaOutcome, runOpa } from "./run-opa.ts";
import { DEFAULT_OPTIONS, type PolicySources } from "./sources.ts";
import { runTests, type TestReport } from "./test.ts";
import { CAPABILITIES_FILE, type Problems, type Workspace, withWorkspace } from "./workspace.ts";

export interface Compiled {
  readonly kind: "compiled";
  readonly parts: BundleParts;
  readonly tests: TestReport;
  /** What is not wrong and will surprise. */
  readonly warnings: readonly Problem[];
}

export interface CompileOptions {
  /** Path of the `opa` program. */
  readonly opa: string;
  /** Where a work folder is made and removed again. */
  readonly tmp: string;
  /** False: the tests are checked, not run. */
  readonly test?: boolean;
}

export type CompileResult = Compiled | Problems;

/** Throws where `opa` cannot be run at all; everything that is the author's is a problem. */
export async function compilePolicies(sources: PolicySources, options: CompileOptions): Promise<CompileResult> {
  return withWorkspace(options.opa, options.tmp, sources, (workspace) => compileIn(workspace, sources, options));
}

async function compileIn(
  workspace: Workspace,
  sources: PolicySources,
  { opa, test }: CompileOptions,
): Promise<CompileResult> {
  const { folder, modules, policyFiles, testFiles } = workspace;
  // An author's tests run only after the check of what they call.
  const [asked, wasm] = await Promise.all([checkAndAsk(opa, workspace), buildModule(opa, workspace, sources)]);
  if ("status" in asked)
    return { kind: "problems", problems: failed("opa check", asked).problems.map((p) => inAuthorsWords(p, workspace)) };
  if ("kind" in wasm) return wasm;
  const parts: BundleParts = {
    wasm,
    data: workspace.data,
    metadata: {
      reads: [...new Set([...mainReads(workspace.main), ...modules.flatMap((module) => module.reads)])].sort(),
      mayHold: modules.some((module) => module.has.has("hold")),
      mayMask: modules.some((module) => module.has.has("mask")),
      settings: sources.settings,
      policies: modules.map(({ policy }) => ({ name: policy, ...(sources.options.get(policy) ?? DEFAULT_OPTIONS) })),
      rules: modules.flatMap((module) => module.rules),
    },
  };
  const running = runTests(opa, folder, [...policyFiles, ...testFiles], test === false ? 0 : testFiles.length);
  const differing = compareBuilt(asked, parts);
  const tests = await running;
  if (tests.problems.length > 0) return { kind: "problems", problems: tests.problems };
  if (differing.length > 0) return { kind: "problems", problems: differing };
  return { kind: "compiled", parts, tests, warnings: warn(modules) };
}

function failed(step: string, run: OpaOutcome): Problems {
  const problems = readOpaErrors(run.stderr) ?? readOpaErrors(run.stdout);
  if (problems !== null && problems.length > 0) return { kind: "problems", problems };
  const message = run.stopped === null ? (run.stderr || run.stdout).trim() : `was stopped (${run.stopped})`;
  return { kind: "problems", problems: [{ file: step, line: 0, message }] };
}

/** A problem in the generated main is one of the rule that its line asks for. */
function inAuthorsWords(problem: Problem, { main, modules }: Workspace): Problem {
  if (problem.file !== MAIN_FILE) return problem;
  const asked = /policy\["([^"]+)"\]\.([a-z_]+)/.exec(main.split("\n")[problem.line - 1] ?? "");
  const module = modules.find(({ policy }) => policy === asked?.[1]);
  const rule = module?.rules.find((found) => found.rule === asked?.[2]);
  if (module === undefined || rule === undefined) return problem;
  return {
    file: module.file,
    line: rule.line,
    message: `${rule.rule} has a value of the wrong type (${problem.message})`,
  };
}

/** Half a megabyte each. */
const builtBefore = new Lru<string, Uint8Array>(16);

async function buildModule(
  opa: string,
  { folder, policyFiles, main }: Workspace,
  { modules }: PolicySources,
): Promise<Uint8Array | Problems> {
  const content = createHash("sha256")
    .update(JSON.stringify([opa, main, modules]))
    .digest("base64");
  const known = builtBefore.get(content);
  if (known !== undefined) return known;
  const output = ".built.tar.gz";
  const build = await runOpa(opa, {
    args: [
      ...`build -t wasm -O 0 -e ${ENTRYPOINT} --capabilities ${CAPABILITIES_FILE} -o ${output}`.split(" "),
      ...policyFiles,
    ],
    cwd: folder,
  });
  if (build.status !== 0) return failed("opa build", build);
  const wasm = readArchive(await readFile(path.join(folder, output))).get("policy.wasm");
  if (wasm === undefined)
    return { kind: "problems", problems: [{ file: "opa build", line: 0, message: "made no module" }] };
  builtBefore.set(content, wasm);
  return wasm;
}

const OBLIGATIONS = ["hold", "mask", "credential"] as const;

/** An obligation that no protocol can carry out is a denial each time. */
function warn(modules: readonly PolicyModule[]): Problem[] {
  const impossible = OBLIGATIONS.filter((what) => !CAPABILITIES.some((capability) => capability[what]));
  return modules.flatMap(({ file, rules }) =>
    rules
      .filter(({ rule }) => impossible.some((what) => what === rule))
      .map(({ rule, line }) => ({
        file,
        line,
        message: `no protocol can carry out \`${rule}\` yet: where it holds, the operation is denied`,
      })),
  );
}
