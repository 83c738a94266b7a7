/**
 * What every process of the control plane says about itself: which build it is, and what it costs. Same names in each of them, so that
 * one panel shows all; told apart by the label that the scrape adds.
 *
 * Errs towards little: nothing here is needed to work, so nothing here can fail.
 */
import type { MetricSpec, Registry } from "./metrics.ts";
import { type Registered, register } from "./register-metrics.ts";
import { SIDECAR_METRICS } from "./sidecar-metrics.ts";

export const CONTROL_METRICS = {
  build: {
    name: "sidegate_control_build_info",
    type: "gauge",
    help: "Always 1; which process of the control plane, its version, and which Node.",
    labels: ["process", "version", "node"],
    maxSeries: 1,
  },
  cpu: SIDECAR_METRICS.cpu,
  memory: SIDECAR_METRICS.memory,
  started: SIDECAR_METRICS.started,
} as const satisfies Record<string, MetricSpec>;

export interface ControlProcess {
  readonly process: "webhook" | "controller" | "collector";
  readonly version: string;
  /** Unix time in milliseconds. */
  readonly startedMs: number;
}

/** Declares and fills them; once a registry. */
export function fillControlMetrics(registry: Registry, self: ControlProcess): void {
  const metrics: Registered<typeof CONTROL_METRICS> = register(registry, CONTROL_METRICS);
  metrics.build.with(self.process, self.version, process.version).value = 1;
  metrics.started.with().value = self.startedMs / 1000;
  const cpu = metrics.cpu.with();
  const memory = metrics.memory.with();
  registry.beforeReading(() => {
    const { user, system } = process.cpuUsage();
    cpu.value = (user + system) / 1e6;
    memory.value = process.memoryUsage.rss();
  });
}
