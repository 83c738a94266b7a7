/**
 * Compiles sets, a few at a time, each content once: `opa` runs as a subprocess, so a queue with a bound keeps a burst of changes from
 * taking the machine. What came out is kept by content, good or bad.
 */
import { Lru } from "#core/lru.ts";
import type { BundleParts } from "#policy/assemble.ts";
import { compilePolicies } from "#policy/compile/compile.ts";
import type { Problem } from "#policy/compile/problem.ts";
import { moduleFile, packageProblems } from "#policy/compile/resource.ts";
import type { PolicySources } from "#policy/compile/sources.ts";
import type { ObservedPolicy } from "./observed.ts";
import { contentOf } from "./policy-set.ts";

export type Made =
  | { readonly kind: "made"; readonly content: string; readonly parts: BundleParts }
  | { readonly kind: "problems"; readonly content: string; readonly problems: readonly Problem[] };

export interface Compiler {
  /** Rejects where `opa` cannot be run, or the queue is full. */
  make(policies: readonly ObservedPolicy[], sources: PolicySources): Promise<Made>;
  readonly waiting: number;
}

export interface CompilerOptions {
  readonly opa: string;
  readonly tmp: string;
  readonly concurrency?: number;
  /** For tests: in place of `opa`. */
  readonly compile?: typeof compilePolicies;
  readonly took?: (ms: number) => void;
}

/** A module of 375 KiB each. */
const KEPT = 128;
const MAX_WAITING = 2_000;

export function createCompiler(options: CompilerOptions): Compiler {
  const { opa, tmp, concurrency = 2, compile = compilePolicies, took } = options;
  const kept = new Lru<string, Made>(KEPT);
  const under = new Map<string, Promise<Made>>();
  const queue: (() => void)[] = [];
  let running = 0;

  async function turn(): Promise<void> {
    if (running >= concurrency) {
      if (queue.length >= MAX_WAITING) throw new RangeError("too many policies are waiting to be compiled");
      await new Promise<void>((resolve) => {
        queue.push(resolve);
      });
    }
    running++;
  }

  async function run(content: string, sources: PolicySources): Promise<Made> {
    await turn();
    const start = performance.now();
    try {
      const result = await compile(sources, { opa, tmp });
      const made: Made =
        result.kind === "compiled"
          ? { kind: "made", content, parts: result.parts }
          : { kind: "problems", content, problems: result.problems };
      kept.set(content, made);
      return made;
    } finally {
      running--;
      took?.(performance.now() - start);
      queue.shift()?.();
    }
  }

  return {
    async make(policies, sources) {
      const content = contentOf(sources);
      const misnamed = policies.flatMap(problemsBefore);
      if (misnamed.length > 0) return { kind: "problems", content, problems: misnamed };
      const known = kept.get(content);
      if (known !== undefined) return known;
      let promise = under.get(content);
      if (promise === undefined) {
        promise = run(content, sources).finally(() => under.delete(content));
        under.set(content, promise);
      }
      return promise;
    },
    get waiting() {
      return queue.length;
    },
  };
}

/** What `opa` need not be asked: the spec's shape, and the package's name. */
function problemsBefore(policy: ObservedPolicy): readonly Problem[] {
  if (policy.malformed !== "") return [{ file: moduleFile(policy), line: 0, message: policy.malformed }];
  return packageProblems(policy);
}
