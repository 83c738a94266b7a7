import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "sidegate-ci-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** `.ci/run`'s last part, with a `make` that does what the test says of each target. */
function ci(targets: { readonly test: string; readonly e2e: string }): {
  code: number | null;
  lines: readonly string[];
} {
  writeFileSync(
    path.join(folder, "make"),
    `#!/bin/sh\ncase $2 in\ntest) ${targets.test} ;;\ne2e) ${targets.e2e} ;;\nesac\n`,
    { mode: 0o755 },
  );
  const run = spawnSync(process.execPath, ["--disable-warning=ExperimentalWarning", "tools/ci.ts"], {
    env: { PATH: `${folder}:${process.env["PATH"]}`, CI: "true" },
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: run.status, lines: run.stdout.trim().split("\n") };
}

const says = (passed: number, failed: number, skipped: number, code = 0): string =>
  `echo '{"passed": ${passed}, "failed": ${failed}, "skipped": ${skipped}}' >"$SIDEGATE_REPORT"; exit ${code}`;

test("the last line counts tests and scenarios together", () => {
  const { code, lines } = ci({ test: says(100, 0, 0), e2e: says(22, 0, 1) });
  expect([code, lines.at(-1)]).toEqual([0, "122 passed, 0 failed, 1 skipped"]);
});

test("a failed test does not keep the scenarios from running, and a failed scenario fails the whole", () => {
  expect(ci({ test: says(99, 1, 0, 2), e2e: says(22, 0, 0) })).toMatchObject({ code: 1 });
  const { code, lines } = ci({ test: says(100, 0, 0), e2e: says(20, 2, 0, 2) });
  expect([code, lines.at(-1)]).toEqual([1, "120 passed, 2 failed, 0 skipped"]);
});

test("a part that dies without a word, or whose word is better than its exit, has failed", () => {
  const { code, lines } = ci({ test: says(100, 0, 0, 2), e2e: "exit 1" });
  expect([code, lines.at(-1)]).toEqual([1, "100 passed, 2 failed, 0 skipped"]);
});

test("scenarios that were switched off are said and counted as skipped", () => {
  const report = path.join(folder, "off.json");
  const run = spawnSync("test/e2e/e2e.sh", [], {
    env: { PATH: process.env["PATH"] ?? "", SIDEGATE_E2E: "off", SIDEGATE_REPORT: report },
    encoding: "utf8",
  });
  expect([run.status, run.stdout]).toEqual([0, "e2e: off (SIDEGATE_E2E=off): no scenario was run\n"]);
  const counts = JSON.parse(readFileSync(report, "utf8")) as { skipped: number };
  expect(counts).toMatchObject({ passed: 0, failed: 0 });
  expect(counts.skipped).toBeGreaterThan(20);
});
