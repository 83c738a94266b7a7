/** The attempts as a table: one line each, how it ended for each user, and the details of whatever did not die. */
import { escapeForTerminal } from "#core/escape.ts";
import type { Attempt, Redteam, Run } from "./redteam.ts";

const MAX_DETAIL = 300;

export function renderRedteam(result: Redteam): string {
  if (result.kind === "not run") return `not run: ${escapeForTerminal(result.why)}\n`;
  const { runs } = result;
  const ids = [...new Set(runs.flatMap(({ attempts }) => attempts.map(({ id }) => id)))];
  const width = Math.max(8, ...ids.map((id) => id.length));
  const heads = runs.map(({ uid }) => `uid ${uid}`);
  const columns = heads.map((head) => Math.max(8, head.length));
  const row = (id: string, cells: readonly string[]): string =>
    `${escapeForTerminal(id).padEnd(width)}  ${cells.map((cell, at) => cell.padEnd(columns[at] ?? 8)).join("  ")}`.trimEnd();
  const table = [
    row("attempt", heads),
    ...ids.map((id) =>
      row(
        id,
        runs.map((run) => find(run, id)?.outcome ?? "-"),
      ),
    ),
  ];
  return `${[...table, ...runs.flatMap(details), "", ...runs.map(total)].join("\n")}\n`;
}

function find({ attempts }: Run, id: string): Attempt | undefined {
  return attempts.find((attempt) => attempt.id === id);
}

function details(run: Run): string[] {
  const lines = run.attempts
    .filter(({ outcome }) => outcome !== "died")
    .map(
      ({ id, outcome, detail }) =>
        `  uid ${run.uid}: ${escapeForTerminal(`${id}: ${outcome}: ${detail.slice(0, MAX_DETAIL)}`)}`,
    );
  const why = run.why === "" ? [] : [`  uid ${run.uid}: NOT WHOLE: ${escapeForTerminal(run.why)}`];
  return lines.length + why.length === 0 ? [] : ["", ...lines, ...why];
}

function total({ uid, attempts }: Run): string {
  const count = (outcome: Attempt["outcome"]): number => attempts.filter((one) => one.outcome === outcome).length;
  return `uid ${uid}: ${count("died")} died, ${count("ESCAPED")} ESCAPED, ${count("skipped")} skipped, ${count("broken")} broken`;
}
