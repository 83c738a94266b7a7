/**
 * Bulk over an opaque TCP target, large files downloaded over a few connections: its connection is judged and recorded, its bytes are
 * carried. Beside HAProxy in tcp mode, which logs nothing here. One operation is a mebibyte.
 */
import { bundle } from "../bundle.ts";
import { startGateway } from "../gateway.ts";
import { startHaproxy } from "../haproxy.ts";
import { load, loadScript } from "../load.ts";
import { BULK_HOST, compileBenchPolicy, sign } from "../policy-bundle.ts";
import { installed, type Started } from "../process.ts";
import { missing, type Report } from "../report.ts";
import { type Candidate, interleaved, type RoundsPlan, ratio } from "../rounds.ts";
import { BULK_BYTES, startUpstream } from "../upstream.ts";

const CONNECTIONS = 4;
const MIB = 1024 * 1024;
const RATIO = "bulk_tcp_vs_haproxy_tcp";
const OURS = "sidegate, opaque tcp";
const PEER = "haproxy tcp";
/** A warm-up of as many operations as HTTP's would be a hundred gigabytes. */
const WARM_MIB = 4_096;

export async function bulk(folder: string, plan: RoundsPlan): Promise<Report> {
  const tools = { wrk: installed("wrk"), nginx: installed("nginx"), haproxy: installed("haproxy") };
  const { wrk, nginx, haproxy } = tools;
  if (wrk === null || nginx === null) return missing("bulk", [RATIO], tools);
  const upstream = await startUpstream(nginx, folder);
  const started: Started[] = [];
  try {
    const gateway = await startGateway({
      folder,
      bundles: {
        sidecar: await bundle("cmd/sidecar.ts", folder, true),
        collector: await bundle("cmd/collector.ts", folder, false),
      },
      policy: sign(await compileBenchPolicy(upstream.port)),
      host: BULK_HOST,
    });
    started.push(gateway);
    const script = loadScript(folder, "bulk", `wrk.headers["Host"] = "${BULK_HOST}"\n`);
    let received = 0;
    const run = async (port: number, seconds: number): ReturnType<Candidate["run"]> => {
      const url = `http://127.0.0.1:${port}/bulk`;
      const done = await load({ wrk, url, connections: CONNECTIONS, seconds, script });
      if (done.errors > 0) throw new Error(`${done.errors} of ${done.requests} downloads failed`);
      if (port === gateway.port) received += done.bytes;
      return { operations: done.bytes / MIB, seconds: done.seconds, p50Us: null, p99Us: null };
    };
    const candidates: Candidate[] = [{ name: OURS, pid: gateway.pid, run: (s) => run(gateway.port, s) }];
    if (haproxy !== null) {
      const peer = await startHaproxy(haproxy, null, folder, { mode: "tcp", logging: "none", upstream: upstream.port });
      started.push(peer);
      candidates.push({ name: PEER, pid: peer.pid, run: (s) => run(peer.port, s) });
    }
    const figures = await interleaved(candidates, { ...plan, warmOperations: Math.min(plan.warmOperations, WARM_MIB) });
    const carried = await gateway.metric('sidegate_transferred_bytes_total{direction="down"}');
    if (carried < received) throw new Error(`${received} bytes came through, ${carried} are counted`);
    await gateway.drained(60_000);
    return {
      part: "bulk",
      ratios: { [RATIO]: ratio(figures, PEER, OURS) },
      goals: { [RATIO]: "≥ 1.1" },
      raw: {
        plan,
        connections: CONNECTIONS,
        file_bytes: BULK_BYTES,
        received,
        carried,
        figures: Object.fromEntries(figures),
      },
      rows: [...figures.values()],
      notes: ["one operation is a mebibyte", ...(haproxy === null ? ["haproxy is not installed: no ratio"] : [])],
    };
  } finally {
    for (const process of started) await process.stop();
    await upstream.stop();
  }
}
