/** The alerts, evaluated by Prometheus's own tool: each fires when it should, and is silent about what only looks alike. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { missing, RULES, ruleExpressions } from "../../tools/promql-names.ts";
import { requireTool } from "../support/require.ts";
import { ALERT_CASES } from "./alert-cases.ts";

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
const rules = (parse(readFileSync(RULES, "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const alerts = rules.filter(({ alert }) => alert !== undefined);

test("each alert says how bad it is, what is wrong, and where its runbook is; and that section exists", () => {
  expect(alerts.length).toBeGreaterThan(25);
  const headings = new Set(
    [...readFileSync("docs/operations.md", "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
  for (const { alert = "", labels, annotations = {} } of alerts) {
    expect(["critical", "warning", "info"], alert).toContain(labels?.["severity"]);
    expect(annotations["summary"], alert).toMatch(/^[A-Z].{10,}\.$/);
    expect(annotations["description"], alert).toMatch(/.{20,}\.$/);
    expect(annotations["runbook_url"]).toBe(`RUNBOOKS#${alert.toLowerCase()}`);
    expect(headings, `docs/operations.md has no section ${alert}`).toContain(alert.toLowerCase());
  }
});

test("the cases name each alert once, in its order", () => {
  expect(ALERT_CASES.map(({ alert }) => alert)).toEqual(alerts.map(({ alert }) => alert));
});

test("each alert fires, and does not fire where it must not", (context) => {
  const promtool = requireTool(context, "promtool");
  const work = mkdtempSync(path.join(tmpdir(), "sidegate-alerts-"));
  try {
    for (const minutes of new Set(ALERT_CASES.map(({ every = 1 }) => every))) {
      const interval = `${minutes}m`;
      const cases = ALERT_CASES.filter(({ every = 1 }) => every === minutes);
      const tests = cases.flatMap(({ alert, at, fires, silent }) =>
        (
          [
            ["fires", fires, 1],
            ["is silent", silent, 0],
          ] as const
        ).map(([what, series, count]) => ({
          name: `${alert} ${what}`,
          interval,
          input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
          promql_expr_test: [
            {
              expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
              eval_time: `${at}m`,
              exp_samples: count === 0 ? [] : [{ labels: "{}", value: count }],
            },
          ],
        })),
      );
      const file = path.join(work, `every-${interval}.yaml`);
      writeFileSync(file, stringify({ rule_files: [path.resolve(RULES)], evaluation_interval: interval, tests }));
      // It throws with what promtool found.
      expect(execFileSync(promtool, ["test", "rules", file], { encoding: "utf8", stdio: "pipe" })).toContain("SUCCESS");
    }
    expect(execFileSync(promtool, ["check", "rules", RULES], { encoding: "utf8" })).toContain("SUCCESS");
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});

test("every metric that an alert uses exists: ours in the catalogue, with the labels it is asked by", () => {
  for (const expression of ruleExpressions()) expect(missing(expression), expression).toEqual([]);
});
