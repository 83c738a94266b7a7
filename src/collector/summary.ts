/** What an agent did, counted: by target and action, and by reason of denial. For `sidegate audit summary` and run reports. */
import { escapeAndCut, escapeForTerminal } from "#core/escape.ts";
import type { AuditEvent } from "./event.ts";
import { object, text } from "./rows.ts";
import { renderRows } from "./table.ts";

export interface SummaryLine {
  readonly target: string | null;
  readonly host: string;
  readonly protocol: string;
  readonly action: string;
  allowed: number;
  denied: number;
  would: number;
  up: number;
  down: number;
}

export interface DenialLine {
  readonly code: string;
  readonly message: string;
  /** The newest of them. */
  readonly example: string;
  readonly id: string;
  count: number;
}

export interface Summary {
  readonly from: string | null;
  readonly to: string | null;
  readonly pods: readonly string[];
  readonly runs: readonly string[];
  /** Who answers for them, of the newest boots. */
  readonly behind: readonly string[];
  /** What the runs were for: their command lines, or what their token says. */
  readonly intents: readonly string[];
  readonly revisions: readonly string[];
  readonly operations: number;
  readonly lines: readonly SummaryLine[];
  readonly denials: readonly DenialLine[];
  /** More operations match than were counted. */
  readonly cut: boolean;
}

/** `events`: newest first, as `find` gives them. Repeats folded into a denial count. */
export function summarise(events: readonly AuditEvent[], cut: boolean, behind: readonly string[] = []): Summary {
  const lines = new Map<string, SummaryLine>();
  const denials = new Map<string, DenialLine>();
  let operations = 0;
  for (const event of events) {
    const times = 1 + event.folded;
    operations += times;
    const line = lineOf(lines, event);
    if (event.verdict === "deny") line.denied += times;
    else line.allowed += times;
    if (Object.keys(object(event.decision["would"])).length > 0) line.would += times;
    line.up += event.outcome?.up ?? 0;
    line.down += event.outcome?.down ?? 0;
    if (event.verdict === "deny") denialOf(denials, event).count += times;
  }
  return {
    from: events.at(-1)?.time ?? null,
    to: events[0]?.time ?? null,
    pods: unique(events.map((e) => e.pod)),
    runs: unique(events.map((e) => text(object(e.op["run"])["id"]) ?? "")),
    behind: unique(behind),
    intents: unique(events.map((e) => text(object(e.op["run"])["intent"]) ?? "")).slice(0, MAX_INTENTS),
    revisions: unique(events.map((e) => e.revision ?? "")),
    operations,
    lines: [...lines.values()].sort((a, b) => b.allowed + b.denied - a.allowed - a.denied),
    denials: [...denials.values()].sort((a, b) => b.count - a.count),
    cut,
  };
}

const MAX_INTENTS = 5;

function lineOf(lines: Map<string, SummaryLine>, event: AuditEvent): SummaryLine {
  const target = object(event.op["target"]);
  const protocol = text(event.op["protocol"]) ?? "";
  // A resolver answers for every name: by name, one line each would bury the rest.
  const key = {
    target: text(target["name"]),
    host: text(target["host"]) ?? "",
    protocol,
    action: text(event.op["action"]) ?? "",
  };
  const name = JSON.stringify(key);
  let line = lines.get(name);
  if (line === undefined) {
    line = { ...key, allowed: 0, denied: 0, would: 0, up: 0, down: 0 };
    lines.set(name, line);
  }
  return line;
}

function denialOf(denials: Map<string, DenialLine>, event: AuditEvent): DenialLine {
  const code = event.code ?? "";
  let line = denials.get(code);
  if (line === undefined) {
    const message = text(event.decision["message"]) ?? "";
    line = { code, message, example: event.summary, id: event.id, count: 0 };
    denials.set(code, line);
  }
  return line;
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values.filter((v) => v !== ""))];
}

export function renderSummary(summary: Summary): string {
  if (summary.operations === 0) return "No operation is on record.\n";
  const head = [
    ["from", `${summary.from ?? ""} to ${summary.to ?? ""}`],
    ["who", [...summary.pods, ...summary.runs.map((r) => `run ${r}`)].map(escapeForTerminal).join(", ")],
    ...(summary.behind.length === 0 ? [] : [["behind it", summary.behind.map(escapeForTerminal).join(", ")]]),
    ...summary.intents.map((intent) => ["intent", escapeAndCut(intent, 100)]),
    ["policy", summary.revisions.map(escapeForTerminal).join(", ")],
    ["operations", `${summary.operations}${summary.cut ? " (only the newest are counted)" : ""}`],
  ];
  const table = summary.lines.map((l) => [
    escapeAndCut(l.target ?? "-", 30),
    escapeAndCut(l.host, 50),
    escapeAndCut(l.protocol, 12),
    escapeAndCut(l.action, 12),
    String(l.allowed),
    String(l.denied),
    String(l.would),
    String(l.up),
    String(l.down),
  ]);
  const titles = ["TARGET", "HOST", "PROTOCOL", "ACTION", "ALLOWED", "DENIED", "WOULD", "BYTES UP", "BYTES DOWN"];
  const denied = summary.denials.map((d) => [
    String(d.count),
    escapeAndCut(d.code, 40),
    escapeAndCut(d.example, 60),
    escapeAndCut(d.id, 32),
  ]);
  const reasons = denied.length === 0 ? "" : `\n${renderRows([["DENIED", "CODE", "FOR EXAMPLE", "ID"], ...denied])}`;
  return `${renderRows(head)}\n${renderRows([titles, ...table])}${reasons}`;
}
