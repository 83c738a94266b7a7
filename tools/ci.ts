/**
 * What `.ci/run` runs after the quick checks: every test, then the scenarios on a real node. Each part has a time limit and ends as a
 * whole with what it started; a part that does not say how it went has failed. Ends with one plain line that counts both.
 *
 * `SIDEGATE_E2E=off` leaves the scenarios out, and counts them as skipped.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Part {
  readonly name: string;
  readonly limitMinutes: number;
  /** Removes what it left where it had to be ended. */
  readonly clear?: string;
}

/** From cold, with images and Kubernetes built and everybody else's work on the same cores: together below 90 minutes. */
const PARTS: readonly Part[] = [
  { name: "test", limitMinutes: 40 },
  { name: "e2e", limitMinutes: 45, clear: "test/e2e/cluster/down.sh" },
];
/** Between the asking and the end. */
const GRACE_MS = 30_000;

const reports = mkdtempSync(path.join(tmpdir(), "sidegate-ci-"));
let running: ChildProcess | null = null;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    endAll(running, "SIGTERM");
    process.exitCode = 130;
  });

const sum = { passed: 0, failed: 0, skipped: 0 };
for (const part of PARTS) {
  if (process.exitCode !== undefined) break;
  const start = performance.now();
  const counts = await run(part);
  const minutes = ((performance.now() - start) / 60_000).toFixed(1);
  console.log(`ci: ${part.name}: ${line(counts)} (${minutes} min)`);
  for (const key of ["passed", "failed", "skipped"] as const) sum[key] += counts[key];
}
rmSync(reports, { recursive: true, force: true });
console.log(`\n${line(sum)}`);
process.exit(process.exitCode ?? (sum.failed > 0 ? 1 : 0));

async function run({ name, limitMinutes, clear }: Part): Promise<Counts> {
  const report = path.join(reports, `${name}.json`);
  const child = spawn("make", ["-s", name], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, SIDEGATE_REPORT: report },
    detached: true,
  });
  running = child;
  const ended = new Promise<number | null>((resolve) => {
    child.on("error", () => resolve(null));
    child.on("close", (code) => resolve(code));
  });
  let stopped = false;
  const timers = [
    setTimeout(() => {
      stopped = true;
      console.error(`ci: ${name} is ended: it took more than ${limitMinutes} minutes`);
      endAll(child, "SIGTERM");
    }, limitMinutes * 60_000),
    setTimeout(() => endAll(child, "SIGKILL"), limitMinutes * 60_000 + GRACE_MS),
  ];
  const code = await ended;
  for (const timer of timers) clearTimeout(timer);
  running = null;
  if (stopped && clear !== undefined) spawnSync("bash", [clear], { stdio: "inherit", timeout: 60_000 });
  const counts = read(report);
  if (counts === null) console.error(`ci: ${name} ended with ${code ?? "a signal"} and did not say how it went`);
  if (counts === null) return { passed: 0, failed: 1, skipped: 0 };
  return code === 0 && !stopped ? counts : { ...counts, failed: Math.max(1, counts.failed) };
}

/** The group of the process: what it started, too. */
function endAll(child: ChildProcess | null, signal: NodeJS.Signals): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended.
  }
}

function read(file: string): Counts | null {
  try {
    const { passed, failed, skipped } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    return typeof passed === "number" && typeof failed === "number" && typeof skipped === "number"
      ? { passed, failed, skipped }
      : null;
  } catch {
    return null;
  }
}

function line({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
