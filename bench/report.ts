/** What a part reports: a table for people, and one JSON object as the last line for programs. */
import { cpus } from "node:os";
import type { Figures } from "./rounds.ts";

export interface Report {
  readonly part: string;
  /** Null: the peer is not installed. */
  readonly ratios: Readonly<Record<string, number | null>>;
  readonly raw: Readonly<Record<string, unknown>>;
  /** What a reader must know, a sentence each. */
  readonly notes: readonly string[];
  readonly rows: readonly Figures[];
  /** What `goals` names must reach. */
  readonly goals: Readonly<Record<string, string>>;
}

/** A report of a part that cannot be run here. */
export function missing(
  part: string,
  ratios: readonly string[],
  tools: Readonly<Record<string, string | null>>,
): Report {
  const names = Object.keys(tools).filter((name) => tools[name] === null);
  const notes = [`not installed: ${names.join(", ")}`];
  const none = Object.fromEntries(ratios.map((name) => [name, null]));
  return { part, ratios: none, goals: {}, raw: { missing: names }, rows: [], notes };
}

export function print(report: Report, json: boolean): void {
  console.log(`${report.part}: ${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${process.versions.node}\n`);
  if (report.rows.length > 0) {
    const header = ["", "CPU µs/op", "op/s", "p50 µs", "p99 µs", "core used"];
    const lines = report.rows.map((r) => [
      r.name,
      r.cpu_us.toFixed(2),
      r.ops_per_s.toFixed(0),
      r.p50_us?.toFixed(0) ?? "–",
      r.p99_us?.toFixed(0) ?? "–",
      `${(r.busy * 100).toFixed(0)} %`,
    ]);
    table([header, ...lines]);
  }
  const values = {
    ...Object.fromEntries(Object.entries(report.raw).filter(([name]) => name in report.goals)),
    ...report.ratios,
  };
  if (Object.keys(values).length > 0)
    table([
      ["", "reached", "goal"],
      ...Object.entries(values).map(([name, value]) => [
        name,
        value === null ? "not measured" : JSON.stringify(value),
        report.goals[name] ?? "",
      ]),
    ]);
  for (const note of report.notes) console.log(`- ${note}`);
  if (json) console.log(JSON.stringify({ part: report.part, ratios: report.ratios, raw: report.raw }));
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  for (const row of rows)
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
    );
  console.log("");
}
