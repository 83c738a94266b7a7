/** Counts what the judge said, in series that are found once and kept. */
import { DENIALS } from "#contract/denial.ts";
import type { Registry, Series } from "#process/metrics.ts";
import type { SidecarMetrics } from "#process/sidecar-metrics.ts";
import type { Sidecar } from "./compose.ts";
import type { Verdict } from "./judge/judge.ts";

/** A policy's own codes are its author's words and many: one label for all of them. */
const POLICY_CODE = "policy";

export function countVerdicts(metrics: SidecarMetrics): (verdict: Verdict) => void {
  const kept = new Map<string, Series>();
  return ({ protocol, verdict, code, would, ms }) => {
    const word = code === "" ? (would ? "would" : "") : Object.hasOwn(DENIALS, code) ? code : POLICY_CODE;
    const key = `${protocol} ${verdict} ${word}`;
    let series = kept.get(key);
    if (series === undefined) {
      series = metrics.operations.with(protocol, verdict, word);
      kept.set(key, series);
    }
    series.add(1);
    metrics.decisionSeconds.with().observe(ms / 1000);
  };
}

/** Gauges that are known only when somebody asks. */
export function fillSidecarMetrics(
  registry: Registry,
  metrics: SidecarMetrics,
  sidecar: Sidecar,
  fixed: { readonly version: string; readonly tier: string },
): void {
  metrics.build.with(fixed.version, process.version).value = 1;
  metrics.tier.with(fixed.tier).value = 1;
  registry.beforeReading(() => {
    metrics.open.with("agent").value = sidecar.connections();
    const { written, open, lagMs, spoolBytes, spoolLimitBytes, batches } = sidecar.audit();
    metrics.auditRecords.with().value = written;
    metrics.auditLagRecords.with().value = open;
    metrics.auditLagSeconds.with().value = lagMs / 1000;
    metrics.spoolBytes.with().value = spoolBytes;
    metrics.spoolLimit.with().value = spoolLimitBytes;
    metrics.shipments.with("stored").value = batches.stored;
    metrics.shipments.with("failed").value = batches.failed;
    const loaded = sidecar.policy.current;
    metrics.policy.clear();
    if (loaded !== null) metrics.policy.with(loaded.revision, loaded.settings.mode).value = 1;
    metrics.targets.with().value = loaded?.targets.length ?? 0;
  });
}
