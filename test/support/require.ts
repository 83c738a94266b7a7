/**
 * What a test needs of this machine. Where it is missing the test is skipped with its reason, so that it is listed; under
 * `CI=true` a skip is a failure, because there everything has been installed, and a check that looks at nothing is no check.
 */
import { accessSync, constants } from "node:fs";
import type { TestContext } from "vitest";

const PLACES = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"] as const;

/** Absolute path of a program outside node_modules, or null. */
export function findProgram(name: string): string | null {
  for (const place of PLACES) {
    try {
      accessSync(`${place}/${name}`, constants.X_OK);
      return `${place}/${name}`;
    } catch {
      // not here
    }
  }
  return null;
}

/** Skips (in CI: fails) unless `met`. `reason` says what is missing and how to get it. */
export function requireThat(context: TestContext, met: boolean, reason: string): void {
  if (met) return;
  if (process.env["CI"] === "true") throw new Error(`not skipped in CI: ${reason}`);
  context.skip(reason);
}

/** The program's absolute path. */
export function requireTool(context: TestContext, name: string): string {
  const path = findProgram(name);
  requireThat(context, path !== null, `${name} is not installed`);
  return path ?? name;
}

/** Several uids, or namespaces that only root may make. */
export function requireRoot(context: TestContext): void {
  requireThat(context, process.getuid?.() === 0, "needs root: several uids in one network namespace");
}
