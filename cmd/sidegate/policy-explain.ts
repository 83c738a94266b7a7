/** `sidegate policy explain`: an operation in, the decision and the rules that made it out. */

import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { type Explained, explainOperation } from "#policy/author/explain.ts";
import { explainWithBundle } from "#policy/author/explain-bundle.ts";
import { explainedLines } from "#policy/author/explain-text.ts";
import { readObserved } from "#policy/author/observed.ts";
import { readSources } from "#policy/compile/build.ts";
import type { Problems } from "#policy/compile/workspace.ts";
import { escapeForTerminal, jsonForTerminal } from "../../src/core/escape.ts";
import { UsageError } from "./audit-store.ts";
import { checkFolder, finish, libraryFolder, opaProgram, readInput, report, scratchFolder } from "./policy-tools.ts";
import { systemWords } from "./streams.ts";

interface ExplainOptions {
  readonly policy?: string;
  readonly bundle?: string;
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
    .option("--policy <dir>", "the policy folder")
    .option("--bundle <file>", "a built bundle instead: needs no opa, and shows only the rules that spoke")
    .option("--pod <file>", "JSON of what the workload is (data.sidegate.pod)")
    .option("--no-library", "without the policies that come with Sidegate")
    .addOption(new Option("--expect <effect>", "exit with 1 when the decision is another").choices(["allow", "deny"]))
    .option("--json", "one JSON object")
    .action(async (file: string, options: ExplainOptions) => finish(explain(file, options)));
}

async function explain(file: string, options: ExplainOptions): Promise<number> {
  if ((options.policy === undefined) === (options.bundle === undefined))
    throw new UsageError("either --policy or --bundle is needed");
  if (file === "-" && process.stdin.isTTY)
    process.stderr.write("Reading the operation from this terminal; Ctrl-D ends it.\n");
  const input = operationOf(parseJson(readInput(file), file));
  const pod = options.pod === undefined ? {} : parseJson(readInput(options.pod), options.pod);
  const explained = await explainBy(options, input, pod);
  if (explained.kind === "problems") return report(explained.problems, options.json === true);
  const { decision, rules } = explained;
  if (options.json === true) {
    const { text: _text, ...rest } = decision;
    process.stdout.write(`${jsonForTerminal({ decision: rest, rules })}\n`);
  } else process.stdout.write(`${explainedLines(explained).map(escapeForTerminal).join("\n")}\n`);
  return options.expect === undefined || options.expect === decision.effect ? 0 : 1;
}

/** By a folder or by a built bundle; one of them is needed. */
export async function explainBy(
  { policy, bundle, library }: Pick<ExplainOptions, "policy" | "bundle" | "library">,
  input: Readonly<Record<string, unknown>>,
  pod: Readonly<Record<string, unknown>>,
): Promise<Explained | Problems> {
  if (bundle !== undefined) {
    try {
      return explainWithBundle(readFileSync(bundle), input, pod);
    } catch (fault) {
      throw new UsageError(`${bundle}: ${systemWords(fault)}`);
    }
  }
  const read = await readSources({ folder: checkFolder(policy ?? ""), library: library ? libraryFolder() : null });
  if (read.kind === "problems") return read;
  return explainOperation(read.sources, input, { opa: await opaProgram(), tmp: scratchFolder(), pod });
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
