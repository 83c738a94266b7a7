/**
 * Custom resource definitions over an upgrade, on a real API server: the controller with exactly the rights that the chart gives it
 * brings up what an older release left, leaves what a newer one wrote, and can do nothing else with those rights.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { stringify } from "yaml";
import { customResources } from "#contract/custom-resources.ts";
import { VERSION } from "#contract/version.ts";
import { findHelm, renderChart } from "../support/chart.ts";
import { until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, type Started, startLab } from "./controller-lab.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- definitions, reached into at any depth
type Tree = any;
const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DIGESTS = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};
const CONTROLLER = "system:serviceaccount:sidegate:sidegate-controller";
const helm = findHelm();
const ready = POSSIBLE && helm !== null;
let lab: Lab;

function needed(context: TestContext): void {
  requireThat(context, ready, helm === null ? "no helm: tools/helm/ensure.sh gets one" : NEEDED);
}

const definition = (name: string): Tree =>
  structuredClone(customResources().find(({ metadata }) => metadata.name === name)) as Tree;
const schemaOf = (one: Tree): Tree => one.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties;

/** The rights that the chart renders, and a kubeconfig with that account's token. */
async function asInstalled(upgrade: boolean): Promise<string> {
  for (const object of renderChart(helm ?? "", { ...DIGESTS, "crds.upgrade": upgrade }))
    if (/^(ServiceAccount|(Cluster)?Role(Binding)?)$/.test(object.kind)) lab.apply(object);
  const { body } = await lab.plane.call(
    "POST",
    "/api/v1/namespaces/sidegate/serviceaccounts/sidegate-controller/token",
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  );
  const { token } = body["status"] as { readonly token: string };
  const file = path.join(lab.plane.pki, "controller.conf");
  const cluster = { server: lab.plane.url, "certificate-authority": path.join(lab.plane.pki, "ca.crt") };
  writeFileSync(
    file,
    stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster }],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  return file;
}

async function replace(one: Tree): Promise<void> {
  const { body } = await lab.plane.call("GET", `${DEFINITIONS}/${one.metadata.name}`);
  one.metadata.resourceVersion = (body["metadata"] as Tree).resourceVersion;
  const { status, body: said } = await lab.plane.call("PUT", `${DEFINITIONS}/${one.metadata.name}`, one);
  if (status !== 200) throw new Error(said.message);
}

/** As a release before releases were written down had it: without a field. */
async function older(): Promise<void> {
  const one = definition("egresstargets.sidegate.dev");
  delete one.metadata.annotations["sidegate.dev/release"];
  delete schemaOf(one).verify;
  delete schemaOf(one).credential;
  one.spec.versions[0].schema.openAPIV3Schema.properties.spec["x-kubernetes-validations"] = [];
  await replace(one);
}

const said = (one: Started, event: string): Tree[] => one.lines.filter((line) => line["event"] === event);

beforeAll(async () => {
  if (!ready) return;
  lab = await startLab();
});
afterAll(() => lab?.stop());

describe("over an upgrade", () => {
  test("older definitions and a missing one are brought up before anything is served, and a newer one is left as it is", async (context) => {
    needed(context);
    await older();
    await lab.plane.call("DELETE", `${DEFINITIONS}/freezes.sidegate.dev`);
    await until(10_000, "the definition is gone", async () => {
      const { status } = await lab.plane.call("GET", `${DEFINITIONS}/freezes.sidegate.dev`);
      return status === 404;
    });
    const newer = definition("agentpolicies.sidegate.dev");
    newer.metadata.annotations["sidegate.dev/release"] = "99.0.0";
    schemaOf(newer).quota = { type: "integer" };
    const [first] = newer.spec.versions;
    newer.spec.versions = [
      { ...structuredClone(first), storage: false },
      { ...structuredClone(first), name: "v1beta1" },
    ];
    await replace(newer);

    const kubeconfig = await asInstalled(true);
    const one = lab.start("controller", "one", { SIDEGATE_KUBECONFIG: kubeconfig });
    await one.port;
    const names = one.lines.map((line) => line["event"]);
    expect(names.indexOf("definition written")).toBeLessThan(names.indexOf("serving"));
    expect(said(one, "definition written").map(({ name, how, from, to }) => [name, how, from, to])).toEqual([
      ["egresstargets.sidegate.dev", "upgraded", "", VERSION],
      ["freezes.sidegate.dev", "made", "", VERSION],
    ]);
    expect(said(one, "definition written")[0].differs).toContain("spec.versions[0].schema");
    expect(said(one, "definitions of a newer release are left alone")[0].which).toMatch(/agentpolicies.*99\.0\.0/);
    const now: Tree = await lab.get(`${DEFINITIONS}/egresstargets.sidegate.dev`);
    expect(schemaOf(now).credential).toEqual(schemaOf(definition("egresstargets.sidegate.dev")).credential);
    expect(now.metadata.annotations).toMatchObject({
      "sidegate.dev/release": VERSION,
      "helm.sh/resource-policy": "keep",
    });
    const left: Tree = await lab.get(`${DEFINITIONS}/agentpolicies.sidegate.dev`);
    expect(left.spec.versions.map(({ name }: Tree) => name)).toEqual(["v1alpha1", "v1beta1"]);
  });

  test("a policy that uses what only the newer release knows is refused by the older controller, others work", async (context) => {
    needed(context);
    const policy = (name: string, more: object): object => ({
      apiVersion: "sidegate.dev/v1beta1",
      kind: "AgentPolicy",
      metadata: { namespace: "team", name },
      spec: { module: `package sidegate.policy.${name}\n\nallow if input.action == "read"\n`, ...more },
    });
    lab.apply(policy("plain", {}));
    lab.apply(policy("quoted", { quota: 3 }));
    const conditionOf = async (name: string): Promise<Tree> =>
      (
        (await lab.get(`/apis/sidegate.dev/v1alpha1/namespaces/team/agentpolicies/${name}`)) as Tree
      ).status?.conditions?.find(({ type }: Tree) => type === "Ready");
    await until(20_000, "both have a status", async () =>
      (await Promise.all(["plain", "quoted"].map(conditionOf))).every((one) => one !== undefined),
    );
    expect(await conditionOf("quoted")).toMatchObject({
      status: "False",
      message: expect.stringMatching(/spec/) as string,
    });
    await until(20_000, "the plain one is Ready", async () => (await conditionOf("plain")).status === "True");
  });

  test("the rights for it make, change and delete no other definition, and do not delete ours", async (context) => {
    needed(context);
    const as = { user: CONTROLLER, groups: ["system:serviceaccounts", "system:authenticated"] };
    const other = definition("freezes.sidegate.dev");
    other.metadata = { name: "frosts.sidegate.dev" };
    other.spec.names = { kind: "Frost", plural: "frosts", singular: "frost", shortNames: [], categories: [] };
    const call = async (method: string, name: string, body?: unknown): Promise<number> =>
      (await lab.plane.call(method, `${DEFINITIONS}${name}`, body, as)).status;
    expect(await call("POST", "", other)).toBe(403);
    expect(await call("PUT", "/frosts.sidegate.dev", other)).toBe(403);
    expect(await call("PATCH", "/frosts.sidegate.dev", {})).toBe(403);
    expect(await call("GET", "")).toBe(403);
    expect(await call("DELETE", "/freezes.sidegate.dev")).toBe(403);
    expect(await call("GET", "/freezes.sidegate.dev")).toBe(200);
  });

  test("where the values leave it to others, a controller does not start on an older one, says so, and writes nothing", async (context) => {
    needed(context);
    for (const one of lab.running) await lab.end(one, "SIGTERM");
    await older();
    const kubeconfig = await asInstalled(false);
    const refused = lab.start("controller", "two", {
      SIDEGATE_KUBECONFIG: kubeconfig,
      SIDEGATE_DEFINITIONS_BY: "others",
    });
    await expect(refused.port).rejects.toThrow(
      /CustomResourceDefinition egresstargets\.sidegate\.dev is older than this release \(it says none\).*kubectl apply --server-side/,
    );
    expect(refused.child.exitCode).toBe(70);
    // It tries all the same, without the right.
    const unable = lab.start("controller", "three", { SIDEGATE_KUBECONFIG: kubeconfig });
    await expect(unable.port).rejects.toThrow(/egresstargets.*cannot patch resource.*crds\.upgrade: false/);
    const now: Tree = await lab.get(`${DEFINITIONS}/egresstargets.sidegate.dev`);
    expect(schemaOf(now).credential).toBeUndefined();
    lab.apply(definition("egresstargets.sidegate.dev"));
    const three = lab.start("controller", "four", {
      SIDEGATE_KUBECONFIG: kubeconfig,
      SIDEGATE_DEFINITIONS_BY: "others",
    });
    expect(await three.port).toBeGreaterThan(0);
    expect(said(three, "definition written")).toEqual([]);
  });
});

test("the chart names exactly the definitions that it brings", (context) => {
  needed(context);
  for (const upgrade of [true, false]) {
    const role = renderChart(helm ?? "", { ...DIGESTS, "crds.upgrade": upgrade }).find(
      ({ kind, metadata }) => kind === "ClusterRole" && metadata.name === "sidegate-controller",
    ) as Tree;
    const rules = role.rules.filter(({ resources }: Tree) => resources.includes("customresourcedefinitions"));
    expect(rules).toEqual([
      {
        apiGroups: ["apiextensions.k8s.io"],
        resources: ["customresourcedefinitions"],
        resourceNames: customResources()
          .map(({ metadata }) => metadata.name)
          .toSorted(),
        verbs: upgrade ? ["get", "create", "patch"] : ["get"],
      },
    ]);
  }
});
