/** The report of `verify` as text. */
import { escapeForTerminal } from "#core/escape.ts";
import { renderRows } from "./table.ts";
import type { VerifyReport } from "./verify.ts";

export function renderReport(report: VerifyReport): string {
  const running = report.running === 0 ? "" : `, ${report.running} still running`;
  const rows = [
    ["records", `${report.records} lines, ${plural(report.boots, "chain")}${running}`],
    ["details", report.erased === 0 ? "none erased" : `${report.erased} erased, each by an act on record`],
    ...(report.removed === 0 ? [] : [["removed", `${report.removed} lines, each by an act of retention on record`]]),
    ...(report.accepted === 0
      ? []
      : [["accepted", `${plural(report.accepted, "chain")} without an end, by an act on record`]]),
    ["log", `${report.origin ?? "unsigned"}, ${plural(report.checkpoints, "signed checkpoint")}`],
    ["checkpoint", report.checkpoint ?? "none"],
  ];
  const findings = report.findings.map((f) => {
    const where =
      f.boot === "" ? "" : f.lastSeq === f.seq ? ` ${f.boot}-${f.seq}` : ` ${f.boot}-${f.seq} to ${f.lastSeq}`;
    return `FINDING  ${f.kind}${where}: ${escapeForTerminal(f.message)}\n`;
  });
  const more = report.found - report.findings.length;
  if (more > 0) findings.push(`… and ${more} findings more\n`);
  const verdict = report.ok ? "ok: nothing was changed, nothing is missing\n" : `${plural(report.found, "finding")}\n`;
  return renderRows(rows) + findings.join("") + verdict;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
