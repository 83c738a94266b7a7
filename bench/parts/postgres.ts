/**
 * PostgreSQL: `pgbench -S` with eight clients, every statement parsed, judged by bench/policy and bench/policy-sql, and recorded, beside
 * pgbouncer, which does none of it. Once prepared (the same statement with other parameters), once simple (another text each time).
 */
import { copyFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { bundle } from "../bundle.ts";
import { type Gateway, startGateway } from "../gateway.ts";
import { pgbench } from "../pgbench.ts";
import { startPgbouncer } from "../pgbouncer.ts";
import { compileDatabasePolicy, DB_HOST, DB_PORT, sign } from "../policy-bundle.ts";
import { type BenchDatabase, postgresPrograms, startDatabase } from "../postgres-server.ts";
import { installed, type Started } from "../process.ts";
import { compareStatements } from "../records.ts";
import { missing, type Report } from "../report.ts";
import { type Candidate, interleaved, type RoundsPlan, ratio } from "../rounds.ts";

export const CLIENTS = 8;
const SCALE = 1;
const DRAIN_MS = 120_000;
const WASM = "libpg-query.wasm";

const OURS = { prepared: "sidegate, prepared", simple: "sidegate, simple" } as const;
const PEER = { prepared: "pgbouncer session, prepared", simple: "pgbouncer session, simple" } as const;
const GOALS = { pgbench_prepared_cpu_vs_pgbouncer: "≥ 0.67", pgbench_simple_cpu_vs_pgbouncer: "≥ 0.45" };

export async function postgres(folder: string, plan: RoundsPlan): Promise<Report> {
  const programs = postgresPrograms();
  const tools = { postgresql: programs, pgbench: installed("pgbench"), pgbouncer: installed("pgbouncer") };
  if (programs === null || tools.pgbench === null) return missing("postgres", Object.keys(GOALS), tools);
  const { pgbench: generator } = tools;
  const notes: string[] = [];
  const database = await startDatabase(programs, folder, SCALE);
  const started: Started[] = [];
  try {
    const gateway = await databaseGateway(folder, database, []);
    started.push(gateway);
    const sent = { prepared: 0, transactions: 0, runs: 0 };
    const run = async (
      port: number,
      protocol: "simple" | "prepared",
      seconds: number,
      ours: boolean,
    ): ReturnType<Candidate["run"]> => {
      const done = await pgbench({ pgbench: generator, port, protocol, clients: CLIENTS, seconds });
      if (ours) {
        sent.runs++;
        sent.transactions += done.transactions;
        if (protocol === "prepared") sent.prepared += CLIENTS;
      }
      return { operations: done.transactions, seconds: done.seconds, p50Us: null, p99Us: null };
    };
    const rest = (): Promise<void> => gateway.drained(DRAIN_MS);
    const candidates: Candidate[] = (["prepared", "simple"] as const).map((protocol) => ({
      name: OURS[protocol],
      pid: gateway.pid,
      run: (s) => run(gateway.port, protocol, s, true),
      rest,
    }));
    if (tools.pgbouncer === null) notes.push("pgbouncer is not installed: there is nothing to compare with");
    else {
      const plan = { mode: "session", upstream: database.port } as const;
      const peer = await startPgbouncer(tools.pgbouncer, folder, plan);
      started.push(peer);
      for (const protocol of ["prepared", "simple"] as const)
        candidates.push({ name: PEER[protocol], pid: peer.pid, run: (s) => run(peer.port, protocol, s, false) });
    }
    const figures = await interleaved(candidates, plan);
    const recorded = compareStatements(gateway.database, sent);
    notes.push(
      `PostgreSQL ${database.version}; ${recorded.asked} statements judged and on record in the collector, ${sent.transactions} transactions of pgbench's; ${(recorded.bytes / recorded.asked).toFixed(0)} bytes recorded a statement`,
    );
    return {
      part: "postgres",
      ratios: {
        pgbench_prepared_cpu_vs_pgbouncer: ratio(figures, PEER.prepared, OURS.prepared),
        pgbench_simple_cpu_vs_pgbouncer: ratio(figures, PEER.simple, OURS.simple),
      },
      goals: GOALS,
      raw: { plan, clients: CLIENTS, scale: SCALE, sent, recorded, figures: Object.fromEntries(figures) },
      rows: [...figures.values()],
      notes,
    };
  } finally {
    for (const process of started) await process.stop();
    await database.stop();
  }
}

/** The sidecar in front of it, with PostgreSQL's parser beside its bundle as in dist/. */
export async function databaseGateway(
  folder: string,
  database: BenchDatabase,
  inject: readonly string[],
): Promise<Gateway> {
  copyFileSync(createRequire(import.meta.url).resolve(`libpg-query/wasm/${WASM}`), path.join(folder, WASM));
  return startGateway({
    folder,
    bundles: {
      sidecar: await bundle("cmd/sidecar.ts", folder, true, inject),
      collector: await bundle("cmd/collector.ts", folder, false),
    },
    policy: sign(await compileDatabasePolicy(database.port)),
    host: DB_HOST,
    port: DB_PORT,
  });
}
