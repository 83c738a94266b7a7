/** Fills the metrics that are read from the process itself, when somebody asks for them. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { rejectedPackets } from "./kernel-counters.ts";
import type { Registry } from "./metrics.ts";
import type { SidecarMetrics } from "./sidecar-metrics.ts";

export interface ProcessSources {
  /** See rejectedPackets; null: rejected packets are not counted here. */
  readonly netFolder: string | null;
  readonly startedMs: number;
  readonly droppedLines: () => number;
  readonly ready: () => boolean;
}

/** 20 ms is also the longest block that the design permits; a timer this slow costs an idle process nothing to speak of. */
const RESOLUTION_MS = 20;

/** The event loop's delay is watched from now on. */
export function fillProcessMetrics(registry: Registry, metrics: SidecarMetrics, sources: ProcessSources): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const dropped = metrics.logDropped.with();
  const cpu = metrics.cpu.with();
  const memory = metrics.memory.with();
  const loop = metrics.loopDelay.with();
  const ready = metrics.ready.with();
  metrics.started.with().value = sources.startedMs / 1000;
  registry.beforeReading(() => {
    const { user, system } = process.cpuUsage();
    cpu.value = (user + system) / 1e6;
    memory.value = process.memoryUsage.rss();
    dropped.value = sources.droppedLines();
    ready.value = sources.ready() ? 1 : 0;
    // A sample is the time between two ticks; what is over the tick is delay. No sample: the loop was blocked all the time, or just started.
    loop.value = delay.count === 0 ? 0 : Math.max(0, delay.max / 1e9 - RESOLUTION_MS / 1000);
    delay.reset();
    if (sources.netFolder === null) return;
    const rejected = rejectedPackets(sources.netFolder);
    if (rejected === null) return;
    metrics.rejected.with("v4").value = rejected.v4;
    metrics.rejected.with("v6").value = rejected.v6;
  });
}
