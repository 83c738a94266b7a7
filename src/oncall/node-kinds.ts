/** Which nodes are alike: what holds on one of them holds on all. Pure. */
import type { KubeObject } from "#kube/port.ts";
import { listAt, textAt } from "./members.ts";

/** Labels that say which pool a node belongs to, as the platforms set them. */
const POOLS = [
  "cloud.google.com/gke-nodepool",
  "eks.amazonaws.com/nodegroup",
  "karpenter.sh/nodepool",
  "kubernetes.azure.com/agentpool",
  "agentpool",
  "doks.digitalocean.com/node-pool",
  "node.openshift.io/os_id",
] as const;

export interface NodeKind {
  readonly node: string;
  /** How many nodes are like it. */
  readonly nodes: number;
  readonly says: string;
}

/** Nodes that run the same kernel and runtime in the same pool are one kind; of each, one that is ready. */
export function nodeKinds(nodes: readonly KubeObject[]): {
  readonly kinds: readonly NodeKind[];
  readonly unready: readonly string[];
} {
  const groups = new Map<string, KubeObject[]>();
  for (const node of nodes) {
    if (node.metadata.labels?.["kubernetes.io/os"] === "windows") continue;
    const key = describe(node);
    groups.set(key, [...(groups.get(key) ?? []), node]);
  }
  const kinds: NodeKind[] = [];
  const unready: string[] = [];
  for (const [says, group] of groups) {
    const first = group.find(isReady);
    if (first === undefined) unready.push(says);
    else kinds.push({ node: first.metadata.name, nodes: group.length, says });
  }
  return { kinds, unready };
}

function describe(node: KubeObject): string {
  const info = (name: string): string => textAt(node, "status", "nodeInfo", name);
  const pool = POOLS.map((label) => node.metadata.labels?.[label]).find((value) => value !== undefined);
  const parts = [info("kernelVersion"), info("architecture"), info("containerRuntimeVersion"), info("osImage")];
  return [...(pool === undefined ? [] : [`pool ${pool}`]), ...parts].filter((part) => part !== "").join(", ");
}

function isReady(node: KubeObject): boolean {
  const ready = listAt(node, "status", "conditions").find((one) => textAt(one, "type") === "Ready");
  return textAt(ready, "status") === "True" && node.metadata.deletionTimestamp === undefined;
}
