/** What happened to one operation, as text for a person. */
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import { escapeForTerminal } from "#core/escape.ts";
import { type AuditEvent, behindOf } from "./event.ts";
import { number, object, text } from "./rows.ts";
import { formatMs, renderRows } from "./table.ts";

export interface Explained {
  readonly rule: string | null;
  readonly trace: string | null;
}

/** `workload`: as the sidecar's boot line has it; null: that line is not there any more. */
export function explainEvent(
  event: AuditEvent,
  explained: Explained | null,
  workload: Readonly<Record<string, unknown>> | null = null,
): string {
  const rows: string[][] = [];
  const add = (name: string, value: string | null): void => {
    if (value !== null && value !== "") rows.push([name, escapeForTerminal(value)]);
  };
  const statement = statementOf(event);
  add(
    "operation",
    (statement === null ? event.summary : placeOf(event)) + (event.erased ? " (its detail was erased)" : ""),
  );
  add("verdict", verdictLine(event));
  add("happened", happened(event));
  for (const reason of reasonsOf(event)) add("rule", reason);
  add("rule at", text(event.decision["rule"]) ?? explained?.rule ?? null);
  add("advice", text(event.decision["advice"]) ?? adviceOf(event.code));
  add("policy", event.revision === null || event.revision === "" ? null : `revision ${event.revision}`);
  add("when", event.time);
  add("who", whoOf(event));
  add("intent", text(object(event.op["run"])["intent"]));
  add("behind it", workload === null ? null : behindOf(workload));
  add("workload", workload === null ? null : workloadLine(workload));
  add("connection", connectionOf(event));
  add("repeated", event.folded === 0 ? null : `${event.folded} more times, not recorded one by one`);
  add("id", event.id);
  const trace = explained?.trace;
  const lines = trace === null || trace === undefined || trace === "" ? [] : ["", ...trace.split("\n")];
  return (
    renderRows(rows) +
    (statement === null ? "" : renderStatement(statement)) +
    lines.map((line) => `${escapeForTerminal(line)}\n`).join("")
  );
}

/** Longer than this, or of several lines, it stands below and not in the row. Characters. */
const MAX_STATEMENT_IN_ROW = 100;
/** Of a statement, what is shown; JSON has all of it. */
const MAX_STATEMENT = 20_000;

function statementOf({ op }: AuditEvent): string | null {
  const sql = text(object(op["sql"])["text"]);
  return sql !== null && (sql.length > MAX_STATEMENT_IN_ROW || sql.includes("\n")) ? sql : null;
}

function placeOf({ op }: AuditEvent): string {
  const target = object(op["target"]);
  return `${text(op["action"]) ?? ""} ${text(op["protocol"]) ?? ""} ${text(target["host"]) ?? ""}:${number(target["port"]) ?? ""}, the statement below`;
}

/** Behind a bar: lines of an agent's making must not pass for ours. */
function renderStatement(sql: string): string {
  const cut = sql.length - MAX_STATEMENT;
  const lines = sql.slice(0, MAX_STATEMENT).split(/\r?\n/);
  const shown = lines.map((line) => `  │ ${escapeForTerminal(line.replaceAll("\t", "  "))}\n`).join("");
  return `\nstatement, ${sql.length} characters:\n${shown}${cut > 0 ? `  … ${cut} characters more; --json has all of it\n` : ""}`;
}

/** `ReplicaSet/agent-6d5f, account agent, made by erika, tier enforced` */
function workloadLine(workload: Readonly<Record<string, unknown>>): string {
  const parts = (
    [
      ["owner", ""],
      ["serviceAccount", "account "],
      ["creator", "pod made by "],
      ["cluster", "cluster "],
      ["tier", "tier "],
    ] as const
  ).map(([name, before]) => [before, text(workload[name]) ?? ""] as const);
  return parts
    .filter(([, value]) => value !== "")
    .map(([before, value]) => before + value)
    .join(", ");
}

function verdictLine(event: AuditEvent): string {
  const message = text(event.decision["message"]);
  const code = event.code === null || event.code === "" ? "" : ` ${event.code}`;
  return `${event.verdict ?? event.kind}${code}${message === null || message === "" ? "" : `: ${message}`}`;
}

/** "forwarded, upstream answered 503 in 41 ms" */
export function happened(event: AuditEvent): string | null {
  if (event.kind !== "op") return null;
  if (event.verdict === "deny") return "refused, nothing was forwarded";
  const { outcome } = event;
  if (outcome === null) return "permitted; no outcome is on record";
  const took = ` in ${formatMs(outcome.ms)}`;
  const tries = outcome.attempts > 1 ? `, ${outcome.attempts} attempts` : "";
  const masked = outcome.masked > 0 ? `, ${outcome.masked} values masked` : "";
  const what = /^\d{3}$/.test(outcome.status) ? `upstream answered ${outcome.status}` : outcome.status;
  return `forwarded, ${what}${took} (${outcome.up} bytes up, ${outcome.down} down${tries}${masked})`;
}

function reasonsOf(event: AuditEvent): string[] {
  const would = object(event.decision["would"]);
  const lists = [event.decision["deny"], would["reasons"]].filter((l): l is unknown[] => Array.isArray(l));
  const reasons = lists.flat().map((item) => {
    const { policy, code, message } = object(item);
    return [text(policy), text(code), text(message)].filter((part) => part !== null && part !== "").join(" · ");
  });
  if (reasons.length > 0) return reasons;
  const policies = event.decision["policies"];
  return Array.isArray(policies) ? policies.map((p) => text(p) ?? "").filter((p) => p !== "") : [];
}

function whoOf(event: AuditEvent): string {
  const run = object(event.op["run"]);
  const id = text(run["id"]);
  if (id === null) return event.pod;
  const verified = run["verified"] === true ? "" : ", not verified";
  return `${event.pod}, run ${id} of ${text(run["user"]) ?? "nobody"}${verified}`;
}

/** Of our own codes; a policy's codes have the policy's words. */
function adviceOf(code: string | null): string | null {
  return code !== null && Object.hasOwn(DENIALS, code) ? DENIALS[code as DenialCode].advice : null;
}

function connectionOf(event: AuditEvent): string | null {
  const { session } = event;
  if (session === null || (text(session["client"]) ?? "") === "") return null;
  return `${text(session["client"]) ?? ""} to ${text(session["destination"]) ?? ""}`;
}
