/** What the policy sub-commands share: where `opa` and the library are, how problems are said. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { escapeForTerminal, jsonForTerminal } from "#core/escape.ts";
import { findOpa, OpaMissing } from "#policy/compile/find-opa.ts";
import { formatProblem, type Problem } from "#policy/compile/problem.ts";
import { UsageError } from "./audit-store.ts";
import { sayFault, systemWords } from "./streams.ts";

/** From a clone the sources run; from the package the bundles do. */
const BUNDLED = !import.meta.url.endsWith(".ts");

export function opaProgram(): Promise<string> {
  const { env } = process;
  return findOpa({
    given: env["SIDEGATE_OPA"],
    path: env["PATH"],
    cacheDir: path.join(env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate"),
    toolsDir: BUNDLED ? null : fileURLToPath(new URL("../../tools/opa", import.meta.url)),
    env,
    platform: process.platform,
    arch: process.arch,
    say: (line) => process.stderr.write(`${line}\n`),
  });
}

export function libraryFolder(): string | null {
  const folder = fileURLToPath(new URL(BUNDLED ? "../policies" : "../../policies", import.meta.url));
  return existsSync(folder) ? folder : null;
}

/** Throws UsageError where it is no folder. */
export function checkFolder(folder: string): string {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`${folder} is no folder`);
  return path.resolve(folder);
}

/** Removed when the process ends, also by Ctrl-C. */
export function scratchFolder(): string {
  let folder: string | null = null;
  const remove = (): void => {
    // Something may be on its way into it just now.
    if (folder !== null) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  process.once("exit", remove);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => {
      try {
        remove();
      } finally {
        process.kill(process.pid, signal);
      }
    });
  // Last: there is no moment in which it is there and nobody would remove it.
  folder = mkdtempSync(path.join(os.tmpdir(), "sidegate-"));
  return folder;
}

/** `-`: standard input. Throws UsageError where it cannot be read. */
export function readInput(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (fault) {
    throw new UsageError(`${file === "-" ? "standard input" : file}: ${systemWords(fault)}`);
  }
}

/** Says what is wrong, all of it, and gives the exit code. */
export function report(problems: readonly Problem[], json: boolean): number {
  if (json) process.stdout.write(`${jsonForTerminal({ ok: false, problems })}\n`);
  else for (const problem of problems) process.stderr.write(`${escapeForTerminal(formatProblem(problem))}\n`);
  return 1;
}

/** Runs a sub-command: the number is its exit code; wrong usage and a missing `opa` are one line. */
export async function finish(work: Promise<number>): Promise<void> {
  try {
    process.exitCode = await work;
  } catch (fault) {
    if (!(fault instanceof UsageError) && !(fault instanceof OpaMissing)) throw fault;
    sayFault(fault.message);
    process.exitCode = fault instanceof UsageError ? 2 : 1;
  }
}
