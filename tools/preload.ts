/**
 * Compiles the library that agents' programs load first (deploy/preload/trust.c) into dist/, with the machine's own C compiler.
 * Without one it says so and leaves it out: then clients need the variables that injection sets.
 */
import { spawnSync } from "node:child_process";

export const PRELOAD_SOURCE = "deploy/preload/trust.c";

/** `defines`: NAME=VALUE, for tests that put the file elsewhere. Answers whether it was built; throws on a compiler's complaint. */
export function buildPreload(output: string, defines: readonly string[] = []): boolean {
  const args = ["-shared", "-fPIC", "-Os", "-s", "-nostartfiles", "-std=gnu11", "-Wall", "-Wextra", "-Werror"];
  const ran = spawnSync(
    "cc",
    [...args, "-Wl,--build-id=none", ...defines.map((text) => `-D${text}`), "-o", output, PRELOAD_SOURCE],
    { encoding: "utf8" },
  );
  if (ran.error !== undefined) return false;
  if (ran.status !== 0) throw new Error(`cc: ${ran.stderr}`);
  return true;
}
