/** The collector answers and has room, by its own figures, asked through the API server. */
import { CONTROL_SERVICE } from "#contract/control-environment.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, period, warn } from "./finding.ts";
import { textAt } from "./members.ts";
import { readSample } from "./sample.ts";

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
    const why = messageOf(text).slice(0, 300);
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

/** The API server's proxy says why in a Status; the collector in plain words. */
function messageOf(text: string): string {
  try {
    return textAt(JSON.parse(text), "message") || text.trim();
  } catch {
    return text.trim();
  }
}
