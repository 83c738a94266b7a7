/** The catalogue of metrics: one meaning a name, OpenMetrics names, bounded, and written down. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fillControlMetrics } from "#process/control-metrics.ts";
import { createRegistry, type MetricSpec } from "#process/metrics.ts";
import { CATALOGUE, METRICS_PAGE, metricsPage, mostSeries, PROCESSES } from "../../tools/metric-catalogue.ts";

test("docs/metrics.md is what tools/metric-catalogue.ts writes", () => {
  expect(readFileSync(METRICS_PAGE, "utf8")).toBe(metricsPage());
});

test("a metric name means the same wherever it is used", () => {
  const first = new Map<string, MetricSpec>();
  for (const process of PROCESSES)
    for (const spec of CATALOGUE[process]) {
      expect(spec, `${process}: ${spec.name}`).toEqual(first.get(spec.name) ?? spec);
      first.set(spec.name, spec);
    }
  expect(first.size).toBeGreaterThan(70);
});

test("each process can declare its whole list: no name twice, names and units as OpenMetrics wants them", () => {
  for (const process of PROCESSES) {
    const registry = createRegistry();
    for (const spec of CATALOGUE[process])
      if (spec.type === "histogram") registry.histogram(spec);
      else registry[spec.type](spec);
    expect(registry.text()).toMatch(/\n# EOF\n$/);
    for (const { name } of CATALOGUE[process]) expect(name).toMatch(/^(sidegate|process)_[a-z0-9_]+$/);
  }
});

test("a sidecar has at most 150 series, however many targets there are; no process more than 400", () => {
  expect(mostSeries("sidecar")).toBeLessThanOrEqual(150);
  for (const process of PROCESSES) expect(mostSeries(process), process).toBeLessThanOrEqual(400);
});

test("a process of the control plane says which it is, its version and what it costs", () => {
  const registry = createRegistry();
  fillControlMetrics(registry, { process: "webhook", version: "1.2.3", startedMs: 1_700_000_000_000 });
  const text = registry.text();
  expect(text).toContain(
    `sidegate_control_build_info{process="webhook",version="1.2.3",node="${process.version}"} 1\n`,
  );
  expect(text).toContain("process_start_time_seconds 1700000000\n");
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d{6,}$/m);
  expect(text).toMatch(/^process_cpu_seconds_total [0-9.]+$/m);
});
