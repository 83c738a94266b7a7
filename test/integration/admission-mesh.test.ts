/**
 * The second lock with `mesh.mode: chain`, on a real API server: nobody answers at the webhook, and what bears the mesh's name without
 * being the mesh, or runs as it, is refused all the same. The manifest is Istio's as its injector writes it; no Istio is here.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { PROXY_UID } from "#contract/names.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import { findHelm, type Rendered, renderChart } from "../support/chart.ts";
import {
  type Answer,
  type ControlPlane,
  findControlPlane,
  startControlPlane,
  until,
} from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";

const IMAGE = "registry.example/istio/proxyv2@sha256:bbbb";
const VALUES = {
  "images.allowTags": true,
  "certificates.managed": false,
  "certificates.authority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
  "bundle.publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
  "bundle.configMap": "policy",
  "injection.resolvers": ["10.96.0.10"],
};
const CHAIN = { ...VALUES, "mesh.mode": "chain", "mesh.images": [IMAGE] };
const ADMIN = "admin";

const bin = findControlPlane();
const helm = findHelm();
let plane: ControlPlane;
let options: InjectionOptions;

// oxlint-disable-next-line typescript/no-explicit-any -- manifests, reached into at any depth
type Tree = any;

const collectionOf = (object: Rendered): string => {
  const plural = object.kind.endsWith("y") ? `${object.kind.slice(0, -1)}ies` : `${object.kind}s`;
  const base = object.apiVersion.includes("/") ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`;
  const inside = object.metadata.namespace === undefined ? "" : `/namespaces/${object.metadata.namespace}`;
  return `${base}${inside}/${plural.toLowerCase()}`;
};

async function apply(object: Rendered): Promise<void> {
  const { status, body } = await plane.call("POST", collectionOf(object), object);
  if (status !== 201) throw new Error(`${object.kind} ${object.metadata.name}: ${body.message ?? status}`);
}

const settingsOf = (chart: readonly Rendered[]): Rendered =>
  chart.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "sidegate-injection") as Rendered;

beforeAll(async () => {
  if (bin === null || helm === null) return;
  plane = await startControlPlane(bin);
  const chart = renderChart(helm, CHAIN);
  const reading = readOptions(parse((settingsOf(chart)["data"] as Record<string, string>)["options.yaml"] ?? ""));
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  options = reading.options;
  const labels = { sidegate: {}, agents: { "sidegate.dev/inject": "all" }, single: {} } as const;
  const locked = { "sidegate.dev/inject": "all", "sidegate.dev/tier": "locked" };
  for (const [name, its] of Object.entries({ ...labels, locked })) {
    await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: its } });
    await apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } });
  }
  for (const object of chart)
    if (object.kind === "ConfigMap" || object.kind.startsWith("ValidatingAdmissionPolicy")) await apply(object);
  await until(20_000, "the policies", async () => (await create("agents", withMesh())).status === 403);
  const forged = (): Tree => injected((p) => void (proxy(p).image = "evil:1"));
  await until(20_000, "the mesh's policy", async () =>
    /sidegate-mesh/.test((await create("agents", forged())).body.message ?? ""),
  );
});
afterAll(async () => plane?.stop());

function withMesh(): Tree {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "agent", labels: { "sidegate.dev/inject": "true" } },
    spec: {
      initContainers: [
        {
          name: "istio-init",
          image: IMAGE,
          args: ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-b", "*"],
          securityContext: { runAsUser: 0, capabilities: { add: ["NET_ADMIN", "NET_RAW"], drop: ["ALL"] } },
        },
      ],
      containers: [
        {
          name: "istio-proxy",
          image: IMAGE,
          args: [
            "proxy",
            "sidecar",
            "--domain",
            "$(POD_NAMESPACE).svc.cluster.local",
            "--log_output_level=default:info",
          ],
          env: [
            { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            { name: "ISTIO_META_CLUSTER_ID", value: "Kubernetes" },
          ],
          ports: [{ containerPort: 15_090, name: "http-envoy-prom" }],
          readinessProbe: { httpGet: { path: "/healthz/ready", port: 15_021 } },
          securityContext: { runAsUser: 1337, runAsGroup: 1337, readOnlyRootFilesystem: true },
          volumeMounts: [{ name: "istio-envoy", mountPath: "/etc/istio/proxy" }],
        },
        { name: "app", image: "agent:1", ports: [{ containerPort: 8080 }], securityContext: { runAsUser: 1000 } },
      ],
      volumes: [{ name: "istio-envoy", emptyDir: { medium: "Memory" } }],
    },
  };
}

/** As the webhook would have made it; `edit`: what its author writes into it afterwards, by hand. */
function injected(edit: (pod: Tree) => void = () => undefined, from: Tree = withMesh()): Tree {
  const result = injectPod(from, options, () => PROXY_UID.first + 4711, { "sidegate.dev/creator": ADMIN });
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  const pod = structuredClone(result.pod) as Tree;
  edit(pod);
  return pod;
}

const create = (namespace: string, pod: Tree): Promise<Answer> =>
  plane.call("POST", `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod);
const named = (p: Tree, name: string): Tree =>
  [...p.spec.initContainers, ...p.spec.containers].find((c: Tree) => c.name === name);
const proxy = (p: Tree): Tree => named(p, "istio-proxy");
const writer = (p: Tree): Tree => named(p, "istio-init");
const app = (p: Tree): Tree => named(p, "app");
const variable = (p: Tree): Tree => p.spec.initContainers[0].env.find((e: Tree) => e.name === "SIDEGATE_MESH");

async function replaced(path: string, edit: (pod: Tree) => void): Promise<Answer> {
  const { body } = await plane.call("GET", path);
  const pod = structuredClone(body) as Tree;
  edit(pod);
  return plane.call("PUT", `${path}?dryRun=All`, pod);
}

function expectRefused({ status, body }: Answer, why: RegExp): void {
  expect({ status, message: body.message }).toEqual({ status: 403, message: expect.stringMatching(why) as unknown });
}

test("P15: a pod with the mesh passes as the webhook makes it, as a native sidecar too", async (context) => {
  requireThat(
    context,
    bin !== null && helm !== null,
    "no API server: test/e2e/cluster/build.sh and tools/helm/ensure.sh make one",
  );
  expect(await create("agents", injected())).toMatchObject({ status: 201 });
  const native = withMesh();
  native.spec.initContainers.push({ ...native.spec.containers.shift(), restartPolicy: "Always" });
  expect(await create("agents", injected(undefined, native))).toMatchObject({ status: 201 });
  const without = { ...withMesh(), spec: { containers: [{ name: "app", image: "agent:1" }] } };
  expect(await create("agents", injected(undefined, without))).toMatchObject({ status: 201 });
});

describe("P15: what bears the mesh's name and is not the mesh, with the webhook gone", () => {
  test.each<readonly [string, RegExp, (p: Tree) => void]>([
    ["another image", /image/, (p) => void (proxy(p).image = "evil:1")],
    ["another image that writes rules", /image/, (p) => void (writer(p).image = "evil:1")],
    ["a command", /a member/, (p) => void (proxy(p).command = ["sh"])],
    ["a command of who writes rules", /a member/, (p) => void (writer(p).command = ["nft", "flush", "ruleset"])],
    ["other args", /args/, (p) => void (proxy(p).args = ["request"])],
    ["args that begin as two in one", /args/, (p) => void (proxy(p).args = ["proxy\nsidecar"])],
    ["no args", /args/, (p) => void delete proxy(p).args],
    ["other args of who writes rules", /args/, (p) => void (writer(p).args = ["proxy", "sidecar"])],
    ["a hook", /runs a program/, (p) => void (proxy(p).lifecycle = { postStart: { exec: { command: ["sh"] } } })],
    ["a probe that runs", /runs a program/, (p) => void (proxy(p).livenessProbe = { exec: { command: ["sh"] } })],
    ["LD_PRELOAD", /env/, (p) => void proxy(p).env.push({ name: "LD_PRELOAD", value: "/x.so" })],
    ["PATH of who writes rules", /env/, (p) => void (writer(p).env = [{ name: "PATH", value: "/x" }])],
    ["envFrom", /a member/, (p) => void (proxy(p).envFrom = [{ configMapRef: { name: "x" } }])],
    [
      "a mount over its program",
      /volumeMounts/,
      (p) => void proxy(p).volumeMounts.push({ name: "istio-envoy", mountPath: "/usr/local/bin" }),
    ],
    ["a file at its place", /volumeMounts/, (p) => void (proxy(p).volumeMounts[0].subPath = "x")],
    ["another uid", /runAsUser/, (p) => void (proxy(p).securityContext.runAsUser = 1000)],
    ["no uid", /runAsUser/, (p) => void delete proxy(p).securityContext.runAsUser],
    ["a capability", /capability/, (p) => void (proxy(p).securityContext.capabilities.add = ["NET_ADMIN"])],
    ["more capabilities", /capability/, (p) => void writer(p).securityContext.capabilities.add.push("SYS_ADMIN")],
    ["privileged", /privileged/, (p) => void (writer(p).securityContext.privileged = true)],
    ["another seccomp profile", /seccomp/, (p) => void (proxy(p).securityContext.seccompProfile.type = "Unconfined")],
    ["our uid", /gateway's/, (p) => void (writer(p).securityContext.runAsUser = PROXY_UID.first + 4711)],
    ["a terminal", /a member/, (p) => void (proxy(p).stdin = true)],
    ["who writes rules, as a sidecar", /they may write rules/, (p) => void (writer(p).restartPolicy = "Always")],
    [
      "who writes rules, for as long as the pod runs",
      /they may write rules/,
      (p) => void p.spec.containers.push(p.spec.initContainers.pop()),
    ],
    ["its init alone", /not in this pod|differs/, (p) => void p.spec.containers.shift()],
    [
      "it alone among the containers",
      /none but/,
      (p) => {
        p.spec.initContainers.push({ ...app(p), restartPolicy: "Always" });
        p.spec.containers.pop();
      },
    ],
  ])("is refused: %s", async (_, why, edit) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
});

describe("P15: everybody else beside the mesh, with the webhook gone", () => {
  test.each<readonly [string, RegExp, (p: Tree) => void]>([
    ["runs as the mesh's uid", /runAsUser/, (p) => void (app(p).securityContext.runAsUser = 1337)],
    [
      "runs as the pod's uid, which is the mesh's",
      /runAsUser/,
      (p) => {
        delete app(p).securityContext.runAsUser;
        p.spec.securityContext = { runAsUser: 1337 };
      },
    ],
    ["leaves its uid to its image", /runAsUser/, (p) => void delete app(p).securityContext.runAsUser],
    [
      "mounts the mesh's folder",
      /volumeMounts/,
      (p) => void app(p).volumeMounts.push({ name: "istio-envoy", mountPath: "/mnt" }),
    ],
    ["takes a port of the mesh's", /ports/, (p) => void app(p).ports.push({ containerPort: 15_001 })],
    ["has a capability", /capabilities/, (p) => void (app(p).securityContext.capabilities.add = ["SETUID"])],
  ])("is refused: %s", async (_, why, edit) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
});

describe("P15: what init is told", () => {
  test.each<readonly [string, (p: Tree) => void]>([
    ["another uid", (p) => void (variable(p).value = "1000:15001")],
    ["other ports", (p) => void (variable(p).value = "1337:9")],
    ["nothing, beside the mesh", (p) => void delete variable(p).value],
  ])("is refused: %s", async (_, edit) => {
    expectRefused(await create("agents", injected(edit)), /initContainers\[0\]/);
  });
  test("is refused: the mesh's uid where the mesh is not", async () => {
    const without = { ...withMesh(), spec: { containers: [{ name: "app", image: "agent:1" }] } };
    const told = injected((p) => void (variable(p).value = "1337:15001"), without);
    expectRefused(await create("agents", told), /initContainers\[0\]/);
  });
});

describe("P15: where no mesh is chained", () => {
  test("in a namespace that is not ours as a whole, a labelled pod's mesh is refused", async () => {
    expectRefused(await create("single", injected()), /a mesh would redirect|initContainers\[0\]/);
  });
  test("in tier locked the mesh is refused", async () => {
    expectRefused(await create("locked", injected()), /tier locked|initContainers/);
  });
});

describe("P15: a running pod", () => {
  const base = "/api/v1/namespaces/agents/pods";
  const path = `${base}/running`;
  const debug = {
    name: "debug",
    image: "x",
    securityContext: {
      runAsUser: 1000,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
  beforeAll(async () => {
    if (plane === undefined) return;
    const made = await plane.call("POST", base, {
      ...injected(),
      metadata: { ...injected().metadata, name: "running" },
    });
    if (made.status !== 201) throw new Error(made.body.message);
  });
  const setImage = (list: string, name: string, image: string): Promise<Answer> =>
    replaced(path, (p) => void (p.spec[list].find((c: Tree) => c.name === name).image = image));
  const look = (container: Tree): Promise<Answer> =>
    plane.call("PATCH", `${path}/ephemeralcontainers?dryRun=All`, { spec: { ephemeralContainers: [container] } });

  test("keeps the mesh's images", async () => {
    expectRefused(await setImage("containers", "istio-proxy", "evil:1"), /image/);
    expectRefused(await setImage("initContainers", "istio-init", "evil:1"), /image/);
    expect((await setImage("containers", "app", "agent:2")).status).toBe(200);
  });
  test("takes no debug container as the mesh's uid or into its process", async () => {
    expect((await look(debug)).status).toBe(200);
    expectRefused(await look({ ...debug, targetContainerName: "istio-proxy" }), /targetContainerName/);
    const as = { ...debug, securityContext: { ...debug.securityContext, runAsUser: 1337 } };
    expectRefused(await look(as), /runAsUser/);
    expectRefused(await look({ ...debug, name: "istio-validation" }), /mesh/);
  });
  test("nobody executes in or attaches to the mesh's proxy", async () => {
    for (const way of ["exec?command=sh&", "attach?"])
      expectRefused(await plane.call("POST", `${path}/${way}container=istio-proxy`), /nobody goes in there/);
    expect((await plane.call("POST", `${path}/exec?command=sh&container=app`)).body.message ?? "").not.toMatch(
      /sidegate/,
    );
  });
});

test("P15: back to mode deny, the mesh is refused by name, and what runs keeps its images", async () => {
  if (helm === null) throw new Error("unreachable: the first test of this file needs it");
  const settings = settingsOf(renderChart(helm, VALUES));
  const path = `/api/v1/namespaces/sidegate/configmaps/sidegate-injection`;
  expect((await plane.call("PUT", path, settings)).status).toBe(200);
  await until(20_000, "mode deny", async () =>
    /a mesh would redirect the same connections|initContainers\[0\]/.test(
      (await create("agents", injected())).body.message ?? "",
    ),
  );
  const running = "/api/v1/namespaces/agents/pods/running";
  expectRefused(await replaced(running, (p) => void (proxy(p).image = "evil:1")), /image/);
});
