/**
 * What an operator's Prometheus sees: a real one that scrapes a real sidecar, webhook, controller and collector while agents are allowed
 * and denied. Every query of the dashboards and every rule is asked of it; those that must have data have some.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { parse } from "yaml";
import { createHttpSink } from "#audit/http-sink.ts";
import { CONTENT_TYPE } from "#process/metrics.ts";
import { asAsked, queriesOf } from "../../tools/dashboards/dashboard.ts";
import { DASHBOARDS } from "../../tools/dashboards/main.ts";
import { labelsOf, PROCESSES } from "../../tools/metric-catalogue.ts";
import { RULES } from "../../tools/promql-names.ts";
import { bootOf } from "../support/collected.ts";
import { until } from "../support/control-plane.ts";
import { type Prometheus, startPrometheus } from "../support/prometheus.ts";
import { op, WORKLOAD } from "../support/record.ts";
import { findProgram, requireThat, requireTool } from "../support/require.ts";
import { type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST } from "../support/sidecar-client.ts";
import { certificateFor, httpUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";
import { type Lab, NEEDED, POSSIBLE, ROOT, startLab } from "./controller-lab.ts";

const PROMETHEUS = findProgram("prometheus");
const TARGETS = 50;
const folder = mkdtempSync(path.join(tmpdir(), "sidegate-observability-"));
const at = (name: string): string => path.join(folder, name);

let lab: Lab;
let gateway: Gateway;
let upstream: Upstream;
let collector: ChildProcess;
let relay: Server;
let prometheus: Prometheus | null = null;

function asked(context: TestContext): Prometheus {
  requireTool(context, "prometheus");
  requireThat(context, POSSIBLE, NEEDED);
  if (prometheus === null) throw new Error("no Prometheus");
  return prometheus;
}

interface Request {
  readonly method?: string;
  readonly body?: string;
}

/** Of a process of the control plane; whose authority it has is not this test's question. */
function over(port: number, target: string, { method = "GET", body }: Request = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    https
      .request({ host: "127.0.0.1", port, path: target, method, headers, rejectUnauthorized: false }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () => resolve(Buffer.concat(chunks).toString()));
      })
      .on("error", reject)
      .end(body);
  });
}

/** The collector as in a cluster, with a batch of records in it. Resolves to its port. */
async function startCollector(): Promise<number> {
  for (const name of ["tls", "data"]) mkdirSync(at(name));
  const made = certificateFor("localhost");
  writeFileSync(at("tls/tls.crt"), made.cert);
  writeFileSync(at("tls/tls.key"), made.key);
  writeFileSync(at("jwks.json"), JSON.stringify((await lab.plane.call("GET", "/openid/v1/jwks")).body));
  collector = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/collector.ts")], {
    cwd: ROOT,
    env: {
      PATH: process.env["PATH"],
      SIDEGATE_AUDIT_DB: at("data/audit.db"),
      SIDEGATE_LISTEN_ADDRESS: "127.0.0.1",
      SIDEGATE_LISTEN_NUMBER: "0",
      SIDEGATE_CERTIFICATES: at("tls"),
      SIDEGATE_TOKEN_KEYS: at("jwks.json"),
      SIDEGATE_CLUSTER: WORKLOAD.cluster,
      SIDEGATE_KUBECONFIG: lab.plane.kubeconfig,
      // Its regular work, at once.
      SIDEGATE_RETENTION_SECONDS: "1",
      SIDEGATE_VERIFY_SECONDS: "1",
    },
    stdio: ["ignore", "inherit", "pipe"],
  });
  const port = await new Promise<number>((resolve, reject) => {
    let last = "";
    createInterface({ input: collector.stderr ?? process.stdin }).on("line", (line) => {
      last = line;
      const { event, port: said } = JSON.parse(line) as { event?: string; port?: number };
      if (event === "serving") resolve(said ?? 0);
    });
    collector.once("exit", () => reject(new Error(`the collector ended: ${last}`)));
  });
  const pod = await lab.plane.call("POST", "/api/v1/namespaces/team/pods", {
    metadata: { name: "sender", annotations: { "sidegate.dev/injected": "1" } },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  });
  const { uid } = pod.body["metadata"] as { uid: string };
  const token = await lab.plane.call("POST", "/api/v1/namespaces/team/serviceaccounts/default/token", {
    spec: { audiences: ["sidegate"], boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "sender", uid } },
  });
  const { boot, lines } = await bootOf(
    async (recorder) => {
      recorder.op(op());
      await recorder.stop("done");
    },
    { ...WORKLOAD, namespace: "team", pod: "sender", uid },
  );
  const sink = createHttpSink({
    address: { kind: "tls", host: "localhost", port, ca: made.caPem },
    token: () => (token.body["status"] as { token: string }).token,
  });
  const lastSeq = Number(/\{"c":(\d+),[^\n]*\n$/.exec(lines.toString())?.[1]);
  await sink.send({ boot, lines, firstSeq: 1, lastSeq, gap: false });
  return port;
}

const REVIEW = JSON.stringify({
  apiVersion: "admission.k8s.io/v1",
  kind: "AdmissionReview",
  request: {
    uid: "1",
    kind: { group: "", version: "v1", kind: "Pod" },
    resource: { group: "", version: "v1", resource: "pods" },
    operation: "CREATE",
    namespace: "team",
    userInfo: { username: "ada" },
    object: { spec: { hostNetwork: true, containers: [{ name: "app", image: "a" }] } },
  },
});

/** A container of a running pod, as Prometheus' discovery of Kubernetes describes it (one target a container without ports). */
function discovered(pod: string, container: string, address: string, gated: boolean): object {
  const labels = {
    __meta_kubernetes_namespace: "team",
    __meta_kubernetes_pod_name: pod,
    __meta_kubernetes_pod_ip: address,
    __meta_kubernetes_pod_phase: "Running",
    __meta_kubernetes_pod_container_name: container,
    ...(gated && { __meta_kubernetes_pod_annotationpresent_sidegate_dev_injected: "true" }),
  };
  return { targets: [address.includes(":") ? `[${address}]` : address], labels };
}

const FOUND = [
  ...["sidegate-init", "sidegate", "app"].map((name) => discovered("gated", name, "10.20.30.40", true)),
  ...["sidegate-init", "sidegate", "app"].map((name) => discovered("gated6", name, "fd00:10::7", true)),
  // No gateway; and a container that only bears its name.
  discovered("plain", "app", "10.20.30.41", false),
  discovered("posing", "sidegate", "10.20.30.42", false),
];

/**
 * The scrape jobs that docs/operations.md gives to people without the operator. Debian's Prometheus has no discovery of Kubernetes, so what
 * it would find is written down; the rules that choose among it are the documented ones.
 */
function documentedJobs(): Record<string, unknown>[] {
  const block = /<!-- scrape:begin[^>]*-->\n```yaml\n([\s\S]*?)```/.exec(
    readFileSync("docs/operations.md", "utf8"),
  )?.[1];
  const { scrape_configs: jobs } = parse(block ?? "") as { scrape_configs: Record<string, unknown>[] };
  return jobs.map((job) => ({
    ...Object.fromEntries(Object.entries(job).filter(([member]) => member !== "kubernetes_sd_configs")),
    static_configs: FOUND,
  }));
}

beforeAll(async () => {
  if (PROMETHEUS === null || !POSSIBLE) return;
  lab = await startLab();
  writeFileSync(
    at("options.yaml"),
    "image: proxy:1\ncluster: test\ncollector: {url: https://collector.example, ca: ''}\nbundle: {url: https://bundles.example, publicKey: ''}\nresolvers: [10.96.0.10]\n",
  );
  const both = { SIDEGATE_INJECTION: at("options.yaml"), SIDEGATE_CLUSTER: "test" };
  const [controller, webhook] = await Promise.all([
    lab.start("controller", "controller-0", { ...both, SIDEGATE_CALLER_ADDRESS: "any" }).port,
    lab.start("webhook", "webhook-0", both).port,
  ]);
  const recordPort = await startCollector();
  lab.apply({
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "AgentPolicy",
    metadata: { name: "reads", namespace: "team" },
    spec: { module: 'package sidegate.policy.reads\n\nallow if input.action == "read"\n' },
  });
  upstream = await httpUpstream((_request, response) => response.end("ok"));
  gateway = await startGateway({
    policy: {
      policies: { reads: 'allow if input.action == "connect"\nallow if input.http.method == "GET"' },
      targets: Array.from({ length: TARGETS }, (_, n) =>
        targetTo(upstream, { name: `t${n}`, hosts: [n === 0 ? HOST : `t${n}.test`], protocol: "http", tls: "none" }),
      ),
    },
  });

  const read: Readonly<Record<string, () => Promise<string>>> = {
    sidecar: () => gateway.metrics(),
    webhook: () => over(webhook, "/metrics"),
    controller: () => over(controller, "/metrics"),
    collector: () => over(recordPort, "/metrics"),
  };
  relay = createServer((request, response) => {
    const source = read[(request.url ?? "").slice(1)];
    (source?.() ?? Promise.reject(new Error("no such source"))).then(
      (text) => response.writeHead(200, { "content-type": CONTENT_TYPE }).end(text),
      (fault: unknown) => response.writeHead(502).end(String(fault)),
    );
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const { port } = relay.address() as AddressInfo;
  const traffic = async (): Promise<void> => {
    await ask(gateway, { path: "/v1/items" });
    await ask(gateway, { path: "/v1/items", method: "DELETE" });
    await gateway.connect({ host: "unknown.test", port: 80 }).catch(() => undefined);
    await over(webhook, "/mutate", { method: "POST", body: REVIEW });
    await over(webhook, "/validate", { method: "POST", body: REVIEW });
  };
  await traffic();
  prometheus = await startPrometheus(PROMETHEUS, {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [path.resolve(RULES)],
    scrape_configs: [
      ...Object.keys(read).map((name) => ({
        job_name: name,
        metrics_path: `/${name}`,
        static_configs: [
          { targets: [`127.0.0.1:${port}`], labels: name === "sidecar" ? { namespace: "team", pod: "gated" } : {} },
        ],
        relabel_configs: [{ target_label: "instance", replacement: name }],
      })),
      ...documentedJobs(),
    ],
  });
  const seen = prometheus;
  await until(60_000, "three scrapes of each process", async () => {
    const counts = await seen.query('count_over_time(up{job=~"sidecar|webhook|controller|collector"}[1m]) >= 2');
    return counts.length === 4;
  });
  await traffic();
  await until(60_000, "scrapes after it, and each rule evaluated", async () => {
    const counts = await seen.query('count_over_time(up{job=~"sidecar|webhook|controller|collector"}[1m]) >= 5');
    return counts.length === 4 && (await seen.rules()).every(({ health }) => health === "ok");
  });
});

afterAll(async () => {
  await prometheus?.stop();
  relay?.closeAllConnections();
  relay?.close();
  await gateway?.close();
  await upstream?.close();
  collector?.kill("SIGKILL");
  await lab?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("Prometheus reads all four processes", async (context) => {
  const found = (await asked(context).targets()).filter(({ labels }) => !labels["job"]?.startsWith("sidegate-"));
  expect(found.map(({ labels, health, lastError }) => `${labels["job"]} ${health} ${lastError}`).toSorted()).toEqual([
    "collector up ",
    "controller up ",
    "sidecar up ",
    "webhook up ",
  ]);
});

test("each process of the control plane says which it is; and what a process measures is what the catalogue says it may", async (context) => {
  const builds = await asked(context).query("sidegate_control_build_info");
  expect(builds.map(({ metric }) => `${metric["instance"]} ${metric["process"]}`).toSorted()).toEqual([
    "collector collector",
    "controller controller",
    "webhook webhook",
  ]);
  for (const process of PROCESSES) {
    const series = await asked(context).query(`{job="${process}",__name__=~"(sidegate|process)_.+"}`);
    const names = new Set(series.map(({ metric }) => metric["__name__"] ?? ""));
    expect(
      [...names].filter((name) => !labelsOf(name).has(process)),
      process,
    ).toEqual([]);
    expect(names.size).toBeGreaterThan(5);
  }
});

test("a sidecar with 50 targets has at most 150 series", async (context) => {
  const [targets] = await asked(context).query("sidegate_targets");
  expect(targets?.value[1]).toBe(String(TARGETS));
  const [scraped] = await asked(context).query('scrape_samples_scraped{job="sidecar"}');
  expect(Number(scraped?.value[1])).toBeGreaterThan(40);
  expect(Number(scraped?.value[1])).toBeLessThanOrEqual(150);
});

test("every query of every dashboard is understood, and what must have data has some", async (context) => {
  const faults: string[] = [];
  for (const dashboard of DASHBOARDS)
    for (const { expr, always } of queriesOf(dashboard)) {
      const answer = await asked(context)
        .query(asAsked(expr))
        .catch((fault: unknown) => String(fault));
      if (typeof answer === "string") faults.push(`${dashboard.file}: ${answer}`);
      else if (always === true && answer.length === 0) faults.push(`${dashboard.file}: no data: ${expr}`);
    }
  expect(faults).toEqual([]);
});

test("what was done is what the dashboards show", async (context) => {
  const verdicts = await asked(context).query('sidegate_operations_total{protocol="http"}');
  const counted = (verdict: string): number =>
    verdicts
      .filter(({ metric }) => metric["verdict"] === verdict && metric["code"] !== "target_unknown")
      .reduce((sum, { value }) => sum + Number(value[1]), 0);
  expect(counted("allow")).toBeGreaterThanOrEqual(2);
  expect(counted("deny")).toBe(2);
  const refused = await asked(context).query('sidegate_admission_reviews_total{outcome="denied"}');
  expect(refused.map(({ metric }) => metric["reason"])).toContain("spec.hostNetwork");
});

test("every rule is evaluated without a fault, and nothing critical fires in a cluster that is well", async (context) => {
  const rules = await asked(context).rules();
  expect(rules.length).toBeGreaterThan(30);
  expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
  const firing = await asked(context).query('ALERTS{alertstate="firing",severity="critical"}');
  expect(firing.map(({ metric }) => metric["alertname"])).toEqual([]);
});

test("the documented scrape job finds each sidecar once, by the pod's address, and no other pod", async (context) => {
  const prom = asked(context);
  const found = async (): Promise<string[]> =>
    (await prom.targets())
      .filter(({ labels }) => labels["job"] === "sidegate-sidecars")
      .map(({ scrapeUrl, labels }) => `${labels["namespace"]}/${labels["pod"]} ${scrapeUrl}`)
      .toSorted();
  await until(20_000, "discovery", async () => (await found()).length >= 2);
  expect(await found()).toEqual([
    "team/gated http://10.20.30.40:15890/metrics",
    "team/gated6 http://[fd00:10::7]:15890/metrics",
  ]);
});
