/** Who stands behind a pod, on a real API server: workloads are stamped by the webhook, as the chart configures it, and pods by their workload. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { stringify } from "yaml";
import { findHelm, renderChart } from "../support/chart.ts";
import { type As, until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, startLab } from "./controller-lab.ts";

const HELM = findHelm();
const INJECTION =
  "image: proxy:1\ncluster: test\ndeployers: [flux]\ncollector: {url: 'https://collector.example:8443', ca: ''}\nbundle: {url: 'https://bundles.example', publicKey: ''}\n";
let lab: Lab;
let folder: string;

// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;

/** As the chart has it, but for where it is served. */
function configuration(helm: string, port: number): string {
  const found = renderChart(helm, { "images.allowTags": true }).find(
    ({ kind }) => kind === "MutatingWebhookConfiguration",
  ) as Tree;
  for (const webhook of found.webhooks)
    webhook.clientConfig = { url: `https://localhost:${port}${webhook.clientConfig.service.path}` };
  return stringify({ ...found, metadata: { name: found.metadata.name } });
}

const as = (user: string): As => ({ user, groups: ["system:masters"] });
const controller = (name: string): As => as(`system:serviceaccount:kube-system:${name}-controller`);
const template = (image = "app:1"): Tree => ({
  metadata: { labels: { app: "x" } },
  spec: { containers: [{ name: "app", image }] },
});

function make(what: string, name: string, by: As, more: Tree = {}, namespace = "agents"): Promise<Tree> {
  const group = what === "pods" ? "/api/v1" : "/apis/apps/v1";
  const { metadata = {}, spec = { selector: { matchLabels: { app: "x" } }, template: template() } } = more;
  const object = { metadata: { name, ...metadata }, spec };
  return lab.plane.call("POST", `${group}/namespaces/${namespace}/${what}`, object, by);
}
const stampsOf = (answer: Tree): Record<string, string> => {
  const annotations = Object.entries((answer.body.metadata?.annotations ?? {}) as Record<string, string>);
  const ours = annotations.filter(([name]) => /^sidegate.dev[/](creator|owner|template-writer|workload)/.test(name));
  return Object.fromEntries(ours.map(([name, text]) => [name.slice("sidegate.dev/".length), text]));
};
const FORGED = {
  "sidegate.dev/creator": "grace",
  "sidegate.dev/template-writer": "grace",
  "sidegate.dev/owner": "grace",
};

beforeAll(async () => {
  if (!POSSIBLE || HELM === null) return;
  lab = await startLab();
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-people-"));
  const file = path.join(folder, "injection.yaml");
  writeFileSync(file, INJECTION);
  const environment = { SIDEGATE_INJECTION: file, SIDEGATE_CLUSTER: "test" };
  const one = lab.start("controller", "controller", environment);
  const webhook = lab.start("webhook", "webhook", environment);
  const [, port] = await Promise.all([one.port, webhook.port]);
  lab.apply({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "sidegate", name: "sidegate-guarded" },
    data: { "webhooks.yaml": configuration(HELM, port) },
  });
  for (const [name, labels] of [
    ["agents", { "sidegate.dev/inject": "all" }],
    ["free", {}],
  ] as const) {
    lab.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
    lab.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } });
  }
  let tries = 0;
  await until(
    20_000,
    "stamps",
    async () => stampsOf(await make("deployments", `try-${++tries}`, as("ada")))["creator"] === "ada",
  );
});
afterAll(async () => {
  await lab?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});
beforeEach((context) => requireThat(context, POSSIBLE && HELM !== null, `${NEEDED}, and helm`));

test("a workload's stamps are the API server's word, whatever its author wrote; who rewrites it is added, and scaling is nobody's", async () => {
  const made = await make("deployments", "forged", as("ada"), { metadata: { annotations: FORGED } });
  expect(stampsOf(made)).toEqual({ creator: "ada", "template-writer": "ada" });
  const patch = (body: Tree, by: string): Promise<Tree> =>
    lab.plane.call("PATCH", "/apis/apps/v1/namespaces/agents/deployments/forged", body, as(by));
  expect(stampsOf(await patch({ spec: { replicas: 2 } }, "eve"))).toEqual({ creator: "ada", "template-writer": "ada" });
  const rewritten = { spec: { template: { spec: { containers: [{ name: "app", image: "app:2" }] } } } };
  expect(stampsOf(await patch(rewritten, "ben"))).toEqual({ creator: "ada", "template-writer": "ben" });
  expect(stampsOf(await patch({ metadata: { annotations: FORGED } }, "eve"))).toEqual({
    creator: "ada",
    "template-writer": "ben",
  });
});

test("elsewhere nothing is stamped, unless the template asks for the gateway", async () => {
  expect(stampsOf(await make("deployments", "x", as("ada"), {}, "free"))).toEqual({});
  const asks = { ...template(), metadata: { labels: { app: "x", "sidegate.dev/inject": "true" } } };
  const spec = { selector: { matchLabels: { app: "x" } }, template: asks };
  const made = await make("deployments", "y", as("flux"), { spec, metadata: { annotations: FORGED } }, "free");
  expect(stampsOf(made)).toEqual({ creator: "flux", "template-writer": "flux" });
  // What its author writes while nobody looks is taken away at once: the namespace may opt in tomorrow.
  expect(stampsOf(await make("deployments", "z", as("eve"), { metadata: { annotations: FORGED } }, "free"))).toEqual(
    {},
  );
  const label = { spec: { template: { metadata: { labels: { "sidegate.dev/inject": "true" } } } } };
  const asking = await lab.plane.call("PATCH", "/apis/apps/v1/namespaces/free/deployments/z", label, as("eve"));
  expect(stampsOf(asking)).toEqual({ "template-writer": "eve" });
});

test("a pod that a controller makes says who is behind its workload; a deployer's names the owner", async () => {
  const owned = (kind: string, { body }: Tree): Tree => ({
    ownerReferences: [
      { apiVersion: "apps/v1", kind, name: body.metadata.name, uid: body.metadata.uid, controller: true },
    ],
  });
  const named = { metadata: { annotations: { "sidegate.dev/owner": "grace@example.com" } } };
  const deployment = await make("deployments", "agent", as("flux"), named);
  const { annotations } = deployment.body.metadata;
  // The deployment controller copies a Deployment's annotations.
  const replicaSet = await make("replicasets", "agent-1", controller("deployment"), {
    metadata: { annotations, ...owned("Deployment", deployment) },
  });
  const { spec } = template();
  const pod = await make("pods", "agent-1-a", controller("replicaset"), {
    spec,
    metadata: { ...owned("ReplicaSet", replicaSet), annotations: { "sidegate.dev/owner": "eve" } },
  });
  expect(stampsOf(pod)).toEqual({
    creator: controller("replicaset").user,
    workload: "ReplicaSet/agent-1",
    "workload-creator": "flux",
    "template-writer": "flux",
    owner: "grace@example.com",
  });
  // Whoever makes a pod himself and says that it is the ReplicaSet's.
  const forged = await make("pods", "agent-1-b", as("eve"), {
    spec,
    metadata: { ...owned("ReplicaSet", replicaSet), annotations: FORGED },
  });
  expect(stampsOf(forged)).toEqual({ creator: "eve" });
  // A ReplicaSet that somebody else made in the Deployment's name.
  const stolen = await make("replicasets", "agent-2", as("eve"), {
    metadata: { annotations, ...owned("Deployment", deployment) },
  });
  const its = await make("pods", "agent-2-a", controller("replicaset"), {
    spec,
    metadata: owned("ReplicaSet", stolen),
  });
  expect(stampsOf(its)).toMatchObject({ "workload-creator": "eve", "template-writer": "eve" });
  expect(stampsOf(its)["owner"]).toBeUndefined();
});

test("a pod that is refused is told on its workload, with the field and the way out", async () => {
  const replicaSet = await make("replicasets", "refused", as("ada"));
  const { name, uid } = replicaSet.body.metadata;
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "ReplicaSet", name, uid, controller: true }];
  const spec = { ...template().spec, hostNetwork: true };
  for (let n = 0; n < 2; n++)
    expect(
      (await make("pods", `refused-${n}`, controller("replicaset"), { spec, metadata: { ownerReferences } })).status,
    ).toBe(403);
  let events: Tree[] = [];
  await until(10_000, "the event", async () => {
    const found = await lab.plane.call(
      "GET",
      `/api/v1/namespaces/agents/events?fieldSelector=involvedObject.name=refused`,
    );
    events = (found.body["items"] ?? []) as Tree[];
    return events.length > 0;
  });
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({
    type: "Warning",
    reason: "GatewayRefused",
    involvedObject: { kind: "ReplicaSet", uid },
  });
  expect(events[0].message).toContain("spec.hostNetwork");
});

test("in a namespace of Pod Security restricted the refusal is ours, and names label, container and both ways out", async () => {
  const labels = { "sidegate.dev/inject": "all", "pod-security.kubernetes.io/enforce": "restricted" };
  lab.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "strict", labels } });
  lab.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "strict" } });
  let message = "";
  await until(10_000, "the refusal", async () => {
    const { status, body } = await make("pods", "strict", as("ada"), { spec: template().spec }, "strict");
    message = String(body.message);
    return status === 403 && message.includes("sidegate cannot guard");
  });
  for (const word of ["pod-security.kubernetes.io/enforce", "sidegate-init", "=privileged", "=exempt"])
    expect(message).toContain(word);
});
