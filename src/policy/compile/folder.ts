/**
 * Reads a policy folder: `*.rego`, `*_test.rego`, `<policy>.data.json|yaml`, targets (any YAML document of kind EgressTarget) and
 * `sidegate.yaml`. Other files are left alone. Bounded in depth, count and size; hidden files and folders are not read.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { Target } from "#contract/target.ts";
import { MAIN_FILE } from "./main-module.ts";
import type { Problem } from "./problem.ts";
import { NO_SETTINGS, readSettings } from "./settings.ts";
import { DEFAULT_OPTIONS, FILE_PATH, POLICY_NAME, type PolicySources, type SourceFile } from "./sources.ts";
import { readTargetDocuments } from "./target-documents.ts";
import { parseYaml } from "./yaml-text.ts";

const MAX_DEPTH = 5;
const MAX_FILES = 2_000;
const MAX_FILE_BYTES = 4 * 1024 * 1024;

export interface FolderSources {
  readonly kind: "sources";
  readonly sources: PolicySources;
  /** Which policies of the library are wanted; null: all. */
  readonly library: readonly string[] | null;
}

export type FolderResult = FolderSources | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** Throws where the folder itself cannot be read. */
export async function readPolicyFolder(folder: string): Promise<FolderResult> {
  const problems: Problem[] = [];
  const modules: SourceFile[] = [];
  const tests: SourceFile[] = [];
  const data = new Map<string, unknown>();
  const targets: Target[] = [];
  const seen = new Map<string, string>();
  let settings = NO_SETTINGS;

  for (const name of await listFiles(folder, problems)) {
    const base = path.posix.basename(name);
    const text = await readFile(path.join(folder, name), "utf8");
    const file: SourceFile = { name, text };
    const own = /^(.+)\.data\.(json|ya?ml)$/.exec(base);
    if (base.endsWith("_test.rego")) tests.push(file);
    else if (base.endsWith(".rego")) modules.push(file);
    else if (own?.[1] !== undefined) {
      const parsed = parseYaml(file, problems);
      if (!POLICY_NAME.test(own[1]))
        problems.push({ file: name, line: 0, message: "is named <policy>.data.json, after its policy" });
      else if (data.has(own[1])) problems.push({ file: name, line: 0, message: `${own[1]} has data already` });
      else if (parsed !== undefined) data.set(own[1], parsed);
    } else if (name === "sidegate.yaml" || name === "sidegate.yml") settings = readSettings(file, problems);
    else if (/\.ya?ml$/.test(base))
      for (const { target, line } of readTargetDocuments(file, problems)) {
        const before = seen.get(target.name);
        if (before !== undefined)
          problems.push({ file: name, line, message: `target ${target.name} is already in ${before}` });
        seen.set(target.name, name);
        targets.push(target);
      }
  }
  if (problems.length > 0) return { kind: "problems", problems };
  const options = new Map(
    [...settings.policies].map(([policy, given]) => [policy, { ...DEFAULT_OPTIONS, ...given }] as const),
  );
  return {
    kind: "sources",
    sources: { modules, tests, data, targets, settings: settings.settings, options },
    library: settings.library,
  };
}

async function listFiles(folder: string, problems: Problem[]): Promise<string[]> {
  const found: string[] = [];
  const visit = async (relative: string, depth: number): Promise<void> => {
    for (const entry of (await readdir(path.join(folder, relative))).sort()) {
      if (entry.startsWith(".") || entry === "node_modules") continue;
      const name = relative === "" ? entry : `${relative}/${entry}`;
      const info = await stat(path.join(folder, name));
      if (info.isDirectory()) {
        if (depth >= MAX_DEPTH)
          problems.push({ file: name, line: 0, message: `folders are nested deeper than ${MAX_DEPTH}` });
        else await visit(name, depth + 1);
      } else if (/\.(rego|json|ya?ml)$/.test(entry)) {
        if (!FILE_PATH.test(name) || name === MAIN_FILE)
          problems.push({ file: name, line: 0, message: "this file name cannot be used" });
        else if (info.size > MAX_FILE_BYTES)
          problems.push({ file: name, line: 0, message: `is over ${MAX_FILE_BYTES} bytes` });
        else found.push(name);
        if (found.length > MAX_FILES) throw new RangeError(`more than ${MAX_FILES} files in ${folder}`);
      }
    }
  };
  await visit("", 1);
  return found;
}
