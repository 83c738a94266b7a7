/** The controller: one replica leads, and what it was given is compiled. */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { isManaged } from "./check-installed.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, period, warn } from "./finding.ts";
import { numberAt, textAt } from "./members.ts";

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
    (policy) => numberAt(policy, "status", "observedGeneration") !== (policy.metadata.generation ?? 0),
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
