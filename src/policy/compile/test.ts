/**
 * Runs an author's tests: their code, in a process with limits on CPU, memory and time, without our environment.
 */
import type { Problem } from "./problem.ts";
import { runOpa } from "./run-opa.ts";

export interface TestReport {
  readonly passed: number;
  readonly skipped: number;
  readonly problems: readonly Problem[];
}

const LIMITS = { cpuSeconds: 20, memoryBytes: 4 * 1024 * 1024 * 1024 } as const;
const TIMEOUT_MS = 30_000;

interface Result {
  readonly name?: string;
  readonly package?: string;
  readonly fail?: boolean;
  readonly skip?: boolean;
  readonly error?: unknown;
  readonly location?: { readonly file?: string; readonly row?: number };
}

/** `count`: test modules; 0: nothing is run. */
export async function runTests(
  opa: string,
  folder: string,
  files: readonly string[],
  count: number,
): Promise<TestReport> {
  if (count === 0) return { passed: 0, skipped: 0, problems: [] };
  const run = await runOpa(opa, {
    args: [
      "test",
      "--format",
      "json",
      "--timeout",
      "5s",
      "--capabilities",
      ".capabilities.json",
      "./data.json",
      ...files,
    ],
    cwd: folder,
    timeoutMs: TIMEOUT_MS,
    limits: LIMITS,
  });
  const stop = (message: string): TestReport => ({
    passed: 0,
    skipped: 0,
    problems: [{ file: "opa test", line: 0, message }],
  });
  if (run.stopped !== null || run.status === null) return stop("was stopped: the tests took too much time or memory");
  let results: Result[];
  try {
    results = run.stdout.trim() === "" ? [] : (JSON.parse(run.stdout) as Result[]);
  } catch {
    return stop((run.stderr || run.stdout).trim());
  }
  if (results.length === 0) return stop(run.stderr.trim() || "found no rule that begins with test_");
  const problems: Problem[] = [];
  let passed = 0;
  let skipped = 0;
  for (const result of results) {
    if (result.skip === true) skipped++;
    else if (result.fail !== true && result.error === undefined) passed++;
    else
      problems.push({
        file: (result.location?.file ?? "opa test").replace(/^\.\//, ""),
        line: result.location?.row ?? 0,
        message: `${result.package ?? ""}.${result.name ?? ""} ${result.error === undefined ? "failed" : `could not be run: ${JSON.stringify(result.error)}`}`,
      });
  }
  return { passed, skipped, problems };
}
