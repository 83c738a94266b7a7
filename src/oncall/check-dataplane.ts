/** What injection writes can be read, and no network plug-in translates a Service before the redirect sees it. */
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok } from "./finding.ts";
import { textAt, textsAt } from "./members.ts";

/** Injection's own words, and the one network plug-in known to translate Services before a redirect sees them. */
export async function checkDataplane(facts: Facts): Promise<Finding[]> {
  const { options, why } = await facts.injection();
  if (options === null) return [fail("dataplane", `${why}: no pod can be injected`, "helm upgrade")];
  const cilium = textsAt(await facts.cluster.get(ADMIN_RESOURCE.configMap, "cilium-config", "kube-system"), "data");
  const socketLb =
    cilium["kube-proxy-replacement"] === "true" ||
    cilium["bpf-lb-sock"] === "true" ||
    cilium["kube-proxy-replacement"] === "strict";
  if (socketLb && cilium["bpf-lb-sock-hostns-only"] !== "true") {
    const says =
      "Cilium translates a Service's address inside the pod, before the redirect sees it: targets by ClusterIP are not recognised";
    return [fail("dataplane", says, "socketLB.hostNamespaceOnly: true in Cilium's values, then restart its agents")];
  }
  const nodes = await facts.cluster.all(ADMIN_RESOURCE.node);
  const windows = nodes.filter(({ metadata }) => metadata.labels?.["kubernetes.io/os"] === "windows").length;
  const virtual = nodes.filter((node) =>
    /^(eks\.amazonaws\.com\/compute-type=fargate|type=virtual-kubelet)$/.test(labelOf(node)),
  ).length;
  const rest = [
    windows > 0 ? `${windows} Windows nodes run no agents` : "",
    virtual > 0 ? `${virtual} virtual nodes run no agents` : "",
  ].filter((one) => one !== "");
  const runtimes = [
    ...new Set(
      nodes.map((node) =>
        textAt(node, "status", "nodeInfo", "containerRuntimeVersion").replace(/:\/\/(\d+\.\d+).*/, " $1"),
      ),
    ),
  ].filter((one) => one !== "");
  const says = [
    `${options.dataplane}; ${nodes.length === 1 ? "1 node" : `${nodes.length} nodes`}${runtimes.length > 0 ? ` (${runtimes.join(", ")})` : ""}`,
    ...rest,
  ].join("; ");
  return [ok("dataplane", `${says}; doctor --nodes proves it on each kind of node`)];
}

function labelOf({ metadata }: KubeObject): string {
  const { labels = {} } = metadata;
  const compute = labels["eks.amazonaws.com/compute-type"];
  return compute === undefined ? `type=${labels["type"] ?? ""}` : `eks.amazonaws.com/compute-type=${compute}`;
}
