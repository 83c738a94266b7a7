/** Where the sidecar's time goes under the load of part `http`: sampled by perf, by function, JavaScript and kernel alike. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { bundle } from "../bundle.ts";
import { FLAGS, startGateway } from "../gateway.ts";
import { load, loadScript } from "../load.ts";
import { compileBenchPolicy, HTTP_HOST, sign } from "../policy-bundle.ts";
import { installed, pause } from "../process.ts";
import type { Report } from "../report.ts";
import type { RoundsPlan } from "../rounds.ts";
import { startUpstream } from "../upstream.ts";
import { CONNECTIONS, DISTINCT, REQUEST_PATH, SAME } from "./http.ts";

export async function profile(folder: string, plan: RoundsPlan, words: readonly string[]): Promise<Report> {
  const [wrk, nginx, perf] = [installed("wrk"), installed("nginx"), installed("perf")];
  if (wrk === null || nginx === null || perf === null) throw new Error("needs wrk, nginx and perf");
  const upstream = await startUpstream(nginx, folder);
  const gateway = await startGateway({
    folder,
    bundles: {
      sidecar: await bundle("cmd/sidecar.ts", folder, true, [path.resolve(import.meta.dirname, "../profile-hook.ts")]),
      collector: await bundle("cmd/collector.ts", folder, false),
    },
    policy: sign(await compileBenchPolicy(upstream.port)),
    host: HTTP_HOST,
    flags: [
      ...FLAGS,
      ...(words.includes("js") ? [] : ["--perf-prof"]),
      ...words.filter((word) => word.startsWith("--")),
    ],
  });
  try {
    const script = loadScript(folder, "load", words.includes("distinct") ? DISTINCT : SAME);
    const url = `http://127.0.0.1:${gateway.port}${REQUEST_PATH}`;
    const run = (seconds: number): ReturnType<typeof load> =>
      load({ wrk, url, connections: CONNECTIONS, seconds, script });
    for (let done = 0; done < plan.warmOperations; ) done += (await run(2)).requests;
    if (words.includes("js")) {
      const under = run(plan.seconds + 2);
      await pause(500);
      process.kill(gateway.pid, "SIGUSR2");
      await pause(plan.seconds * 1000);
      process.kill(gateway.pid, "SIGUSR2");
      await under;
      await pause(1000);
      return { part: "profile", ratios: {}, goals: {}, raw: {}, rows: [], notes: [] };
    }
    const data = path.join(folder, "perf.data");
    const under = run(plan.seconds + 1);
    const sampled = spawnSyncLater(perf, [
      "record",
      "-k",
      "mono",
      "-F",
      "2999",
      "-g",
      "-p",
      String(gateway.pid),
      "-o",
      data,
      "--",
      "sleep",
      String(plan.seconds),
    ]);
    await under;
    await sampled;
    for (const args of [["inject", "-j", "-i", data, "-o", `${data}.jit`]])
      spawnSync(perf, args, { cwd: folder, stdio: "inherit" });
    if (words.includes("raw")) return { part: "profile", ratios: {}, goals: {}, raw: {}, rows: [], notes: [] };
    const report = spawnSync(
      perf,
      ["report", "-i", data, "--no-children", "-g", "none", "--percent-limit", "0.3", "--stdio", "--sort", "symbol"],
      { encoding: "utf8" },
    );
    console.log(report.stdout);
    console.log(readFileSync(path.join(folder, "sidecar.log"), "utf8").slice(-500));
  } finally {
    await gateway.stop();
    await upstream.stop();
  }
  return { part: "profile", ratios: {}, goals: {}, raw: {}, rows: [], notes: [] };
}

async function spawnSyncLater(command: string, args: readonly string[]): Promise<void> {
  const { spawn } = await import("node:child_process");
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  await new Promise((resolve) => {
    child.once("close", resolve);
  });
}
