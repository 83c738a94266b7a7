/** Writes the table of values in the chart's README, from values.schema.json (what they mean) and values.yaml (what holds). */
import { readFileSync, writeFileSync } from "node:fs";
import { parse } from "yaml";
import { replaceBetween } from "./readme.ts";

export const CHART_README = "charts/gateway/README.md";

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
}

export function valuesTable(): string {
  const schema = JSON.parse(readFileSync("charts/gateway/values.schema.json", "utf8")) as Schema;
  const values: unknown = parse(readFileSync("charts/gateway/values.yaml", "utf8"));
  const rows = rowsOf(schema, values, []).map(([name, value, about]) => `| \`${name}\` | \`${value}\` | ${about} |`);
  return ["| value | default | |", "|---|---|---|", ...rows].join("\n");
}

/** A value with a description is one row, whatever is below it. Throws where something in values.yaml is not described. */
function rowsOf(schema: Schema, value: unknown, path: readonly string[]): [string, string, string][] {
  const name = path.join(".");
  if (path.length > 0 && schema.description !== undefined)
    return [[name, JSON.stringify(value).replaceAll("|", "\\|"), schema.description.replaceAll("|", "\\|")]];
  if (schema.properties === undefined || typeof value !== "object" || value === null)
    throw new Error(`values.schema.json says nothing about ${name}`);
  return Object.entries(value).flatMap(([key, below]: [string, unknown]) => {
    const described = schema.properties?.[key];
    if (described === undefined) throw new Error(`values.schema.json does not know ${[...path, key].join(".")}`);
    return rowsOf(described, below, [...path, key]);
  });
}

if (import.meta.main)
  writeFileSync(CHART_README, replaceBetween(readFileSync(CHART_README, "utf8"), "values", valuesTable()));
