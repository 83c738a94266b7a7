/**
 * What a person sees of a run: one line a decision on stderr (verdict, operation, target, rule, milliseconds), and a count at the
 * end. Everything that an agent chose goes through the one escaper.
 */
import { escapeForTerminal, visibleJson } from "#core/escape.ts";

/** A line of the sidecar's decisions, parsed. Only what is shown. */
export interface Shown {
  readonly verdict: "allow" | "deny" | "hold";
  readonly protocol: string;
  readonly action: string;
  readonly phase: string;
  readonly target: string | null;
  readonly host: string;
  readonly port: number;
  readonly code: string;
  readonly message: string;
  readonly policies: readonly string[];
  readonly would: boolean;
  readonly folded: boolean;
  readonly event: string;
  readonly ms: number;
  readonly facts?: Members;
  readonly detail?: Members & { readonly rest?: Members };
}
interface Members {
  readonly http?: { readonly method?: string; readonly path?: string; readonly scheme?: string };
  readonly dns?: { readonly name?: string; readonly type?: string };
  readonly sql?: { readonly text?: string };
}

export type Style = "colour" | "plain" | "json" | "quiet";

export interface Tally {
  allowed: number;
  denied: number;
  would: number;
}

/** Splits what arrives into lines, shows each, and counts. A line over the bound is left out. */
export function createDisplay(
  style: Style,
  write: (text: string) => void,
  seen: (shown: Shown) => void,
): { feed(text: string): void; readonly tally: Tally } {
  const tally: Tally = { allowed: 0, denied: 0, would: 0 };
  let rest = "";
  return {
    tally,
    feed(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE) rest = "";
      for (const line of lines) {
        const shown = JSON.parse(line) as Shown;
        count(tally, shown);
        seen(shown);
        if (style === "json") write(`${visibleJson(line)}\n`);
        else if (style !== "quiet" && isWorthALine(shown)) write(`${describe(shown, style === "colour")}\n`);
      }
    },
  };
}

const MAX_LINE = 1 << 20;

function count(tally: Tally, shown: Shown): void {
  if (shown.verdict !== "allow") tally.denied++;
  else if (shown.phase !== "connect") tally.allowed++;
  if (shown.would) tally.would++;
}

/** A connection that was let in says nothing yet: its operations will. An opaque one has no others. */
function isWorthALine(shown: Shown): boolean {
  if (shown.folded) return false;
  return shown.verdict !== "allow" || shown.phase !== "connect" || shown.protocol === "tcp" || shown.would;
}

export function describe(shown: Shown, colour: boolean): string {
  const word = shown.verdict === "allow" ? (shown.would ? "would deny" : "allow") : "deny";
  const paint = word === "allow" ? "32" : word === "deny" ? "31" : "33";
  const mark = colour ? `\u001b[${paint}m${word}\u001b[0m` : word;
  const rule =
    shown.code === ""
      ? shown.policies.join("+")
      : shown.policies.length === 0
        ? shown.code
        : `${shown.policies[0]}/${shown.code}`;
  const ms = `${shown.ms.toFixed(1)} ms`;
  return `sidegate: ${mark}  ${escapeForTerminal(operationText(shown))}  ${escapeForTerminal(shown.target || "-")}  ${escapeForTerminal(rule || "-")}  ${ms}`;
}

/** The operation in a few words, as its protocol says it. */
export function operationText({ facts, detail, protocol, action, host, port }: Shown): string {
  const http = { ...detail?.rest?.http, ...facts?.http };
  if (http.method !== undefined) {
    const scheme = http.scheme ?? (port === 443 ? "https" : "http");
    const usual = scheme === "https" ? 443 : 80;
    return `${http.method} ${scheme}://${host}${port === usual ? "" : `:${port}`}${http.path ?? ""}`;
  }
  const sql = detail?.rest?.sql?.text ?? facts?.sql?.text;
  if (sql !== undefined) return `${protocol} ${host}:${port} ${oneLine(sql)}`;
  const dns = facts?.dns;
  if (dns?.name !== undefined) return `look up ${dns.name} ${dns.type ?? ""}`;
  return `${action} ${protocol} ${host}:${port}`;
}

/** A statement's beginning; what is left out is said. */
function oneLine(sql: string): string {
  const text = sql.replaceAll(/\s+/g, " ").trim();
  return text.length <= MAX_SQL ? text : `${text.slice(0, MAX_SQL)}… (${text.length} characters)`;
}

const MAX_SQL = 100;
