/**
 * Runs every test that this machine can run, says what was skipped and why, and ends with one plain line. With CI=true a skip
 * is a failure: a suite that skips what it cannot do proves nothing.
 *
 * `node tools/test.ts [PROJECT…]`: unit, architecture, integration, bypass; all of them without one.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly meta?: { readonly reason?: string };
    }[];
  }[];
}

const ALL = ["architecture", "unit", "integration", "bypass"];
const chosen = process.argv.slice(2);
const projects = chosen.length > 0 ? chosen : ALL;
const ci = process.env["CI"] === "true";
const out = mkdtempSync(path.join(tmpdir(), "sidegate-test-"));
let passed = 0;
let failed = 0;
const skipped: string[] = [];

for (const project of projects) {
  console.log(`\n== ${project}`);
  const file = path.join(out, `${project}.json`);
  const run = spawnSync(
    process.execPath,
    [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      project,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
    ],
    { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, NO_COLOR: "1" } },
  );
  let report: Report;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    console.error(`${project}: no report was written; the runner ended with ${run.status ?? run.signal}`);
    failed++;
    continue;
  }
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  // A file that does not load, or a process that died, has no failed test of its own.
  const broken = report.testResults.filter(
    (r) => r.status === "failed" && r.assertionResults.every((a) => a.status !== "failed"),
  );
  for (const { name, message } of broken) console.error(`${name}: ${message}`);
  failed += broken.length;
  if (run.status !== 0 && report.numFailedTests === 0 && broken.length === 0) failed++;
  for (const result of report.testResults)
    for (const test of result.assertionResults)
      if (test.status === "pending" || test.status === "skipped" || test.status === "todo")
        skipped.push(`${path.relative(process.cwd(), result.name)}: ${test.fullName}`);
}
rmSync(out, { recursive: true, force: true });

if (skipped.length > 0) {
  console.log("\nSkipped (each says why in its file):");
  for (const title of skipped) console.log(`  ${title}`);
}
if (ci && skipped.length > 0) console.error("\nCI=true: a skipped test is a failure here.");
const counts = { passed, failed: failed + (ci ? skipped.length : 0), skipped: ci ? 0 : skipped.length };
// For who adds it up with something else (tools/ci.ts).
const report = process.env["SIDEGATE_REPORT"];
if (report !== undefined) writeFileSync(report, JSON.stringify(counts));
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed > 0 ? 1 : 0);
