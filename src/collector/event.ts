/** A record as people and programs read it: core, detail, outcome and session put together again. */
import { describeOperation } from "#audit/describe.ts";
import { number, object, parse, text } from "./rows.ts";
import type { Found } from "./store/port.ts";

type Members = Readonly<Record<string, unknown>>;

export interface Outcome {
  readonly status: string;
  readonly ms: number;
  readonly up: number;
  readonly down: number;
  readonly masked: number;
  readonly attempts: number;
}

/** The JSON that `sidegate audit … --json` prints, one a line. */
export interface AuditEvent {
  readonly id: string;
  readonly time: string;
  readonly kind: string;
  readonly pod: string;
  readonly verdict: string | null;
  readonly code: string | null;
  readonly summary: string;
  /** preamble + protocol, action, complete + facts + detail: what a policy can be replayed over. */
  readonly op: Readonly<Record<string, unknown>>;
  readonly decision: Readonly<Record<string, unknown>>;
  readonly revision: string | null;
  readonly phase: string | null;
  readonly session: Readonly<Record<string, unknown>> | null;
  readonly outcome: Outcome | null;
  /** How often it was repeated without a line of its own. */
  readonly folded: number;
  readonly erased: boolean;
  /** The core line's members that have no place above (kinds other than `op`). */
  readonly rest: Readonly<Record<string, unknown>>;
}

const PLACED = new Set([
  "seq",
  "t",
  "k",
  "pre",
  "decision",
  "rev",
  "phase",
  "verdict",
  "dh",
  "protocol",
  "action",
  "complete",
]);

export function toEvent(found: Found): AuditEvent {
  const core = parse(found.core) ?? {};
  const detail = found.detail === null ? {} : (parse(Buffer.from(found.detail.text)) ?? {});
  const op =
    found.kind === "op"
      ? {
          ...object(core["pre"]),
          protocol: core["protocol"],
          action: core["action"],
          complete: core["complete"],
          ...overlaid(detail),
        }
      : {};
  const decision = object(core["decision"]);
  return {
    id: `${found.boot}-${found.seq}`,
    time: new Date(found.t).toISOString(),
    kind: found.kind,
    pod: found.pod,
    verdict: text(core["verdict"]),
    code: text(decision["code"]),
    summary: found.kind === "op" ? describeOperation(op) : summaryOf(found.kind, core),
    op,
    decision,
    revision: text(core["rev"]),
    phase: text(core["phase"]),
    session: found.sessionCore === null ? null : sessionOf(found.sessionCore),
    outcome: found.end === null ? null : outcomeOf(found.end),
    folded: found.folded,
    erased: found.erased,
    rest: Object.fromEntries(Object.entries(core).filter(([key]) => !PLACED.has(key))),
  };
}

/** Facts (what the policy read) and the rest of what was asked, laid over each other. */
function overlaid(detail: Members): Members {
  const { rest, ...facts } = detail;
  const out: Record<string, unknown> = { ...facts };
  for (const [key, value] of Object.entries(object(rest)))
    out[key] =
      isObject(value) && (isObject(out[key]) || out[key] === undefined)
        ? { ...value, ...object(out[key]) }
        : (out[key] ?? value);
  return out;
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A record that is no operation, in one line. */
function summaryOf(kind: string, core: Members): string {
  const word = (name: string): string => text(core[name]) ?? String(number(core[name]) ?? "");
  switch (kind) {
    case "boot":
      return startedFor(word("version"), object(core["workload"]));
    case "stop":
      return `stopped: ${word("why")}`;
    case "session":
      return `connection to ${text(core["host"]) ?? word("destination")}:${word("port")}${word("client") === "" ? "" : ` from ${word("client")}`}`;
    case "closed":
      return `connection closed: ${word("why")}, ${word("up")} bytes up, ${word("down")} down`;
    case "malformed":
      return "a line that cannot be read";
    default: {
      const rest = Object.entries(core).filter(([key]) => !PLACED.has(key) && key !== kind);
      const shown = rest.map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
      return [word(kind), ...shown].filter((part) => part !== "").join(" ");
    }
  }
}

function startedFor(version: string, workload: Members): string {
  const behind = behindOf(workload);
  return `started: sidegate ${version}, tier ${text(workload["tier"]) ?? "unknown"}${behind === null ? "" : `, for ${behind}`}`;
}

/** Of a boot's workload, who answers for it: a person whom a deployer named or who made it, else whoever made the pod, else its account. */
export function behindOf(workload: Members): string | null {
  const said = ["responsible", "creator", "serviceAccount"].map((name) => text(workload[name]) ?? "");
  return said.find((who) => who !== "") ?? null;
}

function sessionOf(core: Uint8Array): Readonly<Record<string, unknown>> {
  const { client, destination, target, host, port } = parse(core) ?? {};
  return { client, destination, target, host, port };
}

function outcomeOf(core: Uint8Array): Outcome {
  const m = parse(core) ?? {};
  return {
    status: text(m["status"]) ?? "",
    ms: number(m["ms"]) ?? 0,
    up: number(m["up"]) ?? 0,
    down: number(m["down"]) ?? 0,
    masked: number(m["masked"]) ?? 0,
    attempts: number(m["attempts"]) ?? 1,
  };
}
