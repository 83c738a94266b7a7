/** Prints the path of the pinned `opa`, after getting it where need be. Used by the Makefile, CI and tools/. */
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { findOpa, OpaMissing } from "#policy/compile/find-opa.ts";

const { env } = process;
try {
  const opa = await findOpa({
    given: env["SIDEGATE_OPA"],
    path: env["PATH"],
    cacheDir: path.join(env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate"),
    toolsDir: path.dirname(fileURLToPath(import.meta.url)),
    env,
    platform: process.platform,
    arch: process.arch,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  process.stdout.write(`${opa}\n`);
} catch (fault) {
  process.stderr.write(`${fault instanceof OpaMissing ? fault.message : String(fault)}\n`);
  process.exitCode = 1;
}
