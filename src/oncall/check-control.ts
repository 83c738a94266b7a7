/** The controller leads and compiles, the collector answers and has room, and nothing translates a Service before we see it. */
import { CONTROL_OBJECT, CONTROL_SERVICE } from "#contract/control-environment.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { isManaged } from "./check-installed.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, period, warn } from "./finding.ts";
import { numberAt, textAt, textsAt } from "./members.ts";
import { readSample } from "./sample.ts";

export async function checkController(facts: Facts): Promise<Finding[]> {
  const { cluster, namespace, wallMs } = facts;
  if (!(await isManaged(facts))) return [];
  const logs = `kubectl -n ${namespace} logs deployment/sidegate-controller`;
  const lease = await cluster.get(ADMIN_RESOURCE.lease, CONTROL_OBJECT.lease, namespace);
  const holder = textAt(lease, "spec", "holderIdentity");
  const renewed = Date.parse(textAt(lease, "spec", "renewTime"));
  const ageMs = wallMs() - renewed;
  const lastsMs = numberAt(lease, "spec", "leaseDurationSeconds") * 1000;
  const says = "nobody compiles policies, restores what is changed, or looks for drift";
  if (holder === "" || Number.isNaN(renewed)) return [fail("controller", `no replica leads: ${says}`, logs)];
  // The clocks of two machines lie between.
  if (ageMs > lastsMs + 10_000)
    return [fail("controller", `its leader ${holder} was last heard ${period(ageMs)} ago: ${says}`, logs)];
  return [ok("controller", `${holder} leads`), ...(await checkBundles(facts, logs))];
}

async function checkBundles({ cluster, namespace, wallMs }: Facts, logs: string): Promise<Finding[]> {
  const policies = [
    ...(await cluster.all(ADMIN_RESOURCE.agentPolicy)),
    ...(await cluster.all(ADMIN_RESOURCE.clusterAgentPolicy)),
  ];
  const unseen = policies.filter(
    ({ metadata }, index) => numberAt(policies[index], "status", "observedGeneration") !== (metadata.generation ?? 0),
  );
  const stored = await cluster.all(ADMIN_RESOURCE.secret, { namespace, labelSelector: CONTROL_OBJECT.bundleLabel });
  const newest = Math.max(
    ...stored
      .flatMap(({ metadata }) => [
        metadata.creationTimestamp,
        ...(metadata.managedFields ?? []).map(({ time }) => time),
      ])
      .map((time) => Date.parse(time ?? "") || Number.NaN)
      .filter((time) => !Number.isNaN(time)),
  );
  const age =
    stored.length === 0
      ? "none yet: no agent's pod runs"
      : `${stored.length}, the newest ${period(wallMs() - newest)} old`;
  if (unseen.length === 0) return [ok("bundles", age)];
  const names = unseen.slice(0, 5).map(({ metadata }) => [metadata.namespace, metadata.name].filter(Boolean).join("/"));
  return [
    warn(
      "bundles",
      `${age}; not compiled yet: ${names.join(", ")}${unseen.length > 5 ? ", …" : ""}`,
      `${logs}; kubectl get agentpolicies,clusteragentpolicies -A`,
    ),
  ];
}

/** Above: an alert should have come (docs/operations.md). */
const USED_WARN = 0.8;
const USED_FAIL = 0.95;
const LEFT_WARN_MS = 24 * 3_600_000;

export async function checkCollector({ cluster, namespace }: Facts): Promise<Finding[]> {
  const path = `/api/v1/namespaces/${namespace}/services/https:${CONTROL_SERVICE.collector}:8443/proxy/metrics`;
  const { status, text } = await cluster.raw({ path });
  const look = `kubectl -n ${namespace} describe pod,pvc; kubectl -n ${namespace} logs statefulset/sidegate-collector`;
  if (status === 403)
    return [
      fail(
        "collector",
        "your account may not get services/proxy, so it was not asked",
        "ask for the verb get on services/proxy",
      ),
    ];
  if (status === 404 && !text.includes('"kind":"Status"'))
    return [warn("collector", "it answers, but says no figures", "helm upgrade: an older release")];
  if (status !== 200) {
    const why = text.slice(0, 300);
    return [
      fail(
        "collector",
        `it does not answer (status ${status}${why === "" ? "" : `: ${why}`}); agents keep their records in memory until they are full, and then deny`,
        look,
      ),
    ];
  }
  const used = readSample(text, "sidegate_collector_disk_used_bytes");
  const limit = readSample(text, "sidegate_collector_disk_limit_bytes");
  const left = readSample(text, "sidegate_collector_disk_left_seconds");
  if (used === null || limit === null || limit <= 0)
    return [warn("collector", "it answers, but does not say how full it is", "helm upgrade: an older release")];
  const share = used / limit;
  const leftMs = (left ?? Number.POSITIVE_INFINITY) * 1000;
  const says = `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} % of its ${gib(limit)} used, room left ${Number.isFinite(leftMs) ? `for ${period(leftMs)}` : "without end at the rate of the last hour"}`;
  const fix = "enlarge its volume, or keep records for a shorter time (docs/sizing.md)";
  if (readSample(text, "sidegate_collector_full") === 1)
    return [fail("collector", `full: agents' operations are denied (audit_unavailable); ${says}`, fix)];
  if (share >= USED_FAIL) return [fail("collector", says, fix)];
  if (share >= USED_WARN || leftMs < LEFT_WARN_MS) return [warn("collector", says, fix)];
  return [ok("collector", says)];
}

function gib(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

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

function labelOf({ metadata }: { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } }): string {
  const { labels = {} } = metadata;
  const compute = labels["eks.amazonaws.com/compute-type"];
  return compute === undefined ? `type=${labels["type"] ?? ""}` : `eks.amazonaws.com/compute-type=${compute}`;
}
