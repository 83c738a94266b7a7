/**
 * An idle sidecar, its bundle loaded and scraped once: what it keeps in memory, and how long it took until it was ready. The bundle
 * is the shipped one with the shipped flags.
 */
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { bundle } from "../bundle.ts";
import { type Gateway, startGateway } from "../gateway.ts";
import { compileBenchPolicy, sign } from "../policy-bundle.ts";
import { pause } from "../process.ts";
import type { Report } from "../report.ts";
import { median, type RoundsPlan } from "../rounds.ts";

/** From ready until it is looked at. */
const IDLE_MS = 10_000;
const MIB = 1024 * 1024;

interface Memory {
  readonly rss: number;
  readonly private: number;
  readonly private_clean: number;
  readonly private_dirty: number;
}

export async function footprint(folder: string, plan: RoundsPlan): Promise<Report> {
  const sidecar = await bundle("cmd/sidecar.ts", folder, false);
  const collector = await bundle("cmd/collector.ts", folder, false);
  const policy = sign(await compileBenchPolicy(null));
  // In a pod no other process has the same binary mapped: its pages are the sidecar's own.
  const alone = path.join(folder, "node");
  copyFileSync(process.execPath, alone);
  const taken: { ready: number[]; run: Memory[]; pod: Memory[] } = { ready: [], run: [], pod: [] };
  for (let n = 0; n < plan.rounds; n++)
    for (const where of ["run", "pod"] as const) {
      const own = path.join(folder, `${where}${n}`);
      mkdirSync(own);
      const node = where === "pod" ? { node: alone } : {};
      const gateway = await startGateway({ folder: own, bundles: { sidecar, collector }, policy, host: null, ...node });
      try {
        taken.ready.push(gateway.readyMs);
        taken[where].push(await idle(gateway));
      } finally {
        await gateway.stop();
      }
    }
  const mid = (of: readonly Memory[], what: keyof Memory): number =>
    Number(median(of.map((memory) => memory[what])).toFixed(1));
  return {
    part: "footprint",
    ratios: {},
    goals: { idle_private_mb: "≤ 20", idle_private_pod_mb: "≤ 28", ready_ms: "≤ 200" },
    raw: {
      idle_rss_mb: mid(taken.run, "rss"),
      idle_private_mb: mid(taken.run, "private"),
      idle_private_dirty_mb: mid(taken.run, "private_dirty"),
      idle_private_pod_mb: mid(taken.pod, "private"),
      ready_ms: Math.round(median(taken.ready)),
      ready_ms_starts: taken.ready.map(Math.round),
    },
    rows: [],
    notes: [`after ${IDLE_MS / 1000} s without work; "pod": nobody else has the binary mapped`],
  };
}

async function idle(gateway: Gateway): Promise<Memory> {
  await gateway.metric("sidegate_ready");
  await pause(IDLE_MS);
  const text = readFileSync(`/proc/${gateway.pid}/smaps_rollup`, "latin1");
  const of = (name: string): number => (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]) * 1024) / MIB;
  const clean = of("Private_Clean");
  const dirty = of("Private_Dirty");
  return { rss: of("Rss"), private: clean + dirty, private_clean: clean, private_dirty: dirty };
}
