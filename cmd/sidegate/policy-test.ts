/** `sidegate policy test DIR`: every check of a build, and the tests; nothing is written. */
import type { Command } from "commander";
import { readSources } from "#policy/compile/build.ts";
import { compilePolicies } from "#policy/compile/compile.ts";
import { formatProblem } from "#policy/compile/problem.ts";
import { escapeForTerminal, jsonForTerminal } from "../../src/core/escape.ts";
import { checkFolder, finish, libraryFolder, opaProgram, report, scratchFolder } from "./policy-tools.ts";

interface TestOptions {
  readonly library: boolean;
  readonly json?: boolean;
}

export function registerPolicyTest(policy: Command): void {
  policy
    .command("test")
    .description("Check a policy folder and run its tests")
    .argument("<dir>", "the folder")
    .option("--no-library", "without the policies that come with Sidegate")
    .option("--json", "one JSON object")
    .action(async (folder: string, options: TestOptions) => finish(test(folder, options)));
}

async function test(folder: string, { library, json }: TestOptions): Promise<number> {
  const read = await readSources({ folder: checkFolder(folder), library: library ? libraryFolder() : null });
  if (read.kind === "problems") return report(read.problems, json === true);
  const compiled = await compilePolicies(read.sources, { opa: await opaProgram(), tmp: scratchFolder() });
  if (compiled.kind === "problems") return report(compiled.problems, json === true);
  const { tests, warnings, parts } = compiled;
  const policies = parts.metadata.policies.length;
  const targets = read.sources.targets.length;
  if (json === true)
    process.stdout.write(
      `${jsonForTerminal({ ok: true, policies, targets, passed: tests.passed, skipped: tests.skipped, warnings })}\n`,
    );
  else {
    if (!read.sources.modules.some(({ name }) => !name.startsWith("library/")) && targets === 0)
      process.stderr.write(
        `note: ${folder} holds no policy and no target; sidegate policy init writes the first ones\n`,
      );
    for (const warning of warnings) process.stderr.write(`warning: ${escapeForTerminal(formatProblem(warning))}\n`);
    process.stdout.write(
      `ok: ${policies} policies, ${targets} targets, ${tests.passed} tests passed${tests.skipped > 0 ? `, ${tests.skipped} skipped` : ""}\n`,
    );
  }
  return 0;
}
