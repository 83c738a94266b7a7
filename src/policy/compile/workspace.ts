/**
 * Lays the sources out in a folder of their own, as `opa` wants them: modules and tests under their names, the generated main, data,
 * capabilities, the input's schema. File names stay relative, so that messages name the author's files.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { capabilities } from "./capabilities.ts";
import { inputSchema } from "./input-schema.ts";
import { generateMain, MAIN_FILE } from "./main-module.ts";
import { type PolicyModule, readModules } from "./modules.ts";
import type { Problem } from "./problem.ts";
import { DEFAULT_OPTIONS, FILE_PATH, type PolicySources, type SourceFile } from "./sources.ts";

export const CAPABILITIES_FILE = ".capabilities.json";
export const INPUT_SCHEMA_FILE = ".input.json";
export const DATA_FILE = "data.json";

export interface Workspace {
  readonly folder: string;
  readonly modules: readonly PolicyModule[];
  /** Modules and the generated main. */
  readonly policyFiles: readonly string[];
  readonly testFiles: readonly string[];
  /** Text of the generated main. */
  readonly main: string;
  /** The `data` document. */
  readonly data: { readonly sidegate: { readonly targets: object; readonly data: object } };
}

export interface Problems {
  readonly kind: "problems";
  readonly problems: readonly Problem[];
}

/** Calls `work` with the folder and removes it afterwards. */
export async function withWorkspace<T>(
  opa: string,
  tmp: string,
  sources: PolicySources,
  work: (workspace: Workspace) => Promise<T>,
): Promise<T | Problems> {
  const folder = await mkdtemp(path.join(tmp, "sidegate-policy-"));
  try {
    const prepared = await prepare(opa, folder, sources);
    return "kind" in prepared ? prepared : await work(prepared);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function prepare(opa: string, folder: string, sources: PolicySources): Promise<Workspace | Problems> {
  for (const file of [...sources.modules, ...sources.tests]) await place(folder, file);
  const [read, tests] = await Promise.all([
    readModules(opa, folder, sources.modules, "policy"),
    readModules(opa, folder, sources.tests, "test"),
  ]);
  const problems = [...read.problems, ...tests.problems, ...checkOptions(read.modules, sources)];
  if (problems.length > 0) return { kind: "problems", problems };

  const data = {
    sidegate: {
      targets: Object.fromEntries(sources.targets.map(({ name, ...spec }) => [name, spec])),
      data: Object.fromEntries(sources.data),
    },
  };
  const main = generateMain(read.modules, sources.options);
  await place(folder, { name: MAIN_FILE, text: main });
  await writeFile(path.join(folder, DATA_FILE), JSON.stringify(data));
  await writeFile(path.join(folder, CAPABILITIES_FILE), await capabilities(opa, folder));
  await writeFile(path.join(folder, INPUT_SCHEMA_FILE), JSON.stringify(inputSchema()));
  return {
    folder,
    modules: read.modules,
    policyFiles: [...sources.modules.map((file) => file.name), MAIN_FILE],
    testFiles: sources.tests.map((file) => file.name),
    main,
    data,
  };
}

async function place(folder: string, file: SourceFile): Promise<void> {
  if (!FILE_PATH.test(file.name)) throw new RangeError(`file name: ${file.name}`);
  const at = path.join(folder, file.name);
  await mkdir(path.dirname(at), { recursive: true });
  await writeFile(at, file.text);
}

function checkOptions(modules: readonly PolicyModule[], sources: PolicySources): Problem[] {
  const problems: Problem[] = [];
  for (const { policy, has, file, rules } of modules)
    if (has.has("allow_credential_action") && (sources.options.get(policy) ?? DEFAULT_OPTIONS).scope !== "cluster")
      problems.push({
        file,
        line: rules.find((rule) => rule.rule === "allow_credential_action")?.line ?? 0,
        message: "allow_credential_action is for a policy with `scope: cluster` only",
      });
  const names = new Set(modules.map((module) => module.policy));
  for (const name of sources.data.keys())
    if (!names.has(name))
      problems.push({ file: `${name}.data`, line: 0, message: `there is no policy ${name} for this data` });
  for (const name of sources.options.keys())
    if (!names.has(name))
      problems.push({ file: "sidegate.yaml", line: 0, message: `policies: there is no policy ${name}` });
  return problems;
}
