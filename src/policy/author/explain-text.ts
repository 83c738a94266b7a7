/** An explained decision for people: the decision, what held, and for a denial where each allowing rule stopped. */
import { escapeForTerminal } from "#core/escape.ts";
import type { Explained, ExplainedRule } from "./explain.ts";

/** Lines, each safe to show. */
export function explainedLines({ decision, rules }: Explained): string[] {
  const { effect, code, message, advice, would } = decision;
  const lines = [`${effect}${code === "" ? "" : ` ${code}`}${message === "" ? "" : `: ${message}`}`];
  if (would !== null)
    lines.push(
      `  would ${would.effect}: ${would.reasons.map((r) => `${r.code} (${r.policy}): ${r.message}`).join("; ")}`,
    );
  if (advice !== "") lines.push(`  ${advice}`);
  lines.push("", ...ruleLines(decision.effect, rules));
  return lines.map(escapeForTerminal);
}

function ruleLines(effect: string, rules: readonly ExplainedRule[]): string[] {
  const lines = ["Rules that held:"];
  const held = rules.filter((rule) => rule.held);
  for (const { file, line, policy, rule, code } of held)
    lines.push(`  ${file}:${line}  ${policy}.${rule}${code === null ? "" : ` ${code}`}`);
  if (held.length === 0) lines.push("  none");
  // The author's own first: the library's are rarely what was meant.
  const allows = rules
    .filter((rule) => rule.rule === "allow" && !rule.held)
    .sort((a, b) => Number(a.file.startsWith("library/")) - Number(b.file.startsWith("library/")));
  if (effect === "allow" || allows.length === 0) return lines;
  lines.push("", "Rules that would have allowed it, and where they stopped:");
  for (const { file, policy, line, stopped } of allows)
    lines.push(`  ${file}:${line}  ${policy}.allow${stopped === null ? "" : `  at ${stopped.line}: ${stopped.text}`}`);
  return lines;
}
