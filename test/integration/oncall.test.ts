/**
 * What the person on call runs, on a real API server: a cluster with nothing, one as the chart leaves it, and one where something is
 * wrong. Nodes and webhooks are not there, so what needs them is tried by test/e2e.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { PROXY_UID } from "#contract/names.ts";
import { VERSION } from "#contract/version.ts";
import { completeOptions, optionsFor } from "#injection/complete-options.ts";
import { injectPod } from "#injection/inject.ts";
import { parseOptions } from "#injection/options-text.ts";
import {
  install,
  installDefinitions,
  ONCALL_NEEDS,
  ONCALL_POSSIBLE,
  type OncallLab,
  type Said,
  startOncallLab,
} from "../support/oncall-lab.ts";
import { findProgram, requireThat } from "../support/require.ts";

interface Finding {
  readonly check: string;
  readonly state: "ok" | "warn" | "fail";
  readonly says: string;
  readonly fix: string;
}

const ADMISSION = "/apis/admissionregistration.k8s.io/v1";
const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
let lab: OncallLab;
let empty: Said;
let unknown: Said;

beforeAll(async () => {
  if (!ONCALL_POSSIBLE) return;
  lab = await startOncallLab();
  empty = await lab.sidegate(["doctor"]);
  unknown = await lab.sidegate(["status"]);
  await installDefinitions(lab);
  // Before the webhook that would be asked about it: here, nobody answers.
  await lab.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  const target = {
    hosts: ["db.example"],
    ports: [5432],
    endpoints: ["127.0.0.1:5432"],
    credential: "db",
    insecureCredential: true,
  };
  const kind = { apiVersion: "sidegate.dev/v1alpha1", kind: "EgressTarget" };
  await lab.put({ ...kind, metadata: { namespace: "shop", name: "db" }, spec: target });
  const freeze = { apiVersion: "sidegate.dev/v1alpha1", kind: "Freeze", metadata: { namespace: "shop", name: "f1" } };
  await lab.put({ ...freeze, spec: { reason: "it looks odd", by: "ada" } });
  await install(lab, Date.now());
}, 180_000);
afterAll(async () => lab?.stop());

const findingsOf = (said: Said): readonly Finding[] =>
  (JSON.parse(said.out) as { readonly findings: readonly Finding[] }).findings;
async function doctor(): Promise<readonly Finding[]> {
  return findingsOf(await lab.sidegate(["doctor", "--json"]));
}
const failed = (findings: readonly Finding[], check: string): readonly Finding[] =>
  findings.filter((one) => one.check === check && one.state === "fail");
const well = (findings: readonly Finding[], check: string): boolean =>
  findings.some((one) => one.check === check) && findings.every((one) => one.check !== check || one.state === "ok");

describe("sidegate doctor", () => {
  test("names everything that is not there, each with a fix, and ends with 1", (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    expect(empty.code).toBe(1);
    for (const line of [
      /^ok {4}api version +Kubernetes v1\./m,
      /^FAIL {2}installed +Deployment sidegate\/sidegate-webhook is missing/m,
      /^FAIL {2}certificate +Secret sidegate\/sidegate-certificates is missing/m,
      /^FAIL {2}webhooks +MutatingWebhookConfiguration sidegate is missing/m,
      /^FAIL {2}definitions +CustomResourceDefinition egresstargets\.sidegate\.dev is missing/m,
      /^FAIL {2}dataplane +ConfigMap sidegate\/sidegate-injection is missing/m,
    ])
      expect(empty.out).toMatch(line);
    const lines = empty.out.split("\n");
    const withoutFix = lines.filter(
      (line, index) => line.startsWith("FAIL") && !/^ +fix: \S/.test(lines[index + 1] ?? ""),
    );
    expect(withoutFix).toEqual([]);
  });

  test("finds nothing to say about objects that are as the chart wrote them", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const findings = await doctor();
    for (const check of [
      "api version",
      "clock",
      "installed",
      "versions",
      "priority",
      "endpoints",
      "certificate",
      "trust",
      "webhooks",
      "admission",
      "definitions",
      "controller",
      "bundles",
      "dataplane",
    ])
      expect([check, well(findings, check)], JSON.stringify(findings.filter((one) => one.check === check))).toEqual([
        check,
        true,
      ]);
    // Nobody serves the record here.
    expect(failed(findings, "collector")).toHaveLength(1);
  });

  test("sees a webhook that was narrowed, a policy that was weakened, a binding that is gone and an older schema", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const mutating = `${ADMISSION}/mutatingwebhookconfigurations/sidegate`;
    const policy = `${ADMISSION}/validatingadmissionpolicies/sidegate-forbidden`;
    const binding = `${ADMISSION}/validatingadmissionpolicybindings/sidegate-forbidden`;
    const before = await lab.get(mutating);
    const webhooks = (before["webhooks"] as object[]).map((one) => ({
      ...one,
      objectSelector: { matchLabels: { never: "yes" } },
    }));
    await lab.patch(mutating, { webhooks });
    await lab.patch(policy, { spec: { failurePolicy: "Ignore" } });
    await lab.remove(binding);
    const crd = `${DEFINITIONS}/egresstargets.sidegate.dev`;
    const kept = await lab.get(crd);
    const older = structuredClone(kept["spec"]) as { versions: { additionalPrinterColumns?: unknown }[] };
    delete older.versions[0]?.additionalPrinterColumns;
    await lab.patch(crd, { spec: older });
    const findings = await doctor();
    expect(failed(findings, "webhooks").map(({ says }) => says)).toEqual([
      expect.stringMatching(
        /MutatingWebhookConfiguration sidegate differs from the chart's: webhooks\[0\]\.objectSelector/,
      ),
    ]);
    const admission = failed(findings, "admission").map(({ says }) => says);
    expect(admission).toContainEqual(expect.stringMatching(/sidegate-forbidden differs .*spec\.failurePolicy/));
    expect(admission).toContainEqual("ValidatingAdmissionPolicyBinding sidegate-forbidden is missing");
    expect(failed(findings, "definitions")[0]?.says).toMatch(
      /egresstargets\.sidegate\.dev was changed since this release wrote it: .*additionalPrinterColumns/,
    );
    await lab.patch(crd, { metadata: { annotations: { "sidegate.dev/release": "0.0.9" } } });
    expect(failed(await doctor(), "definitions").map(({ says, fix }) => `${says} ${fix}`)).toEqual([
      expect.stringMatching(
        /egresstargets\.sidegate\.dev is older than this release \(of 0\.0\.9\): .*Columns.*kubectl apply --server-side/,
      ),
    ]);
    await lab.patch(crd, { metadata: { annotations: { "sidegate.dev/release": "99.0.0" } } });
    const newer = (await doctor()).filter(({ check }) => check === "definitions");
    expect(newer.map(({ state, says }) => `${state} ${says}`)).toEqual([
      "warn egresstargets.sidegate.dev is of a newer release, 99.0.0",
    ]);
    await lab.patch(crd, { metadata: { annotations: { "sidegate.dev/release": VERSION } } });
    await lab.patch(mutating, { webhooks: before["webhooks"] });
    await lab.patch(policy, { spec: { failurePolicy: "Fail" } });
    await lab.put(
      lab.chart.find(
        (one) => one.kind === "ValidatingAdmissionPolicyBinding" && one.metadata.name === "sidegate-forbidden",
      ) as never,
    );
    await lab.patch(crd, { spec: kept["spec"] });
  });

  test("sees an authority that is not ours, a certificate about to end, no leader and no ready address", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const validating = `${ADMISSION}/validatingwebhookconfigurations/sidegate`;
    const before = await lab.get(validating);
    const webhooks = (before["webhooks"] as { clientConfig: object }[]).map((one, index) =>
      index === 0 ? { ...one, clientConfig: { ...one.clientConfig, caBundle: null } } : one,
    );
    await lab.patch(validating, { webhooks });
    const lease = "/apis/coordination.k8s.io/v1/namespaces/sidegate/leases/sidegate-controller";
    await lab.patch(lease, { spec: { renewTime: "2026-01-01T00:00:00.000000Z" } });
    const slice = "/apis/discovery.k8s.io/v1/namespaces/sidegate/endpointslices/sidegate-webhook";
    await lab.patch(slice, { endpoints: [{ addresses: ["192.0.2.1"], conditions: { ready: false } }] });
    const secret = "/api/v1/namespaces/sidegate/secrets/sidegate-certificates";
    const certificate = (await lab.get(secret))["data"];
    await lab.patch(secret, { data: { "tls.crt": "bm9uZQ==" } });
    const findings = await doctor();
    expect(failed(findings, "trust")[0]?.says).toMatch(/namespaces\.validate\.sidegate\.dev has no caBundle/);
    expect(failed(findings, "controller")[0]?.says).toMatch(/sidegate-controller-0 was last heard .* ago/);
    expect(failed(findings, "endpoints")[0]?.says).toMatch(/sidegate-webhook has no ready address/);
    expect(failed(findings, "certificate")[0]?.says).toMatch(/is no certificate/);
    await lab.patch(validating, { webhooks: before["webhooks"] });
    await lab.patch(secret, { data: certificate });
  });

  test("says before the first pod what a namespace would refuse: Pod Security, a mesh, a LimitRange, a quota", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const labels = {
      "sidegate.dev/inject": "all",
      "pod-security.kubernetes.io/enforce": "baseline",
      "istio-injection": "enabled",
    };
    await lab.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: "strict", labels } });
    const own = { namespace: "strict" };
    const limits = [{ type: "Container", max: { memory: "100Mi" } }];
    await lab.put({ apiVersion: "v1", kind: "LimitRange", metadata: { ...own, name: "small" }, spec: { limits } });
    await lab.put({
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { ...own, name: "cpu" },
      spec: { hard: { "limits.cpu": "4" } },
    });
    await lab.put({ apiVersion: "v1", kind: "ServiceAccount", metadata: { ...own, name: "default" } });
    const findings = await doctor();
    expect(failed(findings, "pod security")[0]).toMatchObject({
      says: expect.stringMatching(
        /strict: label .*enforce: baseline .*sidegate-init.* NET_ADMIN .*privileged .*or exempt it/,
      ) as string,
      fix: "kubectl label namespace strict pod-security.kubernetes.io/enforce=privileged --overwrite",
    });
    expect(failed(findings, "mesh")[0]?.says).toMatch(/strict: istio-injection=enabled: Istio/);
    const room = failed(findings, "room").map(({ says }) => says);
    expect(room).toContainEqual(
      expect.stringMatching(/LimitRange small: sidegate's limit of 256Mi memory is above its max 100Mi/),
    );
    expect(room).toContainEqual(
      expect.stringMatching(
        /ResourceQuota cpu: it demands limits\.cpu of every container, and sidegate-init and sidegate has none/,
      ),
    );
    // The API server's own admission says it too, in its own words, without a pod being left.
    expect(failed(findings, "admission try")[0]?.says).toMatch(/namespace strict: an agent's pod is refused/);
    expect((await lab.get("/api/v1/namespaces/strict/pods"))["items"]).toEqual([]);
    await lab.patch("/api/v1/namespaces/strict", { metadata: { labels: { "sidegate.dev/inject": null } } });
  });

  test("whose rights do not suffice names each that is missing, and is no success", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const said = await lab.sidegate(["doctor", "--kubeconfig", lab.as("nobody")]);
    expect(said.code).toBe(1);
    expect(said.out).toMatch(
      /^FAIL {2}certificate +not looked at: your account may not get secrets in namespace sidegate$/m,
    );
    expect(said.out).toMatch(
      /^FAIL {2}node clocks +not looked at: your account may not list leases\.coordination\.k8s\.io in namespace kube-node-lease$/m,
    );
  });

  test("without a cluster, or with a wrong option, says so in one line", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const gone = await lab.sidegate(["doctor", "--kubeconfig", "/no/such/file"]);
    expect([gone.code, gone.err]).toEqual([1, expect.stringMatching(/^sidegate doctor: \/no\/such\/file: ENOENT/)]);
    const closed = await lab.sidegate(["doctor", "--kubeconfig", lab.elsewhere()]);
    expect([closed.code, closed.err]).toEqual([
      1,
      expect.stringMatching(/^sidegate doctor: the API server does not answer: .*ECONNREFUSED/),
    ]);
    expect((await lab.sidegate(["doctor", "--noodles"])).code).toBe(2);
  });
});

const BINDING = "ValidatingAdmissionPolicyBinding";

// Pods of many kinds.
// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;
const podOf = (namespace: string, name: string, more: object = {}, spec: object = {}): Tree => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace, name, ...more },
  spec: { containers: [{ name: "app", image: "app:1" }], automountServiceAccountToken: false, ...spec },
});

describe("sidegate status", () => {
  test("of a cluster without Sidegate says so in one line", (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    expect([unknown.code, unknown.out]).toEqual([1, ""]);
    expect(unknown.err).toMatch(
      /^sidegate status: this cluster does not know \w+\.sidegate\.dev: is Sidegate installed\?.*\n$/,
    );
  });

  test("says of each pod why it is outside, what to type, and what is open until when", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    await lab.put({ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "shop", name: "default" } });
    const controls = (kind: string, name: string): object => ({
      ownerReferences: [
        { apiVersion: "apps/v1", kind, name, uid: "11111111-1111-1111-1111-111111111111", controller: true },
      ],
    });
    await lab.put(podOf("shop", "early", controls("ReplicaSet", "agent-6d5f7")));
    await lab.put(podOf("shop", "alone"));
    await lab.put(podOf("shop", "host", {}, { hostNetwork: true }));
    await lab.put(podOf("shop", "aside", { labels: { "sidegate.dev/inject": "false" } }));
    const map = (await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-injection"))["data"] as Record<
      string,
      string
    >;
    const runtime = (await lab.get("/api/v1/namespaces/sidegate/configmaps/sidegate-runtime"))["data"] as Record<
      string,
      string
    >;
    const options = completeOptions(parseOptions([map["options.yaml"] ?? ""]), runtime);
    if (options === null) throw new Error("the options are not complete");
    const inject = (name: string, image: string): Tree => {
      const made = injectPod(podOf("shop", name), optionsFor({ ...options, image }, "shop", {}), () => PROXY_UID.first);
      if (made.kind === "denied") throw new Error(JSON.stringify(made.violations));
      return made.pod;
    };
    const changed = inject("changed", options.image);
    changed.spec.initContainers[1].args = ["--other"];
    // As they are found after a second lock that was away: nobody compared them.
    const lock = lab.chart.find((one) => one.kind === BINDING && one.metadata.name === "sidegate-audience");
    if (lock === undefined) throw new Error("the chart has no such binding");
    await lab.remove(`/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/${lock.metadata.name}`);
    for (const pod of [inject("whole", options.image), inject("older", "older:1"), changed])
      await vi.waitFor(() => lab.put(pod), { timeout: 20_000, interval: 100 });
    await lab.put(lock);
    const until = new Date(Date.now() + 86_400_000).toISOString();
    const patch = {
      labels: { "sidegate.dev/inject": "all", "sidegate.dev/mode": "observe" },
      annotations: { "sidegate.dev/observe-until": until },
    };
    await lab.patch("/api/v1/namespaces/shop", { metadata: patch });

    const said = await lab.sidegate(["status", "-n", "shop"]);
    expect(said.err).toBe("");
    expect(said.code).toBe(1);
    for (const line of [
      /^2 pods inside the gate, 5 outside; namespaces: shop$/m,
      /^ {2}shop\/early \(Deployment\/agent\): made before the namespace's label$/m,
      /^ {2}shop\/alone: made before the namespace's label$/m,
      /^ {2}shop\/host: hostNetwork: /m,
      /^ {2}shop\/aside: its label sidegate\.dev\/inject=false keeps it outside/m,
      /^ {2}shop\/changed: differs from what is injected: spec\.initContainers\[1\]/m,
      /^Of an older release:\n {2}shop\/older: runs older:1, new pods /m,
      /^ {2}EgressTarget shop\/db: not looked at by the controller yet$/m,
      /^ {2}shop: observe mode until .* left\)/m,
      /^ {2}EgressTarget shop\/db: insecureCredential: db goes over unverified TLS to 127\.0\.0\.1:5432$/m,
      /^ {2}shop: frozen by ada since .*: it looks odd/m,
      /^ {2}kubectl -n shop rollout restart deployment\/agent$/m,
    ])
      expect(said.out).toMatch(line);
    expect(said.out).not.toMatch(/shop\/whole/);
  });

  test("of a namespace that is not there is wrong usage", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const said = await lab.sidegate(["status", "-n", "shopp"]);
    expect([said.code, said.err]).toEqual([2, 'sidegate status: --namespace: there is no namespace "shopp"\n']);
  });
});

describe("sidegate purge", () => {
  test("refuses while pods have a gateway, and while the release is installed, and names them", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    const pods = await lab.sidegate(["purge", "--yes"]);
    expect([pods.code, pods.err]).toEqual([
      1,
      expect.stringMatching(/3 pods still have a gateway:\n {2}shop\/changed\n {2}shop\/older\n {2}shop\/whole\n/),
    ]);
    for (const name of ["changed", "older", "whole"])
      await lab.remove(`/api/v1/namespaces/shop/pods/${name}?gracePeriodSeconds=0`);
    const release = await lab.sidegate(["purge", "--yes"]);
    expect([release.code, release.err]).toEqual([
      1,
      expect.stringMatching(
        /a release is still installed in namespace sidegate:\n[^]* {2}Deployment sidegate\/sidegate-webhook\n[^]*helm uninstall/,
      ),
    ]);
    // Also where the namespace that was named is another.
    const elsewhere = await lab.sidegate(["purge", "--gateway-namespace", "default", "--yes"]);
    expect([elsewhere.code, elsewhere.err]).toEqual([
      1,
      expect.stringMatching(/installed in namespace sidegate:\n[^]* {2}StatefulSet sidegate\/sidegate-collector\n/),
    ]);
  });

  test("lists first, asks, and removes all that was left and nothing else", async (context) => {
    requireThat(context, ONCALL_POSSIBLE, ONCALL_NEEDS);
    for (const [plural, name] of [
      ["deployments", "webhook"],
      ["deployments", "controller"],
      ["statefulsets", "collector"],
    ])
      await lab.remove(`/apis/apps/v1/namespaces/sidegate/${plural ?? ""}/sidegate-${name ?? ""}`);
    const foreign = { apiVersion: "v1", kind: "Secret", metadata: { namespace: "sidegate", name: "foreign" } };
    await lab.put(foreign);
    const claim = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "20Gi" } } };
    const labels = { "app.kubernetes.io/name": "sidegate" };
    await lab.put({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { namespace: "sidegate", name: "data-sidegate-collector-0", labels },
      spec: claim,
    });
    const listed = await lab.sidegate(["purge", "--dry-run"]);
    expect(listed.code).toBe(0);
    for (const line of [
      /MutatingWebhookConfiguration sidegate: /,
      /Namespace shop: only sidegate\.dev\/inject, sidegate\.dev\/mode, sidegate\.dev\/observe-until/,
      /CustomResourceDefinition egresstargets\.sidegate\.dev: with 1 of its resources/,
      /Secret sidegate\/sidegate-certificates: /,
      /PersistentVolumeClaim sidegate\/data-sidegate-collector-0: THE RECORD: 20Gi/,
    ])
      expect(listed.out).toMatch(line);
    expect(listed.out).not.toMatch(/foreign/);
    const asked = await lab.sidegate(["purge"]);
    expect([asked.code, asked.err]).toEqual([2, expect.stringMatching(/nobody to ask; --yes/)]);
    expect((await lab.sidegate(["purge", "--keep-record", "--dry-run"])).out).not.toMatch(/PersistentVolumeClaim/);

    const script = findProgram("script");
    requireThat(context, script !== null, "no script (Debian package bsdutils)");
    const refused = await lab.atTerminal(script ?? "", ["purge"], "no\n");
    expect([refused.code, refused.out]).toEqual([
      1,
      expect.stringMatching(/There is no way back\. Type yes: [^]*Nothing was removed\./),
    ]);

    const done = await lab.sidegate(["purge", "--yes"]);
    expect([done.code, done.err]).toEqual([0, ""]);
    const kubectl = (path: string): Promise<Tree> => lab.get(path);
    expect((await kubectl("/api/v1/namespaces/shop")).metadata.labels).toEqual({
      "kubernetes.io/metadata.name": "shop",
    });
    const secrets = (await kubectl("/api/v1/namespaces/sidegate/secrets")).items as Tree[];
    expect(secrets.map(({ metadata }) => metadata.name)).toEqual(["foreign"]);
    for (const plural of [
      "mutatingwebhookconfigurations",
      "validatingadmissionpolicies",
      "validatingadmissionpolicybindings",
    ])
      expect((await kubectl(`${ADMISSION}/${plural}`)).items).toEqual([]);
    expect((await lab.sidegate(["purge", "--yes"])).out).toBe("Nothing of Sidegate is left.\n");
  }, 60_000);
});
