/**
 * Finds in a PromQL expression what it reads, and says what of that nobody writes: a metric that is not in the catalogue, a label that a
 * metric does not have. Not a parser: Prometheus itself parses (promtool, the dashboards' test); here only names matter.
 *
 * Errs towards complaint: a name that it does not know is a problem.
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { labelsOf } from "./metric-catalogue.ts";

export const RULES = "charts/gateway/alerts/sidegate.yaml";

/** What other software writes, and who. */
export const FOREIGN: Readonly<Record<string, string>> = {
  up: "Prometheus",
  apiserver_admission_webhook_rejection_count: "the API server",
  kube_pod_container_status_last_terminated_reason: "kube-state-metrics",
  kube_pod_container_status_restarts_total: "kube-state-metrics",
  kube_pod_init_container_status_last_terminated_reason: "kube-state-metrics",
  kube_pod_init_container_status_restarts_total: "kube-state-metrics",
  container_cpu_cfs_periods_total: "the kubelet (cAdvisor)",
  container_cpu_cfs_throttled_periods_total: "the kubelet (cAdvisor)",
};

/** Labels that the scrape adds. */
const SCRAPED = ["instance", "job", "namespace", "pod", "container"];

const WORDS = new Set(
  "and or unless by on without ignoring group_left group_right offset bool inf nan start end".split(" "),
);
const GROUPING = /\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)/gi;

interface Rule {
  readonly record?: string;
  readonly expr: string;
}

function rules(): readonly Rule[] {
  return (parse(readFileSync(RULES, "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
}

export function ruleExpressions(): readonly string[] {
  return rules().map(({ expr }) => expr);
}

const recorded = new Set(rules().flatMap(({ record }) => record ?? []));

/** Series that an expression selects: name, and the labels that its matchers name. */
export function selectors(
  expression: string,
): readonly { readonly name: string; readonly labels: readonly string[] }[] {
  const found: { name: string; labels: string[] }[] = [];
  const bare = expression.replaceAll(GROUPING, " ").replaceAll(/\[[^\]]*\]/g, " ");
  for (const [, name = "", after = ""] of bare
    .replaceAll(/\{[^}]*\}/g, (braces) => braces.replaceAll(/"[^"]*"/g, '""'))
    .matchAll(/(?<![\w:."$])([a-zA-Z_:][\w:]*)\s*(\(|\{[^}]*\})?/g)) {
    if (after === "(" || WORDS.has(name.toLowerCase())) continue;
    found.push({ name, labels: [...after.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label) });
  }
  return found;
}

/** What an expression reads that nobody writes; empty: all of it exists. */
export function missing(expression: string): readonly string[] {
  const problems: string[] = [];
  const series = selectors(expression);
  if (series.length === 0) problems.push("reads nothing");
  for (const { name, labels } of series) {
    if (FOREIGN[name] !== undefined || recorded.has(name)) continue;
    const known = labelsOf(name);
    if (known.size === 0) problems.push(`no process has ${name}`);
    else
      for (const label of labels)
        if (![...SCRAPED, ...[...known.values()].flat()].includes(label))
          problems.push(`${name} has no label ${label}`);
  }
  return problems;
}
