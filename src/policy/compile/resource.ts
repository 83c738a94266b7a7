/**
 * AgentPolicies and ClusterAgentPolicies as sources to compile: how modules, packages and messages are called after the resource.
 * Shared by who compiles for pods and by who checks one at admission.
 */
import type { Target } from "#contract/target.ts";
import type { Problem } from "./problem.ts";
import type { PolicySources, SourceFile } from "./sources.ts";

export interface PolicyResource {
  readonly kind: "AgentPolicy" | "ClusterAgentPolicy";
  /** "" for a cluster's. */
  readonly namespace: string;
  readonly name: string;
  readonly module: string;
  /** "": none. */
  readonly tests: string;
  /** Undefined: none. */
  readonly data: unknown;
  readonly mode: "enforce" | "observe";
}

/** Rego's name of a policy: `read-only` is `sidegate.policy.read_only`. */
export function regoName({ name }: Pick<PolicyResource, "name">): string {
  return name.replaceAll("-", "_");
}

/** What messages call a policy's module: `team/read-only.rego`, `cluster/default-deny.rego`. */
export function moduleFile({ namespace, name }: Pick<PolicyResource, "namespace" | "name">): string {
  return `${namespace === "" ? "cluster" : namespace}/${name}.rego`;
}

export function testFile(policy: Pick<PolicyResource, "namespace" | "name">): string {
  return moduleFile(policy).replace(/\.rego$/, "_test.rego");
}

export function resourceSources(policies: readonly PolicyResource[], targets: readonly Target[]): PolicySources {
  const modules: SourceFile[] = [];
  const tests: SourceFile[] = [];
  const data = new Map<string, unknown>();
  const options = new Map<string, { mode: "enforce" | "observe"; scope: "namespace" | "cluster" }>();
  for (const policy of policies) {
    const name = regoName(policy);
    modules.push({ name: moduleFile(policy), text: policy.module });
    if (policy.tests !== "") tests.push({ name: testFile(policy), text: policy.tests });
    if (policy.data !== undefined) data.set(name, policy.data);
    options.set(name, { mode: policy.mode, scope: policy.kind === "AgentPolicy" ? "namespace" : "cluster" });
  }
  return { modules, tests, data, targets, settings: { mode: "enforce", denialDetail: "full" }, options };
}

/** The package's name must be the resource's: two policies of one bundle never meet in one package. */
export function packageProblems(policy: PolicyResource): Problem[] {
  const line = policy.module.split("\n").findIndex((text) => /^package[ \t]/.test(text));
  const named =
    /^package[ \t]+sidegate\.policy(?:\.([a-z][a-z0-9_]*)|\["([a-z][a-z0-9_-]*)"\])[ \t]*(?:#.*)?\r?$/m.exec(
      policy.module.split("\n")[line] ?? "",
    );
  if ((named?.[1] ?? named?.[2]) === regoName(policy)) return [];
  const message = `the package must be sidegate.policy.${regoName(policy)}, after the resource's name`;
  return [{ file: moduleFile(policy), line: line + 1, message }];
}
