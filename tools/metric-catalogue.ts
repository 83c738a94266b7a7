/**
 * Every metric of every process in one list: what the dashboards, the alerts, the documentation and their tests know. Each process
 * declares its own beside the code that fills them; here they are only brought together. Writes docs/metrics.md when run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { CONTROL_METRICS } from "#process/control-metrics.ts";
import type { MetricSpec } from "#process/metrics.ts";
import { SIDECAR_METRICS } from "#process/sidecar-metrics.ts";
import { WEBHOOK_METRICS } from "#webhook/metrics.ts";
import { COLLECTOR_METRICS } from "../src/collector/metrics.ts";
import { CONTROLLER_METRICS } from "../src/controller/metrics.ts";
import { replaceBetween } from "./readme.ts";

export const METRICS_PAGE = "docs/metrics.md";

export const PROCESSES = ["sidecar", "webhook", "controller", "collector"] as const;
export type Process = (typeof PROCESSES)[number];

const listed = (...lists: Readonly<Record<string, MetricSpec>>[]): readonly MetricSpec[] =>
  lists.flatMap((list) => Object.values(list));

export const CATALOGUE: Readonly<Record<Process, readonly MetricSpec[]>> = {
  sidecar: listed(SIDECAR_METRICS),
  webhook: listed(WEBHOOK_METRICS, CONTROL_METRICS),
  controller: listed(CONTROLLER_METRICS, CONTROL_METRICS),
  collector: listed(COLLECTOR_METRICS, CONTROL_METRICS),
};

/** The name of each sample that a scrape stores: a histogram has three. */
export function sampleNames({ name, type }: MetricSpec): readonly string[] {
  return type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
}

/** Which processes have a sample of that name, and the labels it has there (`le` of a bucket included). */
export function labelsOf(sample: string): ReadonlyMap<Process, readonly string[]> {
  const found = new Map<Process, readonly string[]>();
  for (const process of PROCESSES)
    for (const spec of CATALOGUE[process])
      if (sampleNames(spec).includes(sample))
        found.set(process, sample === `${spec.name}_bucket` ? [...spec.labels, "le"] : spec.labels);
  return found;
}

/** Series that one process can have at most, whatever happens to it: the folded ones ("other") included. */
export function mostSeries(process: Process): number {
  let series = 0;
  for (const { name, labels, maxSeries, type, buckets } of CATALOGUE[process]) {
    const sets = maxSeries + (labels.length > 0 && !name.endsWith("_info") ? 1 : 0);
    series += sets * (type === "histogram" ? (buckets?.length ?? 0) + 3 : 1);
  }
  return series;
}

export function metricTable(process: Process): string {
  const rows = [...CATALOGUE[process]]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, unit, labels, help }) => {
      const about = help.replaceAll("|", "\\|");
      return `| \`${name}\` | ${type} | ${unit ?? ""} | ${labels.map((label) => `\`${label}\``).join(" ")} | ${about} |`;
    });
  return ["| metric | type | unit | labels | |", "|---|---|---|---|---|", ...rows].join("\n");
}

export function metricsPage(): string {
  let page = readFileSync(METRICS_PAGE, "utf8");
  for (const process of PROCESSES)
    page = replaceBetween(page, process, `${metricTable(process)}\n\nAt most ${mostSeries(process)} series.`);
  return page;
}

if (import.meta.main) writeFileSync(METRICS_PAGE, metricsPage());
