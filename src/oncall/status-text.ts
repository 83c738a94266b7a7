/** A status report as a person reads it: what is wrong first, then what to type. What the cluster says is other people's text. */
import { escapeForTerminal } from "#core/escape.ts";
import type { PodStanding, StatusReport } from "./status.ts";
import type { Note } from "./status-notes.ts";

const MAX_LINES = 200;

export function renderStatus(report: StatusReport): string {
  const where =
    report.namespaces.length === 0 ? "no namespace has opted in" : `namespaces: ${report.namespaces.join(", ")}`;
  return [
    `${report.inside} pods inside the gate, ${report.outside.length} outside; ${escapeForTerminal(where)}\n`,
    pods("OUTSIDE THE GATE", report.outside),
    pods("Without the policies in force", report.policies),
    notes("Not Ready", report.notReady),
    pods("Of an older release", report.stale),
    pods("Exempt", report.exempt),
    notes("On purpose", report.notes),
    report.restart.length === 0
      ? ""
      : `\nTo have them made anew:\n${cut(report.restart.map((line) => `  ${escapeForTerminal(line)}`))}`,
    report.missing.length === 0
      ? ""
      : `\nNot looked at:\n${cut(report.missing.map((line) => `  ${escapeForTerminal(line)}`))}`,
  ].join("");
}

function pods(title: string, list: readonly PodStanding[]): string {
  if (list.length === 0) return "";
  const lines = list.map(({ namespace, pod, owner, why }) => {
    const by = owner === `Pod/${pod}` ? "" : ` (${owner})`;
    return `  ${escapeForTerminal(`${namespace}/${pod}${by}: ${why}`)}`;
  });
  return `\n${title}:\n${cut(lines)}`;
}

function notes(title: string, list: readonly Note[]): string {
  if (list.length === 0) return "";
  return `\n${title}:\n${cut(list.map(({ of, says }) => `  ${escapeForTerminal(`${of}: ${says}`)}`))}`;
}

function cut(lines: readonly string[]): string {
  const shown = lines.slice(0, MAX_LINES);
  const more = lines.length - shown.length;
  return `${[...shown, ...(more > 0 ? [`  and ${more} more; --json has them all`] : [])].join("\n")}\n`;
}
