/** The API server: its version, and whether its clock, ours and the nodes' agree. Certificates and tokens are only as good as the clocks. */
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { listAt, textAt } from "./members.ts";

/** Native sidecars are on by default since then. */
const LEAST_MINOR = 29;
/** ValidatingAdmissionPolicy is v1 since then. */
const SECOND_LOCK_MINOR = 30;

export async function checkVersion({ cluster }: Facts): Promise<Finding[]> {
  const version = await cluster.kube.document("/version");
  const name = textAt(version, "gitVersion");
  const minor = Number.parseInt(textAt(version, "minor"), 10);
  if (textAt(version, "major") !== "1" || !(minor >= LEAST_MINOR))
    return [fail("api version", `Kubernetes ${name}: native sidecars need 1.${LEAST_MINOR}`, "upgrade the cluster")];
  if (minor < SECOND_LOCK_MINOR) {
    const fix = `upgrade to 1.${SECOND_LOCK_MINOR}, or install with secondLock.enabled: false and know that a deleted webhook opens the gate`;
    return [warn("api version", `Kubernetes ${name}: ValidatingAdmissionPolicy is not v1 yet`, fix)];
  }
  return [ok("api version", `Kubernetes ${name}`)];
}

/** Beyond: certificates and tokens of a minute may look unborn or ended. */
const FAIL_MS = 30_000;
/** HTTP dates and managedFields have whole seconds. */
const WARN_MS = 2_000;

export async function checkClock({ cluster, wallMs }: Facts): Promise<Finding[]> {
  const before = wallMs();
  const { dateMs } = await cluster.raw({ path: "/version" });
  const after = wallMs();
  if (Number.isNaN(dateMs)) return [warn("clock", "the API server says no date", "look at what stands before it")];
  // A date is cut to its second: half a second later on average; the answer took its time too.
  const skewMs = dateMs + 500 - (before + after) / 2;
  const allowance = WARN_MS + (after - before) / 2;
  if (Math.abs(skewMs) <= allowance) return [ok("clock", "this machine's and the API server's agree within 2 s")];
  const says = `this machine is ${seconds(skewMs)} ${skewMs > 0 ? "behind" : "ahead of"} the API server`;
  const fix = "set one of the two by NTP; what this tool says about ages and certificates is wrong by as much";
  return [Math.abs(skewMs) > FAIL_MS ? fail("clock", says, fix) : warn("clock", says, fix)];
}

/** A node writes `renewTime` by its own clock, the API server writes when that arrived by its own. */
export async function checkNodeClocks({ cluster }: Facts): Promise<Finding[]> {
  const leases = await cluster.all(ADMIN_RESOURCE.lease, { namespace: "kube-node-lease" });
  const found = leases.flatMap((lease) => {
    const skewMs = nodeSkewMs(lease);
    return skewMs === null ? [] : [{ node: lease.metadata.name, skewMs }];
  });
  if (found.length === 0)
    return [warn("node clocks", "no node has renewed a lease that tells", "kubectl get leases -n kube-node-lease")];
  const wrong = found
    .filter(({ skewMs }) => Math.abs(skewMs) > WARN_MS)
    .toSorted((a, b) => Math.abs(b.skewMs) - Math.abs(a.skewMs));
  if (wrong.length === 0) return [ok("node clocks", `${found.length} within 2 s of the API server`)];
  return wrong.slice(0, 20).map(({ node, skewMs }) => {
    const says = `node ${node} is ${seconds(skewMs)} ${skewMs > 0 ? "ahead of" : "behind"} the API server`;
    const fix = `set its clock by NTP: tokens and certificates are judged by it`;
    return Math.abs(skewMs) > FAIL_MS ? fail("node clocks", says, fix) : warn("node clocks", says, fix);
  });
}

/** Positive: ahead. Null: the lease says nothing that can be compared. */
export function nodeSkewMs(lease: KubeObject): number | null {
  const renewed = Date.parse(textAt(lease, "spec", "renewTime"));
  const arrived = Math.max(
    ...listAt(lease, "metadata", "managedFields").map((entry) => Date.parse(textAt(entry, "time")) || Number.NaN),
  );
  if (Number.isNaN(renewed) || !Number.isFinite(arrived)) return null;
  // The API server cuts to the second.
  const early = arrived - renewed;
  return early > 0 ? -early : renewed - arrived < 1_000 ? 0 : renewed - arrived - 1_000;
}

function seconds(ms: number): string {
  return `${(Math.abs(ms) / 1000).toFixed(Math.abs(ms) < 10_000 ? 1 : 0)} s`;
}
