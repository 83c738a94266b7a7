/** The dashboards that the chart brings: what tools/dashboards writes, asking only for what some process measures. */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { asAsked, dashboardText, queriesOf } from "../../tools/dashboards/dashboard.ts";
import { DASHBOARDS, pathOf } from "../../tools/dashboards/main.ts";
import { missing, selectors } from "../../tools/promql-names.ts";

test("each file is what its description makes, the same bytes twice, and there is no other", () => {
  for (const dashboard of DASHBOARDS) {
    expect(readFileSync(pathOf(dashboard), "utf8"), dashboard.file).toBe(dashboardText(dashboard));
    expect(dashboardText(dashboard)).toBe(dashboardText(structuredClone(dashboard)));
  }
  expect(globSync("charts/gateway/dashboards/*").toSorted()).toEqual(DASHBOARDS.map(pathOf).toSorted());
});

test("panels have a number each, do not overlap, and say what one sees", () => {
  for (const dashboard of DASHBOARDS) {
    const { panels } = JSON.parse(dashboardText(dashboard)) as {
      panels: {
        id: number;
        type: string;
        description?: string;
        gridPos: { x: number; y: number; w: number; h: number };
      }[];
    };
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    let area = 0;
    for (const { gridPos, type, description, id } of panels) {
      expect(type === "row" ? "a row" : description, `${dashboard.file} ${id}`).toMatch(/.{5,}/);
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) taken.add(`${x},${y}`);
      area += gridPos.w * gridPos.h;
      expect(taken.size, `${dashboard.file} ${id} lies on another`).toBe(area);
    }
  }
});

test("every metric and label that a dashboard asks for exists", () => {
  const asked = DASHBOARDS.flatMap(queriesOf);
  expect(asked.length).toBeGreaterThan(60);
  for (const { expr } of asked) expect(missing(asAsked(expr)), expr).toEqual([]);
});

describe("a name that nobody writes is a problem", () => {
  test.each([
    ["sum(rate(sidegate_operation_total[5m]))", "no process has sidegate_operation_total"],
    ['sidegate_operations_total{verdikt="deny"}', "sidegate_operations_total has no label verdikt"],
    ["sidegate_decision_duration_seconds", "no process has sidegate_decision_duration_seconds"],
    ["vector(0)", "reads nothing"],
    ["sidegate_ready + container_memory_bytes", "no process has container_memory_bytes"],
  ])("%s", (expression, problem) => {
    expect(missing(expression)).toContain(problem);
  });

  test("and words of the language, grouped labels, legends and strings are none", () => {
    const expression =
      'sum by (namespace, code) (rate(sidegate_operations_total{code=~"a|sum by (x)",verdict!="b"}[5m] offset 1h)) > bool 2 unless on (pod) vector(1)';
    expect(selectors(expression)).toEqual([{ name: "sidegate_operations_total", labels: ["code", "verdict"] }]);
    expect(missing(expression)).toEqual([]);
  });
});
