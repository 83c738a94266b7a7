/**
 * Proves a suggestion: compiles it as it would be enforced, with what was in force and the library, and asks it every operation
 * that went on under observation.
 */
import { compilePolicies } from "../compile/compile.ts";
import { readPolicyFolder } from "../compile/folder.ts";
import { addLibrary } from "../compile/library.ts";
import type { PolicySources } from "../compile/sources.ts";
import type { Problems } from "../compile/workspace.ts";
import { createEvaluator } from "../evaluator.ts";
import { readDecision } from "../reading.ts";
import { type Observed, record } from "./observed.ts";

export interface ReplayOptions {
  /** The suggestion's folder. */
  readonly folder: string;
  /** What was in force; the suggestion is laid over it. */
  readonly base: PolicySources | null;
  readonly library: string | null;
  /** Policies of the library that are in force where the record is from; null: what the folder says, or all. */
  readonly inForce: readonly string[] | null;
  readonly opa: string;
  readonly tmp: string;
  /** So many different operations are asked at most. */
  readonly most: number;
}

export interface Replayed {
  readonly kind: "replayed";
  readonly replayed: number;
  /** One line for each different denial. */
  readonly denied: readonly string[];
}

const ENFORCE = { mode: "enforce", denialDetail: "full" } as const;

export async function replay(observed: Iterable<Observed>, options: ReplayOptions): Promise<Replayed | Problems> {
  const own = await readPolicyFolder(options.folder);
  if (own.kind === "problems") return own;
  const sources = options.base === null ? own.sources : overlay(options.base, own.sources);
  const all =
    options.library === null
      ? { kind: "sources" as const, sources }
      : await addLibrary({ ...own, sources, library: options.inForce ?? own.library }, options.library);
  if (all.kind === "problems") return all;
  const compiled = await compilePolicies({ ...all.sources, settings: ENFORCE }, { opa: options.opa, tmp: options.tmp });
  if (compiled.kind === "problems") return compiled;
  const { wasm, data, metadata } = compiled.parts;
  const { sidegate } = data as { sidegate: object };
  const evaluator = createEvaluator(wasm, JSON.stringify({ sidegate: { ...sidegate, pod: {} } }));
  const byHost = targetNames(all.sources);

  const asked = new Set<string>();
  const denied = new Set<string>();
  for (const { op, verdict, deniedBy } of observed) {
    if (
      verdict !== "allow" ||
      deniedBy !== "" ||
      op["complete"] !== true ||
      op["action"] === "credential" ||
      asked.size >= options.most
    )
      continue;
    const target = record(op["target"]);
    const named = {
      ...target,
      name: target["name"] ?? byHost.get(`${String(target["host"])}:${String(target["port"])}`) ?? null,
    };
    const input = JSON.stringify({ ...op, target: named }).slice(1, -1);
    if (asked.has(input)) continue;
    asked.add(input);
    const answer = evaluator.evaluate(input);
    const decision = answer.kind === "result" ? readDecision(answer.text, ENFORCE, metadata.rules) : null;
    if (decision?.effect !== "allow") denied.add(`${describe(op)}: ${decision?.code ?? "fault"}`);
  }
  return { kind: "replayed", replayed: asked.size, denied: [...denied] };
}

function describe(op: Observed["op"]): string {
  const { method, path } = record(op["http"]);
  return [record(op["target"])["host"], op["action"], method, path]
    .filter((part) => typeof part === "string")
    .join(" ");
}

function overlay(base: PolicySources, own: PolicySources): PolicySources {
  const names = new Set(own.modules.map((file) => file.name));
  return {
    ...base,
    modules: [...base.modules.filter((file) => !names.has(file.name)), ...own.modules],
    tests: own.tests,
    data: new Map([...base.data, ...own.data]),
    targets: [...base.targets, ...own.targets],
  };
}

function targetNames(sources: PolicySources): ReadonlyMap<string, string> {
  return new Map(
    sources.targets.flatMap(({ name, hosts, ports }) =>
      hosts.flatMap((host) => ports.map((port) => [`${host}:${port}`, name] as const)),
    ),
  );
}
