/**
 * Where the sidecar's time goes under the load of part `http`, by function: Node's own sampling profiler, in a bundle that has a hook
 * for it. `profile distinct`: each request another, so each decision is evaluated. `profile postgres [simple]`: under the load of part
 * `postgres`. System calls count to whoever makes them.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { bundle } from "../bundle.ts";
import { type Gateway, startGateway } from "../gateway.ts";
import { load, loadScript } from "../load.ts";
import { pgbench } from "../pgbench.ts";
import { compileBenchPolicy, HTTP_HOST, sign } from "../policy-bundle.ts";
import { postgresPrograms, startDatabase } from "../postgres-server.ts";
import { installed, pause } from "../process.ts";
import { missing, type Report } from "../report.ts";
import type { RoundsPlan } from "../rounds.ts";
import { startUpstream } from "../upstream.ts";
import { CONNECTIONS, DISTINCT, REQUEST_PATH, SAME } from "./http.ts";
import { CLIENTS, databaseGateway } from "./postgres.ts";

const SHOWN = 40;
const HOOK = path.resolve(import.meta.dirname, "../profile-hook.ts");

export async function profile(folder: string, plan: RoundsPlan, words: readonly string[]): Promise<Report> {
  const missed = words.includes("postgres")
    ? await underPgbench(folder, plan, words.includes("simple") ? "simple" : "prepared")
    : await underWrk(folder, plan, words.includes("distinct"));
  if (missed !== null) return missed;
  const shares = selfTimes(readFileSync(path.join(folder, "js.cpuprofile"), "utf8"));
  for (const [name, share] of shares.slice(0, SHOWN)) console.log(`${(share * 100).toFixed(2).padStart(6)} %  ${name}`);
  return { part: "profile", ratios: {}, goals: {}, raw: { self: Object.fromEntries(shares) }, rows: [], notes: [] };
}

async function underWrk(folder: string, plan: RoundsPlan, distinct: boolean): Promise<Report | null> {
  const [wrk, nginx] = [installed("wrk"), installed("nginx")];
  if (wrk === null || nginx === null) return missing("profile", [], { wrk, nginx });
  const upstream = await startUpstream(nginx, folder);
  const gateway = await startGateway({
    folder,
    bundles: {
      sidecar: await bundle("cmd/sidecar.ts", folder, true, [HOOK]),
      collector: await bundle("cmd/collector.ts", folder, false),
    },
    policy: sign(await compileBenchPolicy(upstream.port)),
    host: HTTP_HOST,
  });
  try {
    const script = loadScript(folder, "load", distinct ? DISTINCT : SAME);
    const url = `http://127.0.0.1:${gateway.port}${REQUEST_PATH}`;
    await sample(gateway, plan, async (seconds) => {
      return (await load({ wrk, url, connections: CONNECTIONS, seconds, script })).requests;
    });
  } finally {
    await gateway.stop();
    await upstream.stop();
  }
  return null;
}

async function underPgbench(folder: string, plan: RoundsPlan, protocol: "prepared" | "simple"): Promise<Report | null> {
  const [programs, generator] = [postgresPrograms(), installed("pgbench")];
  if (programs === null || generator === null)
    return missing("profile", [], { postgresql: programs, pgbench: generator });
  const database = await startDatabase(programs, folder, 1);
  const gateway = await databaseGateway(folder, database, [HOOK]);
  try {
    const { port } = gateway;
    await sample(gateway, plan, async (seconds) => {
      return (await pgbench({ pgbench: generator, port, protocol, clients: CLIENTS, seconds })).transactions;
    });
  } finally {
    await gateway.stop();
    await database.stop();
  }
  return null;
}

/** Warm, then sampled for the time of one round in the middle of a longer one. `run`: how many operations there were. */
async function sample(gateway: Gateway, plan: RoundsPlan, run: (seconds: number) => Promise<number>): Promise<void> {
  for (let done = 0; done < plan.warmOperations; ) done += await run(2);
  const under = run(plan.seconds + 2);
  await pause(500);
  process.kill(gateway.pid, "SIGUSR2");
  await pause(plan.seconds * 1_000);
  process.kill(gateway.pid, "SIGUSR2");
  await under;
  await pause(1_000);
}

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Function → share of all time but the idle, largest first. */
function selfTimes(text: string): [string, number][] {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as Profile;
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName === "" ? "(anonymous)" : functionName} ${path.basename(url)}:${lineNumber + 1}`,
    ]),
  );
  const times = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const name = names.get(id) ?? "?";
    if (name.startsWith("(idle)")) continue;
    const us = timeDeltas[i] ?? 0;
    total += us;
    times.set(name, (times.get(name) ?? 0) + us);
  }
  return [...times].map(([name, us]): [string, number] => [name, us / total]).toSorted((a, b) => b[1] - a[1]);
}
