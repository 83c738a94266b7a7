/**
 * The chart's monitors and alerts, with Prometheus Operator itself: on a real API server it makes of them what a Prometheus would scrape
 * and evaluate, and promtool takes it. No node runs, so no Prometheus does either.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { findHelm, renderChart } from "../support/chart.ts";
import { DIGESTS } from "../support/chart-sets.ts";
import { type ControlPlane, findControlPlane, startControlPlane, until } from "../support/control-plane.ts";
import { foreignCrds, NEEDS_FOREIGN_CRDS, OF_CHART } from "../support/foreign-crds.ts";
import { findGoTool, NEEDS_GO_TOOL } from "../support/go-tools.ts";
import { requireThat, requireTool } from "../support/require.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- objects of many kinds, reached into at any depth
type Tree = any;
const NAMESPACE = "/api/v1/namespaces/sidegate";
const MONITORING = "/apis/monitoring.coreos.com/v1/namespaces/sidegate";

const bin = findControlPlane();
const helm = findHelm();
const program = findGoTool("prometheus-operator");
/** What the operator watches for a Prometheus. */
const KINDS = [...OF_CHART, "prometheuses", "probes", "scrapeconfigs"];
const foreign = foreignCrds(KINDS);
const MISSING = [
  [bin !== null, "needs a control plane: test/e2e/cluster/build.sh"],
  [helm !== null, "no helm: tools/helm/ensure.sh gets one"],
  [program !== null, NEEDS_GO_TOOL("prometheus-operator")],
  [foreign !== null, NEEDS_FOREIGN_CRDS],
].flatMap(([there, reason]) => (there === true ? [] : [String(reason)]));

let plane: ControlPlane;
let operator: ChildProcess;
let folder: string;

async function create(target: string, object: object): Promise<void> {
  const { status, body } = await plane.call("POST", `${target}?fieldValidation=Strict`, object);
  if (status !== 201) throw new Error(`${target}: ${body.message}`);
}
const get = async (target: string): Promise<Tree> => (await plane.call("GET", target)).body;

/** What the operator wrote for a Prometheus; undefined before it did. */
async function configuration(): Promise<Tree> {
  const zipped = (await get(`${NAMESPACE}/secrets/prometheus-all`)).data?.["prometheus.yaml.gz"] as string | undefined;
  return zipped === undefined ? undefined : parse(gunzipSync(Buffer.from(zipped, "base64")).toString());
}
async function ruleFiles(): Promise<Readonly<Record<string, string>>> {
  return (await get(`${NAMESPACE}/configmaps/prometheus-all-rulefiles-0`)).data ?? {};
}

beforeAll(async () => {
  if (MISSING.length > 0) return;
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-operator-"));
  plane = await startControlPlane(bin ?? "");
  await create("/api/v1/namespaces", { metadata: { name: "sidegate" } });
  for (const crd of foreign ?? [])
    if (crd.metadata.name.endsWith("monitoring.coreos.com"))
      await create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
  for (const plural of KINDS) {
    const version = plural === "scrapeconfigs" ? "v1alpha1" : "v1";
    await until(20_000, plural, async () => {
      const { status } = await plane.call("GET", `/apis/monitoring.coreos.com/${version}/${plural}`);
      return status === 200;
    });
  }
  // What the controller makes in a cluster: the monitors verify by it.
  const authority = readFileSync(path.join(plane.pki, "ca.crt"), "utf8");
  await create(`${NAMESPACE}/configmaps`, { metadata: { name: "sidegate-runtime" }, data: { "ca.crt": authority } });
  const chart = renderChart(helm ?? "", {
    ...DIGESTS,
    "monitoring.monitors": { enabled: true, interval: "15s", labels: { release: "prometheus" } },
    "monitoring.rules": { enabled: true, labels: { release: "prometheus" } },
  });
  for (const object of chart)
    if (object.apiVersion.startsWith("monitoring.coreos.com"))
      await create(`${MONITORING}/${object.kind.toLowerCase()}s`, object);
  const selector = { matchLabels: { release: "prometheus" } };
  await create(`${MONITORING}/prometheuses`, {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "Prometheus",
    metadata: { name: "all" },
    spec: { serviceMonitorSelector: selector, podMonitorSelector: selector, ruleSelector: selector },
  });
  const file = (name: string): string => path.join(plane.pki, name);
  const access = ["--apiserver", plane.url, "--ca-file", file("ca.crt"), "--cert-file", file("admin.crt")];
  const web = ["--web.listen-address", "127.0.0.1:0", "--web.enable-tls=false", "--kubelet-endpoints=false"];
  operator = spawn(
    "setpriv",
    ["--pdeathsig", "KILL", program ?? "", ...access, "--key-file", file("admin.key"), ...web],
    { stdio: process.env["SHOW"] === "1" ? "inherit" : "ignore" },
  );
  await until(60_000, "the operator's configuration", async () => (await configuration())?.scrape_configs?.length > 0);
});
afterAll(async () => {
  operator?.kill("SIGKILL");
  await plane?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});
beforeEach((context) => requireThat(context, MISSING.length === 0, MISSING.join("; ")));

test("it makes a job of each monitor, over TLS that is verified, and promtool takes the whole", async (context) => {
  const promtool = requireTool(context, "promtool");
  const made = await configuration();
  const jobs = new Map<string, Tree>(made.scrape_configs.map((one: Tree) => [one.job_name, one]));
  expect([...jobs.keys()].toSorted()).toEqual([
    "podMonitor/sidegate/sidegate-sidecars/0",
    "serviceMonitor/sidegate/sidegate-collector/0",
    "serviceMonitor/sidegate/sidegate-controller/0",
    "serviceMonitor/sidegate/sidegate-webhook/0",
  ]);
  for (const component of ["webhook", "controller", "collector"]) {
    const job = jobs.get(`serviceMonitor/sidegate/sidegate-${component}/0`);
    expect(job).toMatchObject({ scheme: "https", scrape_interval: "15s", metrics_path: "/metrics" });
    expect(job.tls_config.server_name).toBe(`sidegate-${component}.sidegate.svc`);
    expect(job.tls_config.ca_file).toContain("sidegate_sidegate-runtime_ca.crt");
    expect(job.tls_config.insecure_skip_verify ?? false).toBe(false);
  }
  const sidecars = jobs.get("podMonitor/sidegate/sidegate-sidecars/0");
  expect(sidecars.kubernetes_sd_configs[0].namespaces?.names ?? []).toEqual([]);
  expect(JSON.stringify(sidecars.relabel_configs)).toContain(
    "__meta_kubernetes_pod_annotationpresent_sidegate_dev_injected",
  );
  const file = path.join(folder, "prometheus.yaml");
  // Debian's promtool knows no discovery by Kubernetes; everything else of a job it reads.
  const scrape_configs = made.scrape_configs.map(({ kubernetes_sd_configs: _by, ...job }: Tree) => job);
  writeFileSync(file, JSON.stringify({ ...made, scrape_configs, rule_files: [] }));
  const run = spawnSync(promtool, ["check", "config", "--syntax-only", file], { encoding: "utf8" });
  expect(run.stdout + run.stderr).toContain("SUCCESS");
});

test("it takes every alert of ours, and leaves out a rule that does not parse", async (context) => {
  const promtool = requireTool(context, "promtool");
  await until(30_000, "the rules", async () => Object.keys(await ruleFiles()).length === 1);
  await create(`${MONITORING}/prometheusrules`, {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "wrong", labels: { release: "prometheus" } },
    spec: { groups: [{ name: "wrong", rules: [{ alert: "Wrong", expr: "sum by (" }] }] },
  });
  await create(`${MONITORING}/prometheusrules`, {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "later", labels: { release: "prometheus" } },
    spec: { groups: [{ name: "later", rules: [{ alert: "Later", expr: "up == 0" }] }] },
  });
  await until(30_000, "the later rule", async () =>
    Object.keys(await ruleFiles()).some((name) => name.includes("-later-")),
  );
  const files = await ruleFiles();
  expect(Object.keys(files).filter((name) => name.includes("-wrong-"))).toEqual([]);
  const ours = Object.entries(files).find(([name]) => name.startsWith("sidegate-sidegate-"))?.[1] ?? "";
  const wanted = [...readFileSync("charts/gateway/alerts/sidegate.yaml", "utf8").matchAll(/- alert: (\w+)/g)].map(
    ([, name]) => name,
  );
  const rules: Tree = parse(ours);
  const made = rules.groups.flatMap((group: Tree) => group.rules).flatMap(({ alert }: Tree) => alert ?? []);
  expect(wanted.length).toBeGreaterThan(20);
  expect(made).toEqual(wanted);
  const file = path.join(folder, "rules.yaml");
  writeFileSync(file, ours);
  const run = spawnSync(promtool, ["check", "rules", file], { encoding: "utf8" });
  expect(run.status, run.stdout + run.stderr).toBe(0);
});
