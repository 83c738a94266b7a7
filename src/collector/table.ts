/** Events as a table for a terminal. Everything foreign passes the escaper; what is too long says how much is missing. */
import { escapeAndCut } from "#core/escape.ts";
import type { AuditEvent } from "./event.ts";
import { object, text } from "./rows.ts";

const COLUMNS: readonly (readonly [title: string, cell: (e: AuditEvent) => string, most: number])[] = [
  ["TIME (UTC)", (e) => e.time.slice(0, 23).replace("T", " "), 23],
  ["VERDICT", (e) => verdictOf(e), 12],
  ["POD", (e) => e.pod, 60],
  [
    "OPERATION",
    (e) => inOneLine(e.summary) + (e.folded > 0 ? ` (and ${e.folded} more)` : "") + (e.erased ? " (erased)" : ""),
    90,
  ],
  ["RESULT", (e) => resultOf(e), 50],
  ["ID", (e) => e.id, 32],
];

function verdictOf(e: AuditEvent): string {
  if (e.kind !== "op") return e.kind;
  const would = text(object(e.decision["would"])["effect"]);
  return would === null ? (e.verdict ?? "") : `would ${would}`;
}

function resultOf(e: AuditEvent): string {
  if (e.kind !== "op") return "";
  if (e.verdict === "deny") return e.code ?? "";
  const happened = e.outcome === null ? "open" : `${e.outcome.status} in ${formatMs(e.outcome.ms)}`;
  const would = wouldCode(e);
  return would === null ? happened : `${would}; ${happened}`;
}

/** In observe mode: with which code it would have been denied. */
function wouldCode(e: AuditEvent): string | null {
  const { reasons } = object(e.decision["would"]);
  return Array.isArray(reasons) ? text(object(reasons[0])["code"]) : null;
}

/** A statement is written in lines; here they would be so many `\n`. */
const inOneLine = (summary: string): string => summary.replaceAll(/[ \t\r]*\n[ \t\r\n]*/g, " ");

export function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`;
}

export function renderTable(events: readonly AuditEvent[], header: boolean): string {
  const rows = events.map((e) => COLUMNS.map(([, cell, most]) => escapeAndCut(cell(e), most)));
  return renderRows(header ? [COLUMNS.map(([title]) => title), ...rows] : rows, header ? [] : [23, 12]);
}

/** Left-aligned columns, two spaces between. Cells are escaped already; the last is not padded. `least`: widths to keep. */
export function renderRows(rows: readonly (readonly string[])[], least: readonly number[] = []): string {
  const widths: number[] = [...least];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
