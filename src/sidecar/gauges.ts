/** Fills the metrics that are read from the composed sidecar when somebody asks for them. */
import type { Registry } from "#process/metrics.ts";
import type { SidecarMetrics } from "#process/sidecar-metrics.ts";
import type { Sidecar } from "./compose.ts";

/** Gauges that are known only when somebody asks. */
export function fillSidecarMetrics(
  registry: Registry,
  metrics: SidecarMetrics,
  sidecar: Sidecar,
  fixed: { readonly version: string; readonly tier: string; readonly elapsedMs: () => number },
): void {
  metrics.build.with(fixed.version, process.version).value = 1;
  metrics.tier.with(fixed.tier).value = 1;
  registry.beforeReading(() => {
    metrics.open.with("agent").value = sidecar.connections();
    const { overLimit, acceptFailures } = sidecar.turnedAway();
    metrics.connections.with("accepted", "over-limit").value = overLimit;
    metrics.connections.with("accepted", "accept-failed").value = acceptFailures;
    const { written, open, lagMs, spoolBytes, spoolLimitBytes, spoolSecondsLeft, unrecorded, batches } =
      sidecar.audit();
    metrics.auditRecords.with().value = written;
    metrics.auditLagRecords.with().value = open;
    metrics.auditLagSeconds.with().value = lagMs / 1000;
    metrics.spoolBytes.with().value = spoolBytes;
    metrics.spoolLimit.with().value = spoolLimitBytes;
    metrics.spoolSecondsLeft.with().value = spoolSecondsLeft;
    metrics.auditUnrecorded.with().value = unrecorded;
    metrics.shipments.with("stored").value = batches.stored;
    metrics.shipments.with("failed").value = batches.failed;
    const loaded = sidecar.policy.current;
    metrics.policy.clear();
    if (loaded !== null) metrics.policy.with(loaded.revision, loaded.settings.mode).value = 1;
    if (loaded !== null) metrics.policyAge.with().value = (fixed.elapsedMs() - sidecar.policySinceMs()) / 1000;
    metrics.frozen.with().value = loaded?.settings.freeze === undefined ? 0 : 1;
    metrics.targets.with().value = loaded?.targets.length ?? 0;
  });
}
