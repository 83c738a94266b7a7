/** The chart's README says what its values are. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CHART_README, valuesTable } from "../../tools/chart-readme.ts";

test("the table of values is what tools/chart-readme.ts writes, and each value is described", () => {
  expect(readFileSync(CHART_README, "utf8")).toContain(valuesTable());
  expect(valuesTable().split("\n").length).toBeGreaterThan(30);
});
