/**
 * Which policies select a pod: a *set*. Pods with the same set share one compiled bundle. Pure.
 *
 * A set's identity is which policies it has, not what they say: so its last good bundle serves on while one of them is broken.
 * A namespace's policy never takes a cluster policy's name: it would make the cluster's set uncompilable.
 */
import { createHash } from "node:crypto";
import type { Target } from "#contract/target.ts";
import { resourceSources } from "#policy/compile/resource.ts";
import type { PolicySources } from "#policy/compile/sources.ts";
import { claimsOf } from "./claimed.ts";
import type { ObservedPolicy, ObservedTarget } from "./observed.ts";
import { type Labels, selects } from "./selector.ts";

export interface PolicySet {
  /** Of the policies' names and where the targets are from. */
  readonly id: string;
  readonly policies: readonly ObservedPolicy[];
  /** The namespace whose own targets come beside the cluster's; "" where there are none. */
  readonly targetsOf: string;
}

export function policyKey({ kind, namespace, name }: Pick<ObservedPolicy, "kind" | "namespace" | "name">): string {
  return `${kind}/${namespace}/${name}`;
}

/** `hasTargets`: whether the namespace has targets of its own. */
export function setFor(
  policies: Iterable<ObservedPolicy>,
  namespace: string,
  labels: { readonly namespace: Labels; readonly pod: Labels },
  hasTargets: boolean,
): PolicySet {
  const chosen: ObservedPolicy[] = [];
  const ofCluster = new Set<string>();
  for (const policy of policies) {
    if (policy.kind === "ClusterAgentPolicy") ofCluster.add(policy.name);
    if (policy.kind === "AgentPolicy" && policy.namespace !== namespace) continue;
    // Whom it selects cannot be read: it may be a denial, so everybody's set has it, and is not made anew until it is put right.
    if (policy.malformed !== "") {
      chosen.push(policy);
      continue;
    }
    if (!selects(policy.namespaceSelector, { ...labels.namespace, "kubernetes.io/metadata.name": namespace })) continue;
    if (selects(policy.podSelector, labels.pod)) chosen.push(policy);
  }
  const allowed = chosen.filter((policy) => policy.kind === "ClusterAgentPolicy" || !ofCluster.has(policy.name));
  return makeSet(allowed, hasTargets ? namespace : "");
}

export function makeSet(policies: readonly ObservedPolicy[], targetsOf: string): PolicySet {
  const sorted = [...policies].sort((a, b) => (policyKey(a) < policyKey(b) ? -1 : 1));
  const id = createHash("sha256")
    .update(JSON.stringify([targetsOf, ...sorted.map(policyKey)]))
    .digest("hex")
    .slice(0, 20);
  return { id, policies: sorted, targetsOf };
}

/** The texts to compile. `targets`: the cluster's and the namespace's own, the cluster's first. */
export function sourcesOf(set: PolicySet, targets: readonly ObservedTarget[]): PolicySources {
  return resourceSources(
    set.policies,
    targets.map((target) => bundled(target, set.targetsOf)),
  );
}

/** As bundles have it: without the Secret's name, and with what binds its credential to what it is now. */
function bundled(target: ObservedTarget, namespace: string): Target {
  const { credentialFrom: _from, ...spec } = target.spec;
  if (spec.credential === undefined) return { name: target.name, ...spec };
  const ofCluster = target.namespace === namespace ? {} : { ofCluster: true };
  return { name: target.name, ...spec, binding: bindingOf(target), ...ofCluster };
}

/** Of everything that a target is but where its credential comes from: another host, port, authority or namespace is another one. */
export function bindingOf({ namespace, name, spec }: Pick<ObservedTarget, "namespace" | "name" | "spec">): string {
  const known = BINDINGS.get(spec);
  if (known !== undefined) return known;
  const { credentialFrom: _from, ...rest } = spec;
  const text = JSON.stringify([namespace, name, rest]);
  const made = createHash("sha256").update(text).digest("base64url").slice(0, 27);
  BINDINGS.set(spec, made);
  return made;
}

/** A spec belongs to one observed target, and does not change. */
const BINDINGS = new WeakMap<object, string>();

/** Equal for equal sources: what was compiled once need not be again. */
export function contentOf(sources: PolicySources): string {
  const { modules, tests, targets } = sources;
  const texts = JSON.stringify([modules, tests, [...sources.data], targets, [...sources.options]]);
  return createHash("sha256").update(texts).digest("hex");
}

/** The cluster's targets are those of our own namespace; a namespace's own never takes a name, a host or an address of one of them. */
export function targetsFor(targets: Iterable<ObservedTarget>, own: string, namespace: string): ObservedTarget[] {
  const cluster: ObservedTarget[] = [];
  const more: ObservedTarget[] = [];
  for (const target of targets)
    if (target.namespace === own) cluster.push(target);
    else if (target.namespace === namespace && target.malformed === "") more.push(target);
  const usable = cluster.filter(({ malformed }) => malformed === "");
  if (more.length > 0) {
    const claims = claimsOf(cluster);
    usable.push(...more.filter((target) => claims.taken(target) === null));
  }
  return usable.sort((a, b) => (a.name < b.name ? -1 : 1));
}
