/** A program whose parent passed on next to nothing still finds the variables that make it trust the gateway: the real loader's doing. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { buildPreload } from "../../tools/preload.ts";
import { findProgram, requireThat } from "../support/require.ts";

const folder = mkdtempSync(path.join(tmpdir(), "preload-"));
const library = path.join(folder, "trust-preload.so");
const environment = path.join(folder, "environment");
const there = findProgram("cc") !== null;

beforeAll(() => {
  if (there) buildPreload(library, [`TRUST_ENVIRONMENT="${environment}"`]);
});
beforeEach((context) => requireThat(context, there, "needs a C compiler: apt-get install gcc libc6-dev"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The child's environment without what the loader needed to load the library here, where /etc/ld.so.preload is the machine's own. */
function seen(command: readonly string[], env: Record<string, string>): string {
  const [file = "", ...args] = command;
  return execFileSync(file, args, { env: { ...env, LD_PRELOAD: library }, encoding: "utf8" });
}

describe("the preloaded library", () => {
  test("sets what is missing, and leaves what is there", () => {
    writeFileSync(environment, "SSL_CERT_FILE=/trust/a.pem\nNODE_EXTRA_CA_CERTS=/trust/b.pem\n");
    const out = seen(["/usr/bin/env"], { HOME: "/", SSL_CERT_FILE: "/mine.pem" }).split("\n");
    expect(out).toContain("SSL_CERT_FILE=/mine.pem");
    expect(out).toContain("NODE_EXTRA_CA_CERTS=/trust/b.pem");
    expect(out).toContain("HOME=/");
  });

  test("Node and Python see it as their own environment", () => {
    writeFileSync(environment, "SSL_CERT_FILE=/trust/a.pem\n");
    expect(seen([process.execPath, "-p", "process.env.SSL_CERT_FILE"], {})).toBe("/trust/a.pem\n");
    expect(seen(["python3", "-c", "import os; print(os.environ['SSL_CERT_FILE'])"], { PATH: "/usr/bin:/bin" })).toBe(
      "/trust/a.pem\n",
    );
  });

  for (const [what, text] of [
    ["no file", null],
    ["an empty file", ""],
    ["lines that are none", "=x\n\nnothing\n=\n"],
    ["a last line that was cut off", "A=1"],
    ["more than it reads", `${"X".repeat(20_000)}=1\n`],
  ] as const)
    test(`${what}: the program starts as if the library were not there`, () => {
      rmSync(environment, { force: true });
      if (text !== null) writeFileSync(environment, text);
      expect(seen(["/usr/bin/env"], { HOME: "/" })).toBe(`HOME=/\nLD_PRELOAD=${library}\n`);
    });
});
