/** `sidegate policy explain`: an operation in, the decision and the rules that made it out. */
import os from "node:os";
import { type Command, Option } from "commander";
import { escapeForTerminal } from "#core/escape.ts";
import { type Explained, explainOperation } from "#policy/author/explain.ts";
import { readObserved } from "#policy/author/observed.ts";
import { readSources } from "#policy/compile/build.ts";
import { UsageError } from "./audit-store.ts";
import { checkFolder, finish, libraryFolder, opaProgram, readInput, report } from "./policy-tools.ts";

interface ExplainOptions {
  readonly policy: string;
  readonly pod?: string;
  readonly library: boolean;
  readonly expect?: "allow" | "deny";
  readonly json?: boolean;
}

export function registerPolicyExplain(policy: Command): void {
  policy
    .command("explain")
    .description("Judge one operation and say which rules made the decision")
    .argument(
      "[file]",
      "the operation as JSON, or a record from `sidegate audit query --json`; - reads standard input",
      "-",
    )
    .requiredOption("--policy <dir>", "the policy folder")
    .option("--pod <file>", "JSON of what the workload is (data.sidegate.pod)")
    .option("--no-library", "without the policies that come with Sidegate")
    .addOption(new Option("--expect <effect>", "exit with 1 when the decision is another").choices(["allow", "deny"]))
    .option("--json", "one JSON object")
    .action(async (file: string, options: ExplainOptions) => finish(explain(file, options)));
}

async function explain(file: string, options: ExplainOptions): Promise<number> {
  const folder = checkFolder(options.policy);
  const input = operationOf(parseJson(readInput(file), file));
  const pod = options.pod === undefined ? {} : parseJson(readInput(options.pod), options.pod);
  const read = await readSources({ folder, library: options.library ? libraryFolder() : null });
  if (read.kind === "problems") return report(read.problems, options.json === true);
  const explained = await explainOperation(read.sources, input, { opa: await opaProgram(), tmp: os.tmpdir(), pod });
  if (explained.kind === "problems") return report(explained.problems, options.json === true);
  const { decision, rules } = explained;
  if (options.json === true) {
    const { text: _text, ...rest } = decision;
    process.stdout.write(`${JSON.stringify({ decision: rest, rules })}\n`);
  } else process.stdout.write(renderExplained(explained));
  return options.expect === undefined || options.expect === decision.effect ? 0 : 1;
}

function parseJson(text: string, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${file === "-" ? "standard input" : file} is no JSON object`);
  return value as Record<string, unknown>;
}

/** A record's operation, or what was given. */
function operationOf(given: Record<string, unknown>): Readonly<Record<string, unknown>> {
  return "op" in given ? (readObserved({ ...given, verdict: given["verdict"] ?? "" })?.op ?? {}) : given;
}

/** For people: the decision, what held, and for a denial where each allowing rule stopped. */
function renderExplained({ decision, rules }: Explained): string {
  const lines = [
    `${decision.effect}${decision.code === "" ? "" : ` ${decision.code}`}${decision.message === "" ? "" : `: ${decision.message}`}`,
  ];
  if (decision.would !== null)
    lines.push(
      `  would ${decision.would.effect}: ${decision.would.reasons.map((r) => `${r.code} (${r.policy}): ${r.message}`).join("; ")}`,
    );
  if (decision.advice !== "") lines.push(`  ${decision.advice}`);
  lines.push("", "Rules that held:");
  const held = rules.filter((rule) => rule.held);
  for (const rule of held)
    lines.push(`  ${rule.file}:${rule.line}  ${rule.policy}.${rule.rule}${rule.code === null ? "" : ` ${rule.code}`}`);
  if (held.length === 0) lines.push("  none");
  const allows = rules.filter((rule) => rule.rule === "allow" && !rule.held);
  // The author's own first: the library's are rarely what was meant.
  allows.sort((a, b) => Number(a.file.startsWith("library/")) - Number(b.file.startsWith("library/")));
  if (decision.effect !== "allow" && allows.length > 0) {
    lines.push("", "Rules that would have allowed it, and where they stopped:");
    for (const { file, policy, line, stopped } of allows)
      lines.push(
        `  ${file}:${line}  ${policy}.allow${stopped === null ? "" : `  at ${stopped.line}: ${stopped.text}`}`,
      );
  }
  return `${lines.map(escapeForTerminal).join("\n")}\n`;
}
