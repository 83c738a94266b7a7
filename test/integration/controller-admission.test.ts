/** Admission by a real API server: our own resources checked, pods injected, our configurations kept, certificates exchanged meanwhile. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { stringify } from "yaml";
import { until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, startLab } from "./controller-lab.ts";

const ADMISSION = "/apis/admissionregistration.k8s.io/v1";
const INJECTION =
  "image: proxy:1\ncluster: test\ncollector: {url: 'https://collector.example:8443', ca: ''}\nbundle: {url: 'https://bundles.example', publicKey: ''}\n";
let lab: Lab;
let folder: string;

function configurations(port: number): string {
  const common = (at: string): object => ({
    clientConfig: { url: `https://localhost:${port}${at}` },
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
    failurePolicy: "Fail",
    timeoutSeconds: 10,
  });
  const own = { apiGroups: ["sidegate.dev"], apiVersions: ["*"], operations: ["CREATE", "UPDATE"] };
  const pods = { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] };
  const documents = [
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "sidegate", labels: { from: "chart" } },
      webhooks: [
        {
          name: "policies.sidegate.dev",
          ...common("/policies"),
          rules: [{ ...own, resources: ["agentpolicies", "clusteragentpolicies", "egresstargets"] }],
        },
      ],
    },
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "MutatingWebhookConfiguration",
      metadata: { name: "sidegate" },
      webhooks: [
        {
          name: "inject.sidegate.dev",
          ...common("/mutate"),
          rules: [pods],
          namespaceSelector: { matchLabels: { "sidegate.dev/inject": "all" } },
        },
      ],
    },
  ];
  return documents.map((one) => stringify(one)).join("---\n");
}

const policy = (module: string, more: object = {}): string =>
  JSON.stringify({
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "AgentPolicy",
    metadata: { namespace: "team", name: "reads" },
    spec: { module, ...more },
  });
const target = (namespace: string, spec: object): string =>
  JSON.stringify({
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "EgressTarget",
    metadata: { namespace, name: "t" },
    spec: { hosts: ["a.example"], ports: [443], ...spec },
  });

let pods = 0;
async function makePod(): Promise<{ status: number; text: string }> {
  const made = await lab.plane.call("POST", "/api/v1/namespaces/team/pods", {
    metadata: { name: `agent-${++pods}` },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  });
  return { status: made.status, text: JSON.stringify(made.body) };
}

beforeAll(async () => {
  if (!POSSIBLE) return;
  lab = await startLab();
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-admission-"));
  const file = path.join(folder, "injection.yaml");
  writeFileSync(file, INJECTION);
  const environment = { SIDEGATE_INJECTION: file, SIDEGATE_CLUSTER: "test" };
  // All three at once: one Secret comes of it.
  const one = lab.start("controller", "controller", environment);
  const webhook = lab.start("webhook", "webhook", environment);
  const other = lab.start("webhook", "webhook-2", environment);
  const [, port] = await Promise.all([one.port, webhook.port, other.port]);
  lab.apply({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "sidegate", name: "sidegate-guarded" },
    data: { "webhooks.yaml": configurations(port) },
  });
  lab.apply({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "team", labels: { "sidegate.dev/inject": "all", "sidegate.dev/tier": "enforced" } },
  });
  await until(10_000, "the configurations", async () => {
    const [a, b] = await Promise.all(
      ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"].map((kind) =>
        lab.plane.call("GET", `${ADMISSION}/${kind}/sidegate`),
      ),
    );
    return a?.status === 200 && b?.status === 200;
  });
  await until(10_000, "admission", async () => (await makePod()).text.includes("sidegate-init"));
});
afterAll(async () => {
  await lab?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});
beforeEach((context) => requireThat(context, POSSIBLE, NEEDED));

test.each([
  [
    "a module that does not parse",
    "package sidegate.policy.reads\n\nallow if {\n",
    {},
    /team\/reads\.rego:\d+: .*(unexpected|eof)/i,
  ],
  [
    "a misspelt input",
    'package sidegate.policy.reads\nallow if input.htpp.method == "GET"\n',
    {},
    /team\/reads\.rego:2: .*htpp/s,
  ],
  ["another package", "package sidegate.policy.other\nallow if true\n", {}, /reads\.rego:1: the package must be/],
  [
    "a test that fails",
    'package sidegate.policy.reads\nallow if input.action == "read"\n',
    {
      tests:
        'package sidegate.policy.reads_test\nimport data.sidegate.policy.reads\ntest_write if reads.allow with input as {"action": "write"}\n',
    },
    /reads_test\.rego:3: .*failed/,
  ],
  ["two packages", "package sidegate.policy.reads\npackage sidegate.policy.more\n", {}, /exactly one Rego module/],
  [
    "built-ins that reach out",
    'package sidegate.policy.reads\nallow if http.send({"method": "GET", "url": "http://a"}).status_code == 200\n',
    {},
    /http\.send/,
  ],
])("kubectl apply of %s is refused with file, line and reason", (_what, module, more, expected) => {
  const { ok, text } = lab.kubectl(["apply", "-f", "-"], policy(module, more));
  expect(ok, text).toBe(false);
  expect(text).toMatch(expected);
});

test("a policy that is right is taken, and its status says so", async () => {
  const { ok, text } = lab.kubectl(
    ["apply", "-f", "-"],
    policy('package sidegate.policy.reads\nallow if input.action == "read"\n'),
  );
  expect(ok, text).toBe(true);
  await until(10_000, "the status", () =>
    Promise.resolve(
      /reads\s+True\s+Compiles|reads\s+True\s+InForce/.test(lab.kubectl(["get", "agentpolicies", "-A"]).text),
    ),
  );
});

test.each([
  ["a wildcard with a credential", "sidegate", { hosts: ["*.a.example"], credential: "key" }, /wildcard/],
  ["a namespace's own dialling", "team", { endpoints: ["10.0.0.1:443"] }, /only targets in namespace sidegate/],
  ["a port of 0", "sidegate", { ports: [0] }, /greater than or equal to 1/],
  ["an unknown field", "sidegate", { host: "a" }, /unknown field/],
])("a target with %s is refused", (_what, namespace, spec, expected) => {
  const { ok, text } = lab.kubectl(["apply", "-f", "-"], target(namespace, spec));
  expect(ok, text).toBe(false);
  expect(text).toMatch(expected);
});

test("a pod is injected with what this cluster's control plane made", async () => {
  const { text } = await makePod();
  const { spec } = JSON.parse(text) as {
    spec: { initContainers: { name: string; env: { name: string; value?: string }[] }[] };
  };
  const env = new Map(spec.initContainers[1]?.env.map(({ name, value = "" }) => [name, value]));
  const runtime = (await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-runtime"))["data"] as Record<
    string,
    string
  >;
  expect(env.get("SIDEGATE_BUNDLE_SCOPE")).toBe("test/team");
  expect(env.get("SIDEGATE_BUNDLE_KEY")).toBe(runtime["bundle-key.pem"]);
  expect(env.get("SIDEGATE_COLLECTOR_CA")).toBe(runtime["ca.crt"]);
});

test.each([
  ["mutatingwebhookconfigurations", { webhooks: null }],
  ["validatingwebhookconfigurations", { metadata: { labels: { from: "somebody" } } }],
])("P14: a changed or deleted object of %s is as it was within 5 s", async (kind, change) => {
  const at = `${ADMISSION}/${kind}/sidegate`;
  const before = await lab.get(at);
  const generation = (object: Record<string, unknown>): unknown => [
    object["webhooks"],
    (object["metadata"] as { labels?: unknown }).labels,
  ];
  expect((await lab.plane.call("PATCH", at, change)).status).toBe(200);
  await until(5_000, "the restored object", async () => {
    const now = await lab.get(at);
    return JSON.stringify(generation(now)) === JSON.stringify(generation(before));
  });
  expect((await lab.plane.call("DELETE", at)).status).toBe(200);
  await until(5_000, "the object made anew", async () => {
    const now = await lab.plane.call("GET", at);
    return now.status === 200 && JSON.stringify(generation(now.body)) === JSON.stringify(generation(before));
  });
  const events = lab.kubectl(["get", "events", "-n", "default"]).text;
  expect(events).toMatch(/Restored/);
});

test("certificates are exchanged while pods are made: no admission fails, and both authorities are trusted meanwhile", async () => {
  const failures: string[] = [];
  const stop = new AbortController();
  const load = (async () => {
    while (!stop.signal.aborted) {
      const { status, text } = await makePod();
      if (status !== 201) failures.push(text);
    }
  })();
  const secret = (): string =>
    lab.kubectl(["get", "secret", "sidegate-certificates", "-n", "sidegate", "-o", "json"]).text;
  for (const what of ["leaf", "ca"]) {
    const before = secret();
    lab.kubectl(["annotate", "secret", "sidegate-certificates", "-n", "sidegate", `sidegate.dev/rotate=${what}`]);
    await until(15_000, `a new ${what}`, () =>
      Promise.resolve(!secret().includes('sidegate.dev/rotate"') && secret() !== before),
    );
  }
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  stop.abort();
  await load;
  const ca = (await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-runtime"))["data"] as Record<
    string,
    string
  >;
  await until(15_000, "both authorities", async () => {
    const now = (await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-runtime"))["data"] as Record<
      string,
      string
    >;
    return (now["ca.crt"] ?? "").split("BEGIN").length === 3;
  });
  expect(ca["ca.crt"]).toContain("BEGIN CERTIFICATE");
  expect(failures).toEqual([]);
  console.log(`${pods} pods made while certificates were exchanged`);
});
