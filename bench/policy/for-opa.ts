/**
 * bench/policy, laid out for OPA's own server: the same modules, the same generated main, the same data and pod, so that
 * `POST /v1/data/sidegate/decision` is asked exactly what our evaluator is.
 *
 * `opa run --server --addr 127.0.0.1:PORT --log-level error FILE…` in the folder; the body is `{"input": {…sample…}}`.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { readPolicyFolder } from "../../src/policy/compile/folder.ts";
import { addLibrary } from "../../src/policy/compile/library.ts";
import { generateMain, MAIN_FILE } from "../../src/policy/compile/main-module.ts";
import { readModules } from "../../src/policy/compile/modules.ts";
import type { PolicySources } from "../../src/policy/compile/sources.ts";

/** What the samples' workload is (`data.sidegate.pod`). */
export const SAMPLE_POD = { namespace: "agents", serviceAccount: "invoice-agent" } as const;

export const SAMPLES = ["read", "write", "denied"] as const;

/** bench/policy with the library, as `sidegate policy build` takes it. */
export async function benchSources(): Promise<PolicySources> {
  const own = await readPolicyFolder(import.meta.dirname);
  if (own.kind === "problems") throw new Error(JSON.stringify(own.problems));
  const all = await addLibrary(own, path.resolve(import.meta.dirname, "../../policies"));
  if (all.kind === "problems") throw new Error(JSON.stringify(all.problems));
  return all.sources;
}

/** Writes the files; resolves to their names, relative to the folder. */
export async function layOutForOpa(opa: string, folder: string, sources: PolicySources): Promise<readonly string[]> {
  const write = async (name: string, text: string): Promise<string> => {
    const at = path.join(folder, name);
    await mkdir(path.dirname(at), { recursive: true });
    await writeFile(at, text);
    return name;
  };
  const files: string[] = [];
  for (const { name, text } of sources.modules) files.push(await write(name, text));
  const { modules, problems } = await readModules(opa, folder, sources.modules, "policy");
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  files.push(await write(MAIN_FILE, generateMain(modules, sources.options)));
  const data = {
    sidegate: {
      targets: Object.fromEntries(sources.targets.map(({ name, ...spec }) => [name, spec])),
      data: Object.fromEntries(sources.data),
      pod: SAMPLE_POD,
    },
  };
  files.push(await write("data.json", JSON.stringify(data)));
  return files;
}
