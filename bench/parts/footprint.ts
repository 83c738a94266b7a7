/**
 * An idle sidecar, its bundle loaded: what it keeps in memory, and how long it took until it was ready. The bundles are the shipped
 * ones with the shipped flags.
 *
 * - `run`: the sidecar of a real `sidegate run`, with its siblings (command line, keeper, collector), which map the same binary.
 * - `pod`: with what a pod has more: trust files to write, metrics that were scraped. Pages of the Node binary are left out: every pod
 *   of a node that runs the same image shares them.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { bundle } from "../bundle.ts";
import { FLAGS, type Gateway, startGateway } from "../gateway.ts";
import { compileBenchPolicy, opa, sign } from "../policy-bundle.ts";
import { pause } from "../process.ts";
import type { Report } from "../report.ts";
import { median, type RoundsPlan } from "../rounds.ts";

/** From ready until it is looked at. */
const IDLE_MS = 5_000;
const LIMIT_MS = 60_000;

interface Memory {
  readonly rss: number;
  readonly private: number;
  readonly own: number;
}

export async function footprint(folder: string, plan: RoundsPlan): Promise<Report> {
  const dist = path.join(folder, "dist");
  for (const entry of ["cmd/sidecar.ts", "cmd/collector.ts", "cmd/run-inner.ts", "cmd/sidegate/main.ts"])
    await bundle(entry, dist, false);
  // Laid out as the package is.
  for (const beside of ["package.json", "policies"])
    symlinkSync(path.resolve(import.meta.dirname, "../..", beside), path.join(folder, beside));
  const bundles = { sidecar: path.join(dist, "sidecar.js"), collector: path.join(dist, "collector.js") };
  const policy = sign(await compileBenchPolicy(null));
  const run: Memory[] = [];
  const pod: Memory[] = [];
  const ready: number[] = [];
  let refused = "";
  for (let n = 0; n < plan.rounds; n++) {
    const own = path.join(folder, `pod${n}`);
    mkdirSync(own);
    const gateway = await startGateway({ folder: own, bundles, policy, host: null });
    try {
      ready.push(gateway.readyMs);
      pod.push(await scraped(gateway));
    } finally {
      await gateway.stop();
    }
    const idle = await ofRun(dist, path.join(folder, `run${n}`));
    if (typeof idle === "string") refused = idle;
    else run.push(idle);
  }
  const mid = (of: readonly Memory[], what: keyof Memory): number | null =>
    of.length === 0 ? null : Number(median(of.map((memory) => memory[what])).toFixed(1));
  return {
    part: "footprint",
    ratios: {},
    goals: { idle_private_mb: "≤ 20", idle_private_pod_mb: "≤ 28", ready_ms: "≤ 200" },
    raw: {
      idle_rss_mb: mid(run, "rss"),
      idle_private_mb: mid(run, "private"),
      idle_private_pod_mb: mid(pod, "own"),
      ready_ms: Math.round(median(ready)),
      run: run.map((memory) => memory.private),
      pod: pod.map((memory) => memory.own),
      ready: ready.map(Math.round),
    },
    rows: [],
    notes: [`after ${IDLE_MS / 1000} s without work`, ...(refused === "" ? [] : [`sidegate run: ${refused}`])],
  };
}

async function scraped(gateway: Gateway): Promise<Memory> {
  await gateway.metric("sidegate_ready");
  await pause(IDLE_MS);
  return memoryOf(gateway.pid);
}

/** A text: why it could not be measured. */
async function ofRun(dist: string, state: string): Promise<Memory | string> {
  mkdirSync(state);
  const command = [...FLAGS.filter((flag) => flag !== "--disable-sigusr1"), path.join(dist, "sidegate.js")];
  const cli = spawn(
    process.execPath,
    [...command, "run", "--policy", path.resolve(import.meta.dirname, "../policy"), "--", "sleep", "3600"],
    {
      stdio: ["ignore", "ignore", "pipe"],
      cwd: state,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: state, XDG_STATE_HOME: state, SIDEGATE_OPA: await opa() },
    },
  );
  let said = "";
  cli.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const ended = new Promise<void>((resolve) => {
    cli.once("exit", () => resolve());
  });
  try {
    const end = performance.now() + LIMIT_MS;
    while (!/^sidegate: run /m.test(said)) {
      if (cli.exitCode !== null || performance.now() > end) return said.trim().slice(0, 400);
      await pause(50);
    }
    await pause(IDLE_MS);
    const pid = childOf(cli.pid ?? -1, path.join(dist, "sidecar.js"));
    return pid === null ? "its sidecar was not found" : memoryOf(pid);
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault);
  } finally {
    cli.kill("SIGTERM");
    await ended;
  }
}

function childOf(parent: number, entry: string): number | null {
  for (const name of readdirSync("/proc").filter((found) => /^[0-9]+$/.test(found)))
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const ppid = Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ", 1)[0]);
      if (ppid === parent && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(entry)) return Number(name);
    } catch {
      // It has ended meanwhile.
    }
  return null;
}

/** MiB. Throws where this process may not read another's map: it is not dumpable, so only root may. */
function memoryOf(pid: number): Memory {
  let rss = 0;
  let all = 0;
  let own = 0;
  let binary = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "latin1").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) binary = line.endsWith("/node");
    const [, name = "", kb = "0"] = /^(Rss|Private_Clean|Private_Dirty): +([0-9]+) kB$/.exec(line) ?? [];
    const mib = Number(kb) / 1024;
    if (name === "Rss") rss += mib;
    else if (name !== "") {
      all += mib;
      if (!binary || name === "Private_Dirty") own += mib;
    }
  }
  return { rss, private: all, own };
}
