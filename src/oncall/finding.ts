/** What one check says: one line, and for whatever is not well the way out. */
import { escapeForTerminal } from "#core/escape.ts";

export interface Finding {
  /** Which check, the same word each time. */
  readonly check: string;
  readonly state: "ok" | "warn" | "fail";
  readonly says: string;
  /** What to do; "" where all is well. */
  readonly fix: string;
}

export const ok = (check: string, says: string): Finding => ({ check, state: "ok", says, fix: "" });
export const warn = (check: string, says: string, fix: string): Finding => ({ check, state: "warn", says, fix });
export const fail = (check: string, says: string, fix: string): Finding => ({ check, state: "fail", says, fix });

const WORD = { ok: "ok  ", warn: "warn", fail: "FAIL" } as const;
const WIDTH = 14;

/** What a cluster's objects say is other people's text. */
export function renderFinding({ check, state, says, fix }: Finding): string {
  const line = `${WORD[state]}  ${check.padEnd(WIDTH)} ${escapeForTerminal(says)}\n`;
  return fix === "" ? line : `${line}      ${" ".repeat(WIDTH)} fix: ${escapeForTerminal(fix)}\n`;
}

export function renderTotal(findings: readonly Finding[]): string {
  const count = (state: Finding["state"]): number => findings.filter((one) => one.state === state).length;
  return `${count("ok")} ok, ${count("warn")} warnings, ${count("fail")} failures\n`;
}

/** A period for people: the two largest units. */
export function period(ms: number): string {
  if (!Number.isFinite(ms)) return "for ever";
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ] as const;
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}
