/**
 * Sources → checked, tested WebAssembly module with its metadata. In this order, and a step that finds problems ends it:
 * parse and package rules → generated main → `opa check` over modules AND tests → input paths read → `opa test` in a process with
 * limits → `opa build -O0` → the built module itself, with the data it will run with, against OPA's interpreter.
 *
 * Never `-O1` or `-O2`: with optimisation and without the run-time data, rules silently fold to their defaults.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BundleParts } from "../assemble.ts";
import { ENTRYPOINT } from "../manifest.ts";
import { readArchive } from "../tar.ts";
import { capabilities } from "./capabilities.ts";
import { checkBuilt } from "./check-built.ts";
import { inputSchema } from "./input-schema.ts";
import { generateMain, MAIN_FILE } from "./main-module.ts";
import { readModules, readOpaErrors } from "./modules.ts";
import type { Problem } from "./problem.ts";
import { runOpa } from "./run-opa.ts";
import { DEFAULT_OPTIONS, FILE_PATH, type PolicySources, type SourceFile } from "./sources.ts";
import { runTests, type TestReport } from "./test.ts";

export interface Compiled {
  readonly kind: "compiled";
  readonly parts: BundleParts;
  readonly tests: TestReport;
  readonly warnings: readonly Problem[];
}

export interface CompileOptions {
  /** Path of the `opa` program. */
  readonly opa: string;
  /** Where a work folder is made and removed again. */
  readonly tmp: string;
  /** False: `sidegate run` on a folder whose tests were run before. */
  readonly test?: boolean;
}

export type CompileResult = Compiled | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** Throws where `opa` cannot be run at all; everything that is the author's is a problem. */
export async function compilePolicies(sources: PolicySources, options: CompileOptions): Promise<CompileResult> {
  const folder = await mkdtemp(path.join(options.tmp, "sidegate-policy-"));
  try {
    return await compileIn(folder, sources, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function compileIn(
  folder: string,
  sources: PolicySources,
  { opa, test }: CompileOptions,
): Promise<CompileResult> {
  const { modules: files, tests } = sources;
  const problems: Problem[] = [];
  for (const file of [...files, ...tests]) await place(folder, file);
  const read = await readModules(opa, folder, files, "policy");
  const readTests = await readModules(opa, folder, tests, "test");
  problems.push(...read.problems, ...readTests.problems);
  for (const module of read.modules)
    if (
      module.has.has("allow_credential_action") &&
      (sources.options.get(module.policy) ?? DEFAULT_OPTIONS).scope !== "cluster"
    )
      problems.push({
        file: module.file,
        line: module.rules.find((rule) => rule.rule === "allow_credential_action")?.line ?? 0,
        message: "allow_credential_action is for a policy with `scope: cluster` only",
      });
  const policies = new Set(read.modules.map((module) => module.policy));
  for (const name of [...sources.data.keys(), ...sources.options.keys()])
    if (!policies.has(name))
      problems.push({ file: name, line: 0, message: `there is no policy ${name} for this data or option` });
  if (problems.length > 0) return { kind: "problems", problems };

  const data = {
    sidegate: {
      targets: Object.fromEntries(sources.targets.map(({ name, ...spec }) => [name, spec])),
      data: Object.fromEntries(sources.data),
    },
  };
  await place(folder, { name: MAIN_FILE, text: generateMain(read.modules, sources.options) });
  await writeFile(path.join(folder, "data.json"), JSON.stringify(data));
  await writeFile(path.join(folder, ".capabilities.json"), await capabilities(opa, folder));
  await writeFile(path.join(folder, ".input.json"), JSON.stringify(inputSchema()));
  const policyFiles = [...files.map((file) => file.name), MAIN_FILE];
  const testFiles = tests.map((file) => file.name);

  const check = await runOpa(opa, {
    args: [
      "check",
      "--strict",
      "--format",
      "json",
      "--capabilities",
      ".capabilities.json",
      "--schema",
      ".input.json",
      ...policyFiles,
      ...testFiles,
    ],
    cwd: folder,
  });
  if (check.status !== 0) return failed("opa check", check);
  const reads = await readInputs(opa, folder, policyFiles);
  if ("problems" in reads) return { kind: "problems", problems: reads.problems };

  const report = await runTests(opa, folder, [...policyFiles, ...testFiles], test === false ? 0 : tests.length);
  if (report.problems.length > 0) return { kind: "problems", problems: report.problems };

  const build = await runOpa(opa, {
    args: [
      "build",
      "-t",
      "wasm",
      "-O",
      "0",
      "-e",
      ENTRYPOINT,
      "--capabilities",
      ".capabilities.json",
      "-o",
      ".built.tar.gz",
      ...policyFiles,
    ],
    cwd: folder,
  });
  if (build.status !== 0) return failed("opa build", build);
  const wasm = readArchive(await readFile(path.join(folder, ".built.tar.gz"))).get("policy.wasm");
  if (wasm === undefined)
    return { kind: "problems", problems: [{ file: "opa build", line: 0, message: "made no module" }] };

  const parts: BundleParts = {
    wasm,
    data,
    metadata: {
      reads: reads.paths,
      mayHold: read.modules.some((module) => module.has.has("hold")),
      mayMask: read.modules.some((module) => module.has.has("mask")),
      settings: sources.settings,
      policies: read.modules.map(({ policy }) => ({
        name: policy,
        ...(sources.options.get(policy) ?? DEFAULT_OPTIONS),
      })),
      rules: read.modules.flatMap((module) => module.rules),
    },
  };
  const differing = await checkBuilt(opa, folder, policyFiles, parts);
  if (differing.length > 0) return { kind: "problems", problems: differing };
  return { kind: "compiled", parts, tests: report, warnings: [] };
}

function failed(step: string, run: { stdout: string; stderr: string; stopped: string | null }): CompileResult {
  const problems = readOpaErrors(run.stderr) ?? readOpaErrors(run.stdout);
  if (problems !== null && problems.length > 0) return { kind: "problems", problems };
  return {
    kind: "problems",
    problems: [{ file: step, line: 0, message: run.stopped ?? (run.stderr || run.stdout).trim() }],
  };
}

async function place(folder: string, file: SourceFile): Promise<void> {
  if (!FILE_PATH.test(file.name)) throw new RangeError(`file name: ${file.name}`);
  const at = path.join(folder, file.name);
  await mkdir(path.dirname(at), { recursive: true });
  await writeFile(at, file.text);
}

/** The input paths that the decision depends on, as `http.method`; a path ends where it is no longer a literal. */
async function readInputs(
  opa: string,
  folder: string,
  files: readonly string[],
): Promise<{ readonly paths: readonly string[] } | { readonly problems: readonly Problem[] }> {
  const run = await runOpa(opa, {
    args: [
      "deps",
      "--format",
      "json",
      ...files.flatMap((file) => ["-d", file]),
      `data.${ENTRYPOINT.replace("/", ".")}`,
    ],
    cwd: folder,
  });
  if (run.status !== 0) return { problems: [{ file: "opa deps", line: 0, message: run.stderr.trim() }] };
  const { base } = JSON.parse(run.stdout) as { base?: { type: string; value: unknown }[][] };
  const paths = new Set<string>();
  for (const [head, ...rest] of base ?? []) {
    if (head?.value !== "input") continue;
    const parts: string[] = [];
    for (const term of rest) {
      // A name with a dot cannot be told from two names: its parent counts as read.
      if (term.type !== "string" || typeof term.value !== "string" || term.value.includes(".")) break;
      parts.push(term.value);
    }
    paths.add(parts.join("."));
  }
  return { paths: [...paths].sort() };
}
