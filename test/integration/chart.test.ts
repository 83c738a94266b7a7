/** The chart as it is rendered: the same bytes each time, nothing in it that only one cluster could know, secure by default. */

import { globSync, readFileSync } from "node:fs";
import { expect, type TestContext, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { WORKLOAD_CONTROLLERS } from "#injection/owner.ts";
import { findHelm, type Rendered, renderChart, renderText } from "../support/chart.ts";
import { requireThat } from "../support/require.ts";

const VALUES = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};

function helmOf(context: TestContext): string {
  const helm = findHelm();
  requireThat(context, helm !== null, "no helm: tools/helm/ensure.sh gets one");
  return helm ?? "";
}

// Manifests of many kinds.
// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;
const workloads = (chart: readonly Rendered[]): Tree[] =>
  chart.filter(({ kind }) => ["Deployment", "StatefulSet"].includes(kind)) as Tree[];

test("renders the same bytes twice, and with nothing set but the images' digests", (context) => {
  const helm = helmOf(context);
  expect(renderText(helm, VALUES)).toBe(renderText(helm, VALUES));
});

test("asks for images by digest, and says so", (context) => {
  const helm = helmOf(context);
  expect(() => renderText(helm)).toThrow(/digest/);
  for (const workload of workloads(renderChart(helm, VALUES)))
    for (const { image } of workload.spec.template.spec.containers) expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
});

test("holds nothing that is made at install time or read from the cluster", () => {
  const templates = globSync("charts/gateway/templates/**/*.{yaml,tpl,txt}");
  expect(templates.length).toBeGreaterThan(8);
  for (const file of templates) {
    const code = [...readFileSync(file, "utf8").matchAll(/\{\{(?!-?\s*\/\*)[\s\S]*?\}\}/g)]
      .map(([text]) => text)
      .join("\n");
    expect(code, file).not.toMatch(
      /\b(lookup|genCA|genSignedCert|genSelfSignedCert|genPrivateKey|rand\w+|uuidv4|now|htpasswd)\b/,
    );
    expect(readFileSync(file, "utf8"), file).not.toMatch(/^\s*caBundle:/m);
  }
});

test("refuses values that it does not know, and those of a wrong kind", (context) => {
  const helm = helmOf(context);
  expect(() => renderText(helm, { ...VALUES, "webhook.replica": 3 })).toThrow(/replica/);
  expect(() => renderText(helm, { ...VALUES, "webhook.replicas": "many" })).toThrow(/replicas/);
  expect(() => renderText(helm, { ...VALUES, "injection.tier": "advisory" })).toThrow(/tier/);
  expect(() => renderText(helm, { ...VALUES, "images.proxy.digest": "latest" })).toThrow(/digest/);
  expect(() => renderText(helm, { ...VALUES, exemptions: [{ namespace: "a", serviceAccount: "b" }] })).toThrow(
    /reason/,
  );
});

test("runs every process without root, capability, writable root or automatic token, and with probes and bounds", (context) => {
  const found = workloads(renderChart(helmOf(context), VALUES));
  expect(new Set(found.map(({ metadata }) => metadata.name))).toEqual(
    new Set(["sidegate-collector", "sidegate-controller", "sidegate-webhook"]),
  );
  for (const { spec, metadata } of found) {
    const pod = spec.template.spec;
    expect(pod.automountServiceAccountToken, metadata.name).toBe(false);
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 65_532,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(pod.priorityClassName).toBe("system-cluster-critical");
    expect(pod.affinity.podAntiAffinity).toBeDefined();
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(container.resources.limits.memory).toBeDefined();
    }
    for (const container of pod.containers)
      for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"])
        expect(container[probe], `${container.name} ${probe}`).toBeDefined();
  }
});

test("asks the webhook only about those who opted in, never about itself or kube-system, and fails closed in 5 s", (context) => {
  const configurations = renderChart(helmOf(context), VALUES).filter(({ kind }) =>
    kind.endsWith("WebhookConfiguration"),
  ) as Tree[];
  expect(configurations.map(({ kind }) => kind)).toEqual([
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
  ]);
  for (const { webhooks, kind } of configurations)
    for (const webhook of webhooks) {
      if (webhook.name.endsWith(".stamp.sidegate.dev")) continue;
      expect(webhook.failurePolicy).toBe("Fail");
      const mutating = kind.startsWith("Mutating");
      expect(webhook.reinvocationPolicy).toBe(mutating ? "IfNeeded" : undefined);
      expect(webhook.sideEffects).toBe(mutating ? "NoneOnDryRun" : "None");
      if (webhook.rules.some(({ apiGroups }: Tree) => apiGroups.includes("sidegate.dev"))) continue;
      expect(webhook.timeoutSeconds).toBe(5);
      const [selected, excluded] = webhook.namespaceSelector.matchExpressions;
      expect(selected.key).toBe("sidegate.dev/inject");
      expect(excluded).toMatchObject({ key: "kubernetes.io/metadata.name", operator: "NotIn" });
      expect(excluded.values).toEqual(expect.arrayContaining(["kube-system", "sidegate"]));
      const label = selected.operator === "In" ? undefined : { "sidegate.dev/inject": "true" };
      expect(webhook.objectSelector?.matchLabels).toEqual(label);
      expect(webhook.matchConditions.length).toBeGreaterThan(0);
    }
});

test("a workload's stamps never refuse anybody, and are asked for only where the gateway is", (context) => {
  const [mutating] = renderChart(helmOf(context), VALUES).filter(
    ({ kind }) => kind === "MutatingWebhookConfiguration",
  ) as Tree[];
  const stamping = mutating.webhooks.filter(({ name }: Tree) => name.endsWith(".stamp.sidegate.dev"));
  expect(stamping).toHaveLength(2);
  for (const webhook of stamping) {
    expect([webhook.failurePolicy, webhook.sideEffects, webhook.timeoutSeconds]).toEqual(["Ignore", "None", 2]);
    const [selected, excluded] = webhook.namespaceSelector.matchExpressions;
    expect(excluded.values).toEqual(expect.arrayContaining(["kube-system", "sidegate"]));
    const conditions = webhook.matchConditions.map(({ name }: Tree) => name);
    expect(conditions).toEqual(expect.arrayContaining(["not-by-controllers", "made-or-rewritten"]));
    expect(conditions.includes("asks-for-the-gateway")).toBe(selected.operator === "NotIn");
    const [condition] = webhook.matchConditions;
    for (const name of WORKLOAD_CONTROLLERS) expect(condition.expression).toContain(`'${name}'`);
  }
});

test("grants no right that nobody uses: no wildcard, no secrets of other namespaces by default, no rights over RBAC", (context) => {
  const roles = renderChart(helmOf(context), VALUES).filter(({ kind }) =>
    ["Role", "ClusterRole"].includes(kind),
  ) as Tree[];
  expect(roles.length).toBeGreaterThan(0);
  for (const { kind, metadata, rules } of roles)
    for (const rule of rules) {
      const at = `${kind} ${metadata.name} ${JSON.stringify(rule)}`;
      expect([...rule.verbs, ...(rule.resources ?? []), ...(rule.apiGroups ?? [])], at).not.toContain("*");
      expect(rule.apiGroups, at).not.toContain("rbac.authorization.k8s.io");
      expect(kind === "ClusterRole" && rule.resources.includes("secrets"), at).toBe(false);
    }
});

test("what the controller makes anew is Helm's to delete, so that nothing refuses anybody after an uninstall", (context) => {
  const guarded = renderChart(helmOf(context), VALUES).find(
    ({ metadata }) => metadata.name === "sidegate-guarded",
  ) as Tree;
  const manifests: Tree[] = Object.values(guarded.data as Record<string, string>).flatMap((text) =>
    parseAllDocuments(text).flatMap((document) => document.toJS() ?? []),
  );
  expect(manifests.length).toBeGreaterThan(20);
  for (const { kind, metadata } of manifests) {
    expect(metadata.labels["app.kubernetes.io/managed-by"], `${kind} ${metadata.name}`).toBe("Helm");
    expect(metadata.annotations, `${kind} ${metadata.name}`).toMatchObject({
      "meta.helm.sh/release-name": "sidegate",
      "meta.helm.sh/release-namespace": "sidegate",
    });
  }
});
