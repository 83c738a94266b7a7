/**
 * The policy of a `sidegate run`: a folder, compiled with `opa`; or the library's prebuilt module with the targets of a folder or
 * of the command line, which needs no `opa`. A changed folder is compiled anew while the agent runs; what does not compile
 * changes nothing and is said.
 */
import { type FSWatcher, readdirSync, readFileSync, watch } from "node:fs";
import type { Frozen } from "#contract/freeze.ts";
import type { Target } from "#contract/target.ts";
import { assembleBundle, type BundleParts } from "#policy/assemble.ts";
import { writeBundleFile } from "#policy/compile/build.ts";
import { compilePolicies } from "#policy/compile/compile.ts";
import { readPolicyFolder } from "#policy/compile/folder.ts";
import { addLibrary } from "#policy/compile/library.ts";
import { formatProblem } from "#policy/compile/problem.ts";
import { readManifest } from "#policy/manifest.ts";
import type { SigningKey } from "#policy/signature.ts";
import { readArchive } from "#policy/tar.ts";

/** The library, compiled when the package was made. */
export interface Prebuilt {
  readonly parts: BundleParts;
}

export interface LocalPolicyOptions {
  /** The user's folder; null: none. */
  readonly folder: string | null;
  /** Targets of the command line (`--allow`): may be read. */
  readonly allowed: readonly Target[];
  readonly observe: boolean;
  /** The folder of library modules; null: not there (an npm package has `prebuilt`). */
  readonly library: string | null;
  readonly prebuilt: Prebuilt | null;
  /** Finds `opa`; asked only when there is Rego to compile. */
  readonly opa: () => Promise<string>;
  readonly tmp: string;
  readonly scope: string;
  readonly key: SigningKey;
  readonly bundle: string;
  readonly now: () => number;
  /** Null: the run is not frozen. */
  readonly frozen?: () => Frozen | null;
}

export type LocalPolicyResult =
  | { readonly kind: "built"; readonly revision: string; readonly targets: number }
  | { readonly kind: "problems"; readonly lines: readonly string[] };

/** Compiles and puts the bundle in its place. Throws where `opa` cannot be had or the folder cannot be read. */
export async function buildLocalPolicy(options: LocalPolicyOptions): Promise<LocalPolicyResult> {
  const parts = await partsOf(options);
  if ("lines" in parts) return parts;
  const named = new Set(Object.keys(targetsOf(parts)));
  const clash = options.allowed.find((target) => named.has(target.name));
  if (clash !== undefined)
    return { kind: "problems", lines: [`--allow: the policy folder has a target ${clash.name} already`] };
  const frozen = options.frozen?.() ?? null;
  const complete = freezing(withAllowed(options.observe ? observing(parts) : parts, options.allowed), frozen);
  const { archive, revision } = assembleBundle(
    complete,
    { scope: options.scope, sequence: options.now(), notAfterMs: null },
    options.key,
  );
  await writeBundleFile(options.bundle, archive);
  return { kind: "built", revision, targets: Object.keys(targetsOf(complete)).length };
}

async function partsOf(
  options: LocalPolicyOptions,
): Promise<BundleParts | { readonly kind: "problems"; readonly lines: readonly string[] }> {
  const { folder, library, prebuilt } = options;
  const own = folder === null ? EMPTY_FOLDER : await readPolicyFolder(folder);
  if (own.kind === "problems") return { kind: "problems", lines: own.problems.map(formatProblem) };
  if (own.sources.modules.length === 0 && prebuilt !== null) {
    const data = prebuilt.parts.data["sidegate"] as { data?: Record<string, unknown> };
    const targets = Object.fromEntries(own.sources.targets.map(({ name, ...spec }) => [name, spec]));
    const merged = { ...data.data, ...Object.fromEntries(own.sources.data) };
    return {
      ...prebuilt.parts,
      metadata: { ...prebuilt.parts.metadata, settings: own.sources.settings },
      data: { sidegate: { ...data, targets, data: merged } },
    };
  }
  if (library === null)
    return { kind: "problems", lines: ["the library of policies is missing from this installation"] };
  const all = await addLibrary(own, library);
  if (all.kind === "problems") return { kind: "problems", lines: all.problems.map(formatProblem) };
  const compiled = await compilePolicies(all.sources, { opa: await options.opa(), tmp: options.tmp, test: true });
  return compiled.kind === "problems"
    ? { kind: "problems", lines: compiled.problems.map(formatProblem) }
    : compiled.parts;
}

interface SidegateData {
  readonly targets?: Readonly<Record<string, unknown>>;
  readonly data?: Readonly<Record<string, unknown>>;
}

function sidegateData(parts: BundleParts): SidegateData {
  return parts.data["sidegate"] ?? {};
}

function targetsOf(parts: BundleParts): Readonly<Record<string, unknown>> {
  return sidegateData(parts).targets ?? {};
}

function observing(parts: BundleParts): BundleParts {
  return { ...parts, metadata: { ...parts.metadata, settings: { ...parts.metadata.settings, mode: "observe" } } };
}

function freezing(parts: BundleParts, freeze: Frozen | null): BundleParts {
  if (freeze === null) return parts;
  return { ...parts, metadata: { ...parts.metadata, settings: { ...parts.metadata.settings, freeze } } };
}

/** `--allow` targets may be read: they join the targets and the library's `read_only` list. */
function withAllowed(parts: BundleParts, allowed: readonly Target[]): BundleParts {
  if (allowed.length === 0) return parts;
  const sidegate = sidegateData(parts);
  const lists = (sidegate.data?.["read_only"] ?? {}) as {
    readonly read?: readonly string[];
    readonly write?: readonly string[];
  };
  const targets = { ...sidegate.targets, ...Object.fromEntries(allowed.map(({ name, ...spec }) => [name, spec])) };
  const read = [...(lists.read ?? []), ...allowed.map((target) => target.name)];
  return {
    ...parts,
    data: {
      ...parts.data,
      sidegate: { ...sidegate, targets, data: { ...sidegate.data, read_only: { write: [], ...lists, read } } },
    },
  };
}

/** Puts the bundle in force with a freeze in its place, without compiling anything: it is the fast way in. Throws where there is none. */
export async function freezeLocalPolicy(options: LocalPolicyOptions, freeze: Frozen): Promise<void> {
  const files = readArchive(readFileSync(options.bundle));
  const text = (name: string): string => Buffer.from(files.get(name) ?? []).toString("utf8");
  const { metadata } = readManifest(text(".manifest"));
  const data = JSON.parse(text("data.json")) as BundleParts["data"];
  const parts = freezing({ wasm: files.get("policy.wasm") ?? new Uint8Array(0), metadata, data }, freeze);
  const { archive } = assembleBundle(
    parts,
    { scope: options.scope, sequence: options.now(), notAfterMs: null },
    options.key,
  );
  await writeBundleFile(options.bundle, archive);
}

const EMPTY_FOLDER = {
  kind: "sources" as const,
  library: null,
  sources: {
    modules: [],
    tests: [],
    data: new Map(),
    options: new Map(),
    targets: [],
    settings: { mode: "enforce" as const, denialDetail: "full" as const },
  },
};

const SETTLE_MS = 80;

/** Calls back after the folder changed and came to rest. Close it at the end. */
export function watchFolder(folder: string, changed: () => void): { close(): void } {
  let timer: NodeJS.Timeout | null = null;
  const watchers: FSWatcher[] = [];
  const settle = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(changed, SETTLE_MS);
  };
  for (const entry of [
    ".",
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((e) => e.isDirectory())
      .map((e) => `${e.parentPath.slice(folder.length)}/${e.name}`),
  ])
    watchers.push(watch(`${folder}/${entry}`, settle));
  return {
    close() {
      if (timer !== null) clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}
