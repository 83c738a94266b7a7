/**
 * A policy folder, with the library that comes with Sidegate, → a signed bundle. What `sidegate policy build`, `sidegate run` and
 * the tests call.
 */
import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { type Assembled, assembleBundle } from "../assemble.ts";
import type { BundleClaims, SigningKey } from "../signature.ts";
import { type Compiled, type CompileOptions, compilePolicies } from "./compile.ts";
import { readPolicyFolder } from "./folder.ts";
import { addLibrary } from "./library.ts";
import type { Problem } from "./problem.ts";
import type { PolicySources } from "./sources.ts";

export interface BuildOptions extends CompileOptions {
  readonly folder: string;
  /** The folder `policies/` of this package; null: nothing is added. */
  readonly library: string | null;
}

export type SourcesResult =
  | { readonly kind: "sources"; readonly sources: PolicySources }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

export interface Built extends Assembled {
  readonly kind: "built";
  readonly compiled: Compiled;
}

export type BuildResult = Built | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** Throws where the folder cannot be read or `opa` cannot be run. */
export async function buildFolder(options: BuildOptions, claims: BundleClaims, key: SigningKey): Promise<BuildResult> {
  const read = await readSources(options);
  if (read.kind === "problems") return read;
  const compiled = await compilePolicies(read.sources, options);
  if (compiled.kind === "problems") return compiled;
  return { kind: "built", compiled, ...assembleBundle(compiled.parts, claims, key) };
}

export async function readSources(options: Pick<BuildOptions, "folder" | "library">): Promise<SourcesResult> {
  const own = await readPolicyFolder(options.folder);
  if (own.kind === "problems" || options.library === null) return own;
  return addLibrary(own, options.library);
}

/** Replaces the file at once, so that a reader sees the old or the new bundle. */
export async function writeBundleFile(file: string, archive: Uint8Array): Promise<void> {
  const part = `${file}.${randomUUID()}`;
  try {
    await writeFile(part, archive, { mode: 0o600 });
    await rename(part, file);
  } catch (fault) {
    await rm(part, { force: true });
    throw fault;
  }
}
