/**
 * HTTP/1.1 keep-alive: every request judged by bench/policy and recorded, beside HAProxy with httplog. Once the same request again
 * and again (the decision comes from the cache), once each request with an id of its own (each decision is evaluated).
 */
import { bundle } from "../bundle.ts";
import { type Gateway, startGateway } from "../gateway.ts";
import { startHaproxy } from "../haproxy.ts";
import { load, loadScript } from "../load.ts";
import { compileBenchPolicy, HTTP_HOST, PORT, sign } from "../policy-bundle.ts";
import { installed, type Started } from "../process.ts";
import { compareRecords } from "../records.ts";
import { missing, type Report } from "../report.ts";
import { type Candidate, interleaved, type RoundsPlan, ratio } from "../rounds.ts";
import { startUpstream, type Upstream } from "../upstream.ts";

export const CONNECTIONS = 50;
const DRAIN_MS = 120_000;

export const SAME = `
wrk.headers["Host"] = "${HTTP_HOST}:${PORT}"
wrk.headers["Accept"] = "application/json"
wrk.headers["Accept-Encoding"] = "gzip, deflate"
wrk.headers["User-Agent"] = "python-httpx/0.28.1"
wrk.headers["X-Request-Id"] = "6b1f0a52-4a0d-4a44-8f0e-0a7c2f7e0a11"
`;
export const REQUEST_PATH = "/v2/invoices/7?expand=lines&expand=customer&limit=50";

/** Each request differs in eight characters of its id; it is cut out of a text made once, so that the load stays cheap. */
export const DISTINCT = `${SAME}
local head, tail
local n = 0
init = function(args)
  local whole = wrk.format("GET", nil, nil, nil)
  local at = string.find(whole, "6b1f0a52", 1, true)
  head = string.sub(whole, 1, at - 1)
  tail = string.sub(whole, at + 8)
  n = os.time() % 1000 * 1000000
end
request = function()
  n = n + 1
  return head .. string.format("%08d", n) .. tail
end
`;

const CACHED = "sidegate, policy and audit, decisions cached";
const UNCACHED = "sidegate, policy and audit, each decided anew";
const GOALS = {
  http1_policy_audit_vs_haproxy_httplog: "≥ 1.2",
  http1_policy_audit_nocache_vs_haproxy_httplog: "≥ 0.75",
};
const PEER = "haproxy httplog to syslog";
const PEER_DISTINCT = "haproxy httplog to syslog, requests with ids";
const PEERS = [
  { name: PEER, logging: "syslog", each: "same" },
  { name: PEER_DISTINCT, logging: "syslog", each: "distinct" },
  { name: "haproxy httplog to stdout (a file)", logging: "stdout", each: "same" },
  { name: "haproxy without a log", logging: "none", each: "same" },
] as const;

export async function http(folder: string, plan: RoundsPlan): Promise<Report> {
  const tools = {
    wrk: installed("wrk"),
    nginx: installed("nginx"),
    haproxy: installed("haproxy"),
    python: installed("python3"),
  };
  const notes: string[] = [];
  if (tools.wrk === null || tools.nginx === null) return missing("http", Object.keys(GOALS), tools);
  const upstream = await startUpstream(tools.nginx, folder);
  const started: Started[] = [];
  try {
    const gateway = await gatewayFor(folder, upstream);
    started.push(gateway);
    const same = loadScript(folder, "same", SAME);
    const distinct = loadScript(folder, "distinct", DISTINCT);
    const sent = { answered: 0, arrived: 0, cut: 0 };
    const run = async (port: number, script: string, ours: boolean, seconds: number): ReturnType<Candidate["run"]> => {
      const before = await upstream.requests();
      const url = `http://127.0.0.1:${port}${REQUEST_PATH}`;
      const done = await load({ wrk: tools.wrk ?? "", url, connections: CONNECTIONS, seconds, script });
      if (done.errors > 0) throw new Error(`${done.errors} of ${done.requests} requests failed`);
      if (ours) {
        sent.answered += done.requests;
        sent.arrived += (await upstream.requests()) - before;
        sent.cut += CONNECTIONS;
      }
      return { operations: done.requests, seconds: done.seconds, p50Us: done.p50Us, p99Us: done.p99Us };
    };
    const rest = (): Promise<void> => gateway.drained(DRAIN_MS);
    const candidates: Candidate[] = [
      { name: CACHED, pid: gateway.pid, run: (s) => run(gateway.port, same, true, s), rest },
      { name: UNCACHED, pid: gateway.pid, run: (s) => run(gateway.port, distinct, true, s), rest },
    ];
    for (const peer of PEERS) {
      if (tools.haproxy === null || (peer.logging === "syslog" && tools.python === null)) {
        notes.push(`${peer.name}: haproxy or python3 (for the log daemon) is not installed`);
        continue;
      }
      const plan = { mode: "http", logging: peer.logging, upstream: upstream.port } as const;
      const process = await startHaproxy(tools.haproxy, tools.python, folder, plan);
      started.push(process);
      candidates.push({
        name: peer.name,
        pid: process.pid,
        run: (s) => run(process.port, peer.each === "distinct" ? distinct : same, false, s),
      });
    }
    const figures = await interleaved(candidates, plan);
    const recorded = compareRecords(gateway.database, sent);
    notes.push(
      `${recorded.asked} requests judged and on record in the collector, ${sent.arrived} reached the upstream; ${(recorded.bytes / recorded.asked).toFixed(0)} bytes recorded a request`,
    );
    return {
      part: "http",
      ratios: {
        http1_policy_audit_vs_haproxy_httplog: ratio(figures, PEER, CACHED),
        http1_policy_audit_nocache_vs_haproxy_httplog: ratio(figures, PEER_DISTINCT, UNCACHED),
      },
      goals: GOALS,
      raw: { plan, connections: CONNECTIONS, sent, recorded, figures: Object.fromEntries(figures) },
      rows: [...figures.values()],
      notes,
    };
  } finally {
    for (const process of started) await process.stop();
    await upstream.stop();
  }
}

async function gatewayFor(folder: string, upstream: Upstream): Promise<Gateway> {
  return startGateway({
    folder,
    bundles: {
      sidecar: await bundle("cmd/sidecar.ts", folder, true),
      collector: await bundle("cmd/collector.ts", folder, false),
    },
    policy: sign(await compileBenchPolicy(upstream.port)),
    host: HTTP_HOST,
  });
}
