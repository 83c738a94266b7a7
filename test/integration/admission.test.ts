/**
 * The second lock on a real API server: what a pod's author tries while nobody answers at the webhook. Each attempt is refused by
 * the admission policies of the chart alone, and whoever has not opted in notices nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ANNOTATION, CONTAINER, PATHS, PROXY_UID, VOLUME } from "#contract/names.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import { POD_CONTROLLERS } from "#injection/owner.ts";
import { findHelm, type Rendered, renderChart } from "../support/chart.ts";
import {
  type Answer,
  type As,
  type ControlPlane,
  findControlPlane,
  startControlPlane,
  until,
} from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";

const VALUES = {
  "images.allowTags": true,
  "certificates.managed": false,
  "certificates.authority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
  "bundle.publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
  "bundle.configMap": "policy",
  "injection.resolvers": ["10.96.0.10"],
  "injection.runtimeClasses": ["runc-like"],
  "guard.users": ["argo"],
  "identity.deployers": ["flux"],
  exemptions: [
    { namespace: "agents", serviceAccount: "exempt", reason: "a test", until: "2199-12-31" },
    { namespace: "agents", serviceAccount: "was-exempt", reason: "a test", until: "2020-12-31" },
  ],
};
const ADMIN = "admin";
const AUTHOR: As = { user: "ada", groups: ["system:masters", "system:authenticated"] };

const bin = findControlPlane();
const helm = findHelm();
let plane: ControlPlane;
let chart: Rendered[];
let options: InjectionOptions;

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

async function makeNamespace(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  for (const account of ["default", "exempt", "was-exempt"])
    await apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: account, namespace: name } });
}

beforeAll(async () => {
  if (bin === null || helm === null) return;
  plane = await startControlPlane(bin);
  chart = renderChart(helm, VALUES);
  const settings = chart.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "sidegate-injection");
  const { parse } = await import("yaml");
  const reading = readOptions(
    parse((settings?.["data"] as Record<string, string> | undefined)?.["options.yaml"] ?? ""),
  );
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  options = reading.options;
  await makeNamespace("sidegate", {});
  await makeNamespace("agents", { "sidegate.dev/inject": "all" });
  await makeNamespace("locked", { "sidegate.dev/inject": "all", "sidegate.dev/tier": "locked" });
  await makeNamespace("free", {});
  for (const object of chart)
    if (object.kind === "ConfigMap" || object.kind.startsWith("ValidatingAdmissionPolicy")) await apply(object);
  // A policy is in force a moment after it is stored.
  await until(20_000, "the policies", async () => (await create("agents", plain())).status === 403);
  await until(
    20_000,
    "the locks",
    async () =>
      (
        await plane.call(
          "PATCH",
          "/api/v1/namespaces/agents?dryRun=All",
          { metadata: { labels: { "sidegate.dev/inject": null } } },
          { user: "ben", groups: ["system:authenticated", "ns-admins"] },
        )
      ).status !== 200,
  );
});
afterAll(async () => plane?.stop());

// Attempts reach into pods at any depth.
// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
type Tree = any;

function plain(): Tree {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "agent", labels: { app: "agent" } },
    spec: { containers: [{ name: "app", image: "agent:1", ports: [{ containerPort: 8080 }] }] },
  };
}

/** As the webhook would have made it. `edit`: what its author writes into it afterwards, by hand. */
function injected(
  edit: (pod: Tree) => void = () => undefined,
  from: Tree = plain(),
  tier: "enforced" | "locked" = "enforced",
): Tree {
  const result = injectPod(from, { ...options, tier }, () => PROXY_UID.first + 4_711, {
    "sidegate.dev/creator": ADMIN,
  });
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  const pod = structuredClone(result.pod) as Tree;
  edit(pod);
  return pod;
}

const create = (namespace: string, pod: Tree, as?: As): Promise<Answer> =>
  plane.call("POST", `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod, as);

function expectRefused(answer: Answer, why: RegExp): void {
  expect({ status: answer.status, message: answer.body.message }).toEqual({
    status: 403,
    message: expect.stringMatching(why) as unknown,
  });
}

const init = (pod: Tree): Tree => pod.spec.initContainers[0];
const sidecar = (pod: Tree): Tree => pod.spec.initContainers[1];
const app = (pod: Tree): Tree => pod.spec.containers[0];

interface Attempt {
  readonly what: string;
  readonly edit: (pod: Tree) => void;
  readonly why: RegExp;
}
const attempt = (what: string, why: RegExp, edit: (pod: Tree) => void): Attempt => ({ what, why, edit });

const INIT = /initContainers\[0\]/;
const SIDECAR = /initContainers\[1\]/;

const LOOK_ALIKES: readonly Attempt[] = [
  attempt("another image of init", INIT, (p) => void (init(p).image = "evil:1")),
  attempt("another image of the sidecar", SIDECAR, (p) => void (sidecar(p).image = "evil:1")),
  attempt("another command", SIDECAR, (p) => void (sidecar(p).command = ["sleep", "infinity"])),
  attempt("a command that ends at once", INIT, (p) => void (init(p).command = ["true"])),
  attempt("args", SIDECAR, (p) => void (sidecar(p).args = ["--inspect"])),
  attempt(
    "NODE_OPTIONS",
    SIDECAR,
    (p) => void (sidecar(p).env[0] = { name: "NODE_OPTIONS", value: "--import=/evil.mjs" }),
  ),
  attempt("one variable more", SIDECAR, (p) => sidecar(p).env.push({ name: "LD_PRELOAD", value: "/evil.so" })),
  attempt("a variable twice", SIDECAR, (p) => sidecar(p).env.push({ name: "SIDEGATE_BUNDLE", value: "https://evil" })),
  attempt("one variable less", SIDECAR, (p) => sidecar(p).env.pop()),
  attempt("envFrom", SIDECAR, (p) => void (sidecar(p).envFrom = [{ configMapRef: { name: "evil" } }])),
  attempt(
    "another collector",
    SIDECAR,
    (p) => void (byName(sidecar(p).env, "SIDEGATE_COLLECTOR").value = "https://evil"),
  ),
  attempt(
    "another authority",
    /SIDEGATE_COLLECTOR_CA/,
    (p) => void (byName(sidecar(p).env, "SIDEGATE_COLLECTOR_CA").value = "evil"),
  ),
  attempt(
    "another bundle key",
    /SIDEGATE_BUNDLE_KEY/,
    (p) => void (byName(sidecar(p).env, "SIDEGATE_BUNDLE_KEY").value = "evil"),
  ),
  attempt(
    "other resolvers",
    /SIDEGATE_RESOLVERS/,
    (p) => void (byName(sidecar(p).env, "SIDEGATE_RESOLVERS").value = "192.0.2.1"),
  ),
  attempt("a lower tier", SIDECAR, (p) => void (byName(sidecar(p).env, "SIDEGATE_TIER").value = "advisory")),
  attempt("rules for another uid", INIT, (p) => void (byName(init(p).env, "SIDEGATE_UID").value = "0")),
  attempt("another uid", SIDECAR, (p) => void (sidecar(p).securityContext.runAsUser = 1000)),
  attempt("a uid outside the range, everywhere", /proxy-uid/, (p) => {
    p.metadata.annotations["sidegate.dev/proxy-uid"] = "1000000000";
    byName(init(p).env, "SIDEGATE_UID").value = "1000000000";
    sidecar(p).securityContext.runAsUser = 1_000_000_000;
    sidecar(p).securityContext.runAsGroup = 1_000_000_000;
  }),
  attempt(
    "a capability of the sidecar",
    SIDECAR,
    (p) => void (sidecar(p).securityContext.capabilities.add = ["NET_ADMIN"]),
  ),
  attempt("a writable root", SIDECAR, (p) => void (sidecar(p).securityContext.readOnlyRootFilesystem = false)),
  attempt("lifecycle", SIDECAR, (p) => void (sidecar(p).lifecycle = { postStart: { exec: { command: ["sh"] } } })),
  attempt("one mount more", SIDECAR, (p) => {
    p.spec.volumes.push({ name: "evil", emptyDir: {} });
    sidecar(p).volumeMounts.push({ name: "evil", mountPath: "/app" });
  }),
  attempt("another probe", SIDECAR, (p) => void (sidecar(p).startupProbe = { exec: { command: ["true"] } })),
  attempt("a readiness probe", SIDECAR, (p) => void (sidecar(p).readinessProbe = { exec: { command: ["true"] } })),
  attempt("no restart", SIDECAR, (p) => {
    delete sidecar(p).restartPolicy;
    delete sidecar(p).startupProbe;
  }),
  attempt("a working folder", SIDECAR, (p) => void (sidecar(p).workingDir = "/tmp")),
  attempt("stdin", SIDECAR, (p) => void (sidecar(p).stdin = true)),
  attempt("a device", /device/, (p) => void (sidecar(p).resources.limits["evil.example/nic"] = "1")),
];

const byName = (list: Tree[], name: string): Tree => list.find((item) => item.name === name);

const ORDER: readonly Attempt[] = [
  attempt("no gateway at all", /missing|gateway's/, (p) => void delete p.spec.initContainers),
  attempt("the sidecar alone", /missing/, (p) => void p.spec.initContainers.shift()),
  attempt("the other way round", /missing/, (p) => void (p.spec.initContainers = p.spec.initContainers.toReversed())),
  attempt("an init container before ours", /missing/, (p) =>
    p.spec.initContainers.unshift({ ...app(p), name: "first" }),
  ),
  attempt("our names among the containers only", /missing|gateway's/, (p) => {
    p.spec.initContainers = [];
    p.spec.containers.push({ ...app(p), name: CONTAINER.sidecar, image: "evil:1", ports: [] });
  }),
  attempt("no stamp", /injected/, (p) => void delete p.metadata.annotations["sidegate.dev/injected"]),
  attempt("a forged creator", /creator/, (p) => void (p.metadata.annotations["sidegate.dev/creator"] = "somebody")),
  attempt("no creator", /creator/, (p) => void delete p.metadata.annotations["sidegate.dev/creator"]),
  attempt(
    "the service account's token",
    /automountServiceAccountToken|differs/,
    (p) => void (p.spec.automountServiceAccountToken = true),
  ),
];

const PRIVILEGES: readonly Attempt[] = [
  attempt("hostNetwork", /hostNetwork/, (p) => void (p.spec.hostNetwork = true)),
  attempt("hostPID", /hostPID/, (p) => void (p.spec.hostPID = true)),
  attempt("hostIPC", /hostIPC/, (p) => void (p.spec.hostIPC = true)),
  attempt("a user namespace", /hostUsers/, (p) => void (p.spec.hostUsers = false)),
  attempt("a shared process namespace", /shareProcessNamespace/, (p) => void (p.spec.shareProcessNamespace = true)),
  attempt("a port of the node", /ports/, (p) => void (app(p).ports[0].hostPort = 8080)),
  attempt("privileged", /privileged|allowPrivilegeEscalation/, (p) => {
    app(p).securityContext.privileged = true;
    app(p).securityContext.allowPrivilegeEscalation = true;
  }),
  attempt("a capability", /capabilities/, (p) => void (app(p).securityContext.capabilities.add = ["NET_ADMIN"])),
  attempt("capabilities kept", /capabilities/, (p) => void (app(p).securityContext.capabilities = {})),
  attempt(
    "new privileges",
    /allowPrivilegeEscalation/,
    (p) => void delete app(p).securityContext.allowPrivilegeEscalation,
  ),
  attempt("procMount", /procMount|hostUsers/, (p) => {
    p.spec.hostUsers = false; // the API server itself asks for it
    app(p).securityContext.procMount = "Unmasked";
  }),
  attempt("seccomp Unconfined", /seccomp/, (p) => void (app(p).securityContext.seccompProfile.type = "Unconfined")),
  attempt(
    "seccomp Unconfined of the pod",
    /seccomp/,
    (p) => void (p.spec.securityContext = { seccompProfile: { type: "Unconfined" } }),
  ),
  attempt(
    "AppArmor Unconfined",
    /appArmor/,
    (p) => void (app(p).securityContext.appArmorProfile = { type: "Unconfined" }),
  ),
  attempt("SELinux type", /seLinux/, (p) => void (app(p).securityContext.seLinuxOptions = { type: "spc_t" })),
  attempt(
    "sysctls",
    /sysctls/,
    (p) => void (p.spec.securityContext = { sysctls: [{ name: "net.ipv4.ip_forward", value: "1" }] }),
  ),
  attempt("the gateway's uid", /runAsUser/, (p) => void (app(p).securityContext.runAsUser = PROXY_UID.first + 4_711)),
  attempt(
    "the gateway's uid, for the pod",
    /runAsUser/,
    (p) => void (p.spec.securityContext = { runAsUser: PROXY_UID.last }),
  ),
  attempt("a port of the gateway", /ports/, (p) => app(p).ports.push({ containerPort: 15_801 })),
  attempt(
    "a device claim",
    /resourceClaims/,
    (p) => void (p.spec.resourceClaims = [{ name: "nic", resourceClaimName: "nic" }]),
  ),
  attempt(
    "an extended resource",
    /resources/,
    (p) => void (app(p).resources = { limits: { "evil.example/nic": "1" } }),
  ),
  attempt("a mesh", /mesh/, (p) => p.spec.containers.push({ ...app(p), name: "istio-proxy", ports: [] })),
  attempt("an own init container with a capability", /capabilities/, (p) =>
    p.spec.initContainers.push({
      ...structuredClone(app(p)),
      name: "later",
      ports: [],
      securityContext: { ...app(p).securityContext, capabilities: { drop: ["ALL"], add: ["SYS_ADMIN"] } },
    }),
  ),
];

const THROUGH_THE_KUBELET: readonly Attempt[] = [
  attempt("hostPath", /volumes/, (p) => p.spec.volumes.push({ name: "x", hostPath: { path: "/" } })),
  attempt("nfs", /volumes/, (p) => p.spec.volumes.push({ name: "x", nfs: { server: "192.0.2.1", path: "/" } })),
  attempt("iscsi", /volumes/, (p) =>
    p.spec.volumes.push({ name: "x", iscsi: { targetPortal: "192.0.2.1", iqn: "iqn.2020-01.a:b", lun: 0 } }),
  ),
  attempt("cephfs", /volumes/, (p) => p.spec.volumes.push({ name: "x", cephfs: { monitors: ["192.0.2.1"] } })),
  attempt("inline csi", /volumes/, (p) => p.spec.volumes.push({ name: "x", csi: { driver: "evil.example" } })),
  attempt("a probe's host", /host/, (p) => void (app(p).livenessProbe = { httpGet: { host: "192.0.2.1", port: 80 } })),
  attempt(
    "a probe's TCP host",
    /host/,
    (p) => void (app(p).startupProbe = { tcpSocket: { host: "192.0.2.1", port: 80 } }),
  ),
  attempt(
    "a lifecycle handler's host",
    /host/,
    (p) => void (app(p).lifecycle = { preStop: { httpGet: { host: "192.0.2.1", port: 80 } } }),
  ),
];

const VOLUMES: readonly Attempt[] = [
  ...[VOLUME.state, VOLUME.token].map((name) =>
    attempt(`${name} in the agent`, /volumeMounts/, (p) => app(p).volumeMounts.push({ name, mountPath: "/mnt" })),
  ),
  attempt("the trust volume, writable", /volumeMounts/, (p) =>
    app(p).volumeMounts.push({ name: VOLUME.trust, mountPath: "/mnt" }),
  ),
  attempt("the trust volume by another subPath", /volumeMounts/, (p) =>
    app(p).volumeMounts.push({ name: VOLUME.trust, mountPath: "/mnt", readOnly: true, subPathExpr: "$(X)" }),
  ),
  attempt("a folder over ours", /volumeMounts/, (p) => {
    p.spec.volumes.push({ name: "x", emptyDir: {} });
    app(p).volumeMounts.push({ name: "x", mountPath: "/run/sidegate/token" });
  }),
  attempt("the trust volume from a ConfigMap", new RegExp(VOLUME.trust), (p) => {
    const at = p.spec.volumes.findIndex((v: Tree) => v.name === VOLUME.trust);
    p.spec.volumes[at] = { name: VOLUME.trust, configMap: { name: "evil" } };
  }),
  attempt(
    "the state volume on disk",
    new RegExp(VOLUME.state),
    (p) => void (byName(p.spec.volumes, VOLUME.state).emptyDir = {}),
  ),
  attempt(
    "a token of longer life",
    new RegExp(VOLUME.token),
    (p) =>
      void (byName(p.spec.volumes, VOLUME.token).projected.sources[0].serviceAccountToken.expirationSeconds = 86_400),
  ),
];

describe("a pod as the webhook makes it", () => {
  test("passes, in tier enforced and in tier locked", async (context) => {
    requireThat(
      context,
      bin !== null && helm !== null,
      "no API server: test/e2e/cluster/build.sh and tools/helm/ensure.sh make one",
    );
    expect(await create("agents", injected())).toMatchObject({ status: 201 });
    const named = plain();
    named.spec.containers[0].securityContext = { runAsUser: 1000 };
    expect(await create("locked", injected(undefined, named, "locked"))).toMatchObject({ status: 201 });
  });

  test("passes with init containers, volumes and probes of its own, and with a LimitRange's defaults", async () => {
    const pod = plain();
    pod.spec.initContainers = [{ name: "prepare", image: "agent:1", command: ["true"] }];
    pod.spec.volumes = [
      { name: "data", persistentVolumeClaim: { claimName: "data" } },
      { name: "scratch", emptyDir: {} },
    ];
    pod.spec.containers[0].volumeMounts = [{ name: "data", mountPath: "/data" }];
    pod.spec.containers[0].livenessProbe = { httpGet: { path: "/", port: 8081 } };
    pod.spec.runtimeClassName = "runc-like";
    const made = injected((p) => void (sidecar(p).resources.limits["cpu"] = "1"), pod);
    delete made.spec.runtimeClassName; // there is no such class here; the policies saw it in the test below
    expect(await create("agents", made)).toMatchObject({ status: 201 });
  });

  test("is refused in tier locked when it says that it is of tier enforced", async () => {
    const named = plain();
    named.spec.containers[0].securityContext = { runAsUser: 1000 };
    expectRefused(await create("locked", injected(undefined, named)), SIDECAR);
  });
});

describe("THREATS P1: a look-alike of the gateway", () => {
  test.each(LOOK_ALIKES)("is refused: $what", async ({ edit, why }) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
});

describe("THREATS P5: order, names and stamps", () => {
  test.each(ORDER)("is refused: $what", async ({ edit, why }) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
  test("an opt-out label changes nothing in a namespace that has opted in", async () => {
    const pod = plain();
    pod.metadata.labels["sidegate.dev/inject"] = "false";
    expectRefused(await create("agents", pod), /missing/);
  });
  test("generateName changes nothing", async () => {
    const pod = plain();
    delete pod.metadata.name;
    pod.metadata.generateName = "agent-";
    expectRefused(await create("agents", pod), /missing/);
  });
});

describe("THREATS P6: privileges and the node's namespaces", () => {
  test.each(PRIVILEGES)("is refused: $what", async ({ edit, why }) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
});

describe("THREATS P7: a way out through the kubelet", () => {
  test.each(THROUGH_THE_KUBELET)("is refused: $what", async ({ edit, why }) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
});

describe("THREATS P8: the pod's own resolver settings", () => {
  const settings: readonly Attempt[] = [
    attempt("dnsPolicy None", /dnsPolicy|dnsConfig/, (p) => {
      p.spec.dnsPolicy = "None";
      p.spec.dnsConfig = { nameservers: ["192.0.2.1"] };
    }),
    attempt("dnsConfig", /dnsConfig/, (p) => void (p.spec.dnsConfig = { options: [{ name: "ndots", value: "1" }] })),
    attempt(
      "hostAliases",
      /hostAliases/,
      (p) => void (p.spec.hostAliases = [{ ip: "192.0.2.1", hostnames: ["api.example"] }]),
    ),
  ];
  test.each(settings)(
    "is refused in tier locked, and reaches no sidecar in tier enforced: $what",
    async ({ edit, why }) => {
      const named = plain();
      named.spec.containers[0].securityContext = { runAsUser: 1000 };
      expectRefused(await create("locked", injected(edit, named, "locked")), why);
      expect(await create("agents", injected(edit))).toMatchObject({ status: 201 });
    },
  );
});

describe("THREATS P9: the gateway's volumes in other hands", () => {
  test.each(VOLUMES)("is refused: $what", async ({ edit, why }) => {
    expectRefused(await create("agents", injected(edit)), why);
  });
  test("a volume over the trust files does not replace what the sidecar wrote", () => {
    expect(PATHS.trust).toMatch(/^\/var\/run\/sidegate\//);
  });
});

describe("THREATS P11: nobody answers at the webhook", () => {
  test("an agent's pod is refused by the policies alone; a labelled one in any namespace too", async () => {
    expectRefused(await create("agents", plain()), /sidegate-gateway.*missing/s);
    const labelled = plain();
    labelled.metadata.labels["sidegate.dev/inject"] = "true";
    expectRefused(await create("free", labelled), /missing/);
  });

  test("who has not opted in notices nothing, whatever the pod asks for", async () => {
    expect(await create("free", plain())).toMatchObject({ status: 201 });
    const pod = plain();
    pod.spec.hostNetwork = true;
    pod.spec.containers[0].securityContext = { privileged: true };
    pod.spec.volumes = [{ name: "x", hostPath: { path: "/" } }];
    delete pod.spec.containers[0].ports;
    expect(await create("free", pod)).toMatchObject({ status: 201 });
  });

  test("its configuration refuses as well while it is dead, and asks about nobody else", async () => {
    const webhooks = chart.filter(({ kind }) => kind.endsWith("WebhookConfiguration"));
    expect(webhooks.map(({ kind }) => kind)).toEqual([
      "MutatingWebhookConfiguration",
      "ValidatingWebhookConfiguration",
    ]);
    for (const object of webhooks) await apply(object);
    try {
      await until(20_000, "the webhook's configuration", async () =>
        /failed calling webhook/.test((await create("agents", plain())).body.message ?? ""),
      );
      expect(await create("free", plain())).toMatchObject({ status: 201 });
      expect(await create("sidegate", plain())).toMatchObject({ status: 201 });
      expect(
        await create("kube-system", { ...plain(), metadata: { name: "x", labels: { "sidegate.dev/inject": "true" } } }),
      ).not.toMatchObject({ status: 500 });
    } finally {
      for (const object of webhooks) await plane.call("DELETE", `${collectionOf(object)}/${object.metadata.name}`);
    }
    // Their configuration is gone: still refused.
    await until(20_000, "the end of the webhook's configuration", async () =>
      /sidegate-gateway/.test((await create("agents", plain())).body.message ?? ""),
    );
  });

  test("without the parameters of the policies nothing is let through", async () => {
    const file = chart.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "sidegate-runtime");
    if (file === undefined) throw new Error("no parameters");
    await plane.call("DELETE", `${collectionOf(file)}/${file.metadata.name}`);
    try {
      await until(20_000, "the missing parameters", async () =>
        /no params found/.test((await create("agents", injected())).body.message ?? ""),
      );
    } finally {
      await apply(file);
    }
    await until(20_000, "the parameters", async () => (await create("agents", injected())).status === 201);
  });
});

describe("what happens to a pod that runs", () => {
  const pod = "/api/v1/namespaces/agents/pods/running";
  const patch = (body: unknown, sub = ""): Promise<Answer> => plane.call("PATCH", `${pod}${sub}?dryRun=All`, body);

  beforeAll(async () => {
    if (bin === null || helm === null) return;
    const made = injected((p) => void (p.metadata.name = "running"));
    made.metadata.finalizers = ["batch.kubernetes.io/job-tracking"];
    const answer = await plane.call("POST", "/api/v1/namespaces/agents/pods", made);
    if (answer.status !== 201) throw new Error(answer.body.message);
  });

  const withImage = async (name: string, image: string): Promise<unknown> => {
    const { body } = await plane.call("GET", pod);
    const spec = body["spec"] as Tree;
    return {
      spec: {
        initContainers: spec.initContainers.map((c: Tree) => (c.name === name ? { ...c, image } : c)),
        containers: spec.containers.map((c: Tree) => (c.name === name ? { ...c, image } : c)),
      },
    };
  };

  test.each([CONTAINER.init, CONTAINER.sidecar])("THREATS P1: the image of %s stays", async (name) => {
    expectRefused(await patch(await withImage(name, "evil:1")), /stay as they are/);
  });
  test("THREATS P3: another image for an agent that names no uid of its own is refused", async () => {
    expectRefused(await patch(await withImage("app", "made-for-this-uid:1")), /runAsUser/);
  });
  test("THREATS P5: labels and stamps stay", async () => {
    for (const name of ["injected", "proxy-uid", "creator", "owner"])
      expectRefused(await patch({ metadata: { annotations: { [`sidegate.dev/${name}`]: "x" } } }), /stamp/);
    expectRefused(await patch({ metadata: { labels: { "sidegate.dev/inject": "false" } } }), /labels/);
  });
  test("a Job's finalizer may go, and other labels come, whatever this release would inject", async () => {
    expect(await patch({ metadata: { finalizers: null, labels: { team: "a" } } })).toMatchObject({ status: 200 });
  });
  test("THREATS P2: nobody executes in, attaches to, or forwards a port of the gateway's containers", async () => {
    for (const name of [CONTAINER.init, CONTAINER.sidecar]) {
      expectRefused(await plane.call("POST", `${pod}/exec?container=${name}&command=sh&stdout=true`), /nobody goes in/);
      expectRefused(await plane.call("POST", `${pod}/attach?container=${name}&stdout=true`), /nobody goes in/);
    }
    expectRefused(await plane.call("POST", `${pod}/portforward?ports=15801`), /port of the gateway/);
    const theirs = await plane.call("POST", `${pod}/exec?container=app&command=sh&stdout=true`);
    expect(theirs.body.message).not.toMatch(/sidegate:/);
  });
  test("THREATS P2: the gateway's resources are not resized", async () => {
    const { body } = await plane.call("GET", pod);
    const initContainers = (body["spec"] as Tree).initContainers.map((c: Tree) =>
      c.name === CONTAINER.sidecar ? { ...c, resources: { ...c.resources, limits: { memory: "65Mi" } } } : c,
    );
    const answer = await patch({ spec: { initContainers } }, "/resize");
    expect(answer.status).not.toBe(200);
  });

  const debug = (container: Tree): Promise<Answer> =>
    patch(
      { spec: { ephemeralContainers: [{ name: "debug", image: "agent:1", ...container }] } },
      "/ephemeralcontainers",
    );
  const harmless = {
    securityContext: {
      runAsUser: 1000,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
  test("THREATS P2: an ephemeral container beside an agent has no more rights than it, and does not look into ours", async () => {
    expect(await debug(harmless)).toMatchObject({ status: 200 });
    expect(await debug({ ...harmless, targetContainerName: "app" })).toMatchObject({ status: 200 });
    expectRefused(await debug({ ...harmless, targetContainerName: CONTAINER.sidecar }), /targetContainerName/);
    const other = (security: object): Tree => ({ securityContext: { ...harmless.securityContext, ...security } });
    expectRefused(
      await debug(other({ privileged: true, allowPrivilegeEscalation: true })),
      /privileged|allowPrivilege/,
    );
    expectRefused(await debug(other({ capabilities: { add: ["SYS_PTRACE"], drop: ["ALL"] } })), /capabilities/);
    expectRefused(await debug(other({ capabilities: {} })), /capabilities/);
    expectRefused(await debug(other({ seccompProfile: { type: "Unconfined" } })), /seccomp/);
    expectRefused(
      await debug({ ...harmless, volumeMounts: [{ name: VOLUME.state, mountPath: "/mnt" }] }),
      /volumeMounts/,
    );
  });
  test("THREATS P3: an ephemeral container names a uid outside the gateway's range", async () => {
    const as = (runAsUser?: number): Tree => ({ securityContext: { ...harmless.securityContext, runAsUser } });
    expectRefused(await debug(as()), /runAsUser/);
    expectRefused(await debug(as(PROXY_UID.first + 4_711)), /runAsUser/);
  });
});

describe("THREATS P4: tokens for the gateway's audience", () => {
  const ask = (audiences: readonly string[], as?: As): Promise<Answer> =>
    plane.call(
      "POST",
      "/api/v1/namespaces/free/serviceaccounts/default/token",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { audiences, expirationSeconds: 600 },
      },
      as,
    );

  test("nobody but a kubelet asks for one, in any namespace; other audiences are nobody's business", async () => {
    expectRefused(await ask(["sidegate"]), /kubelet/);
    expectRefused(await ask(["vault", "sidegate"]), /kubelet/);
    expect(await ask(["vault"])).toMatchObject({ status: 201 });
    const node = await ask(["sidegate"], { user: "system:node:n1", groups: ["system:nodes", "system:masters"] });
    expect(node.body.message ?? "").not.toMatch(/sidegate:/);
  });
  test("no pod of any namespace has one in another volume, or under our volume's name without us", async () => {
    const pod = plain();
    pod.spec.volumes = [
      { name: "mine", projected: { sources: [{ serviceAccountToken: { audience: "sidegate", path: "t" } }] } },
    ];
    expectRefused(await create("free", pod), /audience/);
    pod.spec.volumes[0].name = VOLUME.token;
    expectRefused(await create("free", pod), /gateway's/);
    // Its author's own containers under our names: admission compares them only where it is asked to.
    const alike = plain();
    alike.metadata.annotations = { "sidegate.dev/injected": "1", "sidegate.dev/proxy-uid": "1947264001" };
    alike.spec.volumes = pod.spec.volumes;
    alike.spec.initContainers = [CONTAINER.init, CONTAINER.sidecar].map((name) => ({
      name,
      image: "theirs:1",
      volumeMounts: [{ name: VOLUME.token, mountPath: "/t" }],
    }));
    expectRefused(await create("free", structuredClone(alike)), /this name is the gateway's/);
    alike.metadata.labels["sidegate.dev/inject"] = "true";
    const compared = await create("free", alike);
    expect(compared.status).not.toBe(201);
    expect(compared.body.message).toMatch(/binding 'sidegate-[a-z]+-pods'/);
    const ours = injected((p) => Object.assign(p.metadata.labels, { "sidegate.dev/inject": "true" }));
    expect(await create("free", ours)).toMatchObject({ status: 201 });
    pod.spec.volumes[0].name = "mine";
    expectRefused(
      await create(
        "agents",
        injected(undefined, undefined) && injected((p) => p.spec.volumes.push(pod.spec.volumes[0])),
      ),
      /audience/,
    );
  });
});

describe("THREATS P10: who made a pod", () => {
  test("the stamp is the API server's word about the caller, not the author's", async () => {
    const pod = injected((p) => {
      p.metadata.ownerReferences = [
        { apiVersion: "apps/v1", kind: "ReplicaSet", name: "x", uid: "1", controller: true },
      ];
    });
    expectRefused(await create("agents", pod, AUTHOR), /creator/);
    pod.metadata.annotations["sidegate.dev/creator"] = AUTHOR.user;
    expect(await create("agents", pod, AUTHOR)).toMatchObject({ status: 201 });
    pod.metadata.annotations["sidegate.dev/workload"] = "ReplicaSet/x";
    expectRefused(await create("agents", pod, AUTHOR), /workload counts only/);
    delete pod.metadata.annotations["sidegate.dev/workload"];
    for (const name of ["owner", "workload-creator", "template-writer"]) {
      const forged = structuredClone(pod);
      forged.metadata.annotations[`sidegate.dev/${name}`] = "grace";
      expectRefused(await create("agents", forged, AUTHOR), /names an owner|has no workload/);
    }
    const named = structuredClone(pod);
    Object.assign(named.metadata.annotations, { "sidegate.dev/owner": "grace", "sidegate.dev/creator": "flux" });
    const flux: As = { user: "flux", groups: ["system:masters"] };
    expect(await create("agents", named, flux)).toMatchObject({ status: 201 });
    const controller: As = { user: POD_CONTROLLERS[0], groups: ["system:masters", "system:authenticated"] };
    pod.metadata.annotations["sidegate.dev/creator"] = controller.user;
    pod.metadata.annotations["sidegate.dev/workload"] = "ReplicaSet/x";
    pod.metadata.annotations["sidegate.dev/workload-creator"] = "ada";
    expect(await create("agents", pod, controller)).toMatchObject({ status: 201 });
    pod.metadata.annotations["sidegate.dev/workload"] = "ReplicaSet/of-somebody-else";
    expectRefused(await create("agents", pod, controller), /workload counts only/);
  });
});

describe("THREATS P10: who made a workload, while nobody answers at the webhook", () => {
  const STAMPS = { "sidegate.dev/creator": "ada", "sidegate.dev/template-writer": "ada" };
  const template = (labels: object = {}, annotations: object = {}): Tree => ({
    metadata: { labels: { app: "x", ...labels }, annotations },
    spec: { containers: [{ name: "app", image: "agent:1" }] },
  });
  const deployment = (annotations: object, from: Tree = template()): Tree => ({
    metadata: { name: "x", annotations },
    spec: { selector: { matchLabels: { app: "x" } }, template: from },
  });
  const cronJob = (annotations: object, job: object): Tree => ({
    metadata: { name: "x", annotations },
    spec: {
      schedule: "0 0 1 1 *",
      jobTemplate: {
        metadata: job,
        spec: { template: { ...template(), spec: { ...template().spec, restartPolicy: "Never" } } },
      },
    },
  });
  const at = (namespace: string, what: "deployments" | "replicasets" | "cronjobs"): string =>
    `/apis/${what === "cronjobs" ? "batch" : "apps"}/v1/namespaces/${namespace}/${what}`;
  const make = (
    namespace: string,
    object: Tree,
    what: "deployments" | "replicasets" | "cronjobs" = "deployments",
    as = AUTHOR,
  ) => plane.call("POST", `${at(namespace, what)}?dryRun=All`, object, as);

  test("its stamps name the caller and nobody else, or it is refused", async () => {
    expect(await make("agents", deployment(STAMPS))).toMatchObject({ status: 201 });
    expectRefused(await make("agents", deployment({})), /creator/);
    expectRefused(await make("agents", deployment({ ...STAMPS, "sidegate.dev/creator": "grace" })), /creator/);
    expectRefused(await make("agents", deployment({ ...STAMPS, "sidegate.dev/template-writer": "grace" })), /writer/);
    expectRefused(await make("agents", deployment({ ...STAMPS, "sidegate.dev/owner": "grace" })), /names an owner/);
  });

  test("a template may not bear them: its pods would", async () => {
    for (const name of ["creator", "owner", "workload", "workload-creator", "template-writer"]) {
      const forged = { [`sidegate.dev/${name}`]: "grace" };
      expectRefused(await make("agents", deployment(STAMPS, template({}, forged))), /gateway's to write/);
      expectRefused(await make("agents", cronJob(STAMPS, { annotations: forged }), "cronjobs"), /gateway's to write/);
    }
    expect(await make("agents", cronJob(STAMPS, {}), "cronjobs")).toMatchObject({ status: 201 });
  });

  test("whoever rewrites the template becomes its writer; nobody takes another's name out, or his own", async () => {
    const flux: As = { user: "flux", groups: ["system:masters"] };
    const made = {
      "sidegate.dev/creator": "flux",
      "sidegate.dev/template-writer": "flux",
      "sidegate.dev/owner": "grace",
    };
    const { status } = await plane.call("POST", at("agents", "deployments"), deployment(made), flux);
    expect(status).toBe(201);
    const patch = (body: object, as: As = AUTHOR): Promise<Answer> =>
      plane.call("PATCH", `${at("agents", "deployments")}/x?dryRun=All`, body, as);
    const rewrite = { spec: { template: { spec: { containers: [{ name: "app", image: "agent:2" }] } } } };
    expectRefused(await patch(rewrite), /writer/);
    const stamped = { metadata: { annotations: { "sidegate.dev/template-writer": "ada" } } };
    expect(await patch({ ...rewrite, ...stamped })).toMatchObject({ status: 200 });
    expectRefused(await patch(stamped), /writer/);
    for (const [name, text] of [
      ["creator", null],
      ["creator", "ada"],
      ["owner", null],
      ["owner", "ada"],
    ] as const) {
      const answer = await patch({ metadata: { annotations: { [`sidegate.dev/${name}`]: text } } });
      expectRefused(answer, /creator|owner/);
    }
    expect(await patch({ spec: { replicas: 3 } })).toMatchObject({ status: 200 });
    expect(await patch({ metadata: { annotations: { "sidegate.dev/owner": "bob" } } }, flux)).toMatchObject({
      status: 200,
    });
  });

  test("the deployment controller's ReplicaSet keeps what was copied; a forger's does not", async () => {
    const replicaSet = deployment({ "sidegate.dev/creator": "grace" });
    const controller: As = {
      user: "system:serviceaccount:kube-system:deployment-controller",
      groups: ["system:masters"],
    };
    expect(await make("agents", replicaSet, "replicasets", controller)).toMatchObject({ status: 201 });
    expectRefused(await make("agents", replicaSet, "replicasets"), /creator/);
  });

  test("elsewhere only a template that asks for the gateway is looked at", async () => {
    expect(await make("free", deployment({ "sidegate.dev/owner": "grace" }))).toMatchObject({ status: 201 });
    const asks = template({ "sidegate.dev/inject": "true" });
    expectRefused(await make("free", deployment({}, asks)), /creator/);
    expect(await make("free", deployment(STAMPS, asks))).toMatchObject({ status: 201 });
    expectRefused(await make("free", deployment({ ...STAMPS, "sidegate.dev/owner": "grace" }, asks)), /opted in/);
  });

  test("where nobody looks no stamp is made, nor kept when a template is rewritten: the namespace may opt in tomorrow", async () => {
    for (const name of ["creator", "template-writer"]) {
      const forged = { [`sidegate.dev/${name}`]: "grace" };
      expectRefused(await make("free", deployment(forged)), /take them out/);
      expectRefused(await make("free", cronJob(forged, {}), "cronjobs"), /take them out/);
    }
    const controller = "system:serviceaccount:kube-system:deployment-controller";
    const copied = { user: controller, groups: ["system:masters"] };
    expect(await make("free", deployment(STAMPS), "replicasets", copied)).toMatchObject({ status: 201 });
    // Stamped while the namespace had opted in.
    const path = `${at("free", "replicasets")}/was-guarded`;
    const guarded = { ...deployment(STAMPS), metadata: { name: "was-guarded", annotations: STAMPS } };
    expect((await plane.call("POST", at("free", "replicasets"), guarded, copied)).status).toBe(201);
    const patch = (body: object): Promise<Answer> => plane.call("PATCH", `${path}?dryRun=All`, body, AUTHOR);
    expect(await patch({ spec: { replicas: 3 } })).toMatchObject({ status: 200 });
    const rewrite = { spec: { template: { spec: { containers: [{ name: "app", image: "agent:2" }] } } } };
    expectRefused(await patch(rewrite), /take them out/);
    expectRefused(await patch({ metadata: { annotations: { "sidegate.dev/creator": "grace" } } }), /take them out/);
    const out = { "sidegate.dev/creator": null, "sidegate.dev/template-writer": null };
    expect(await patch({ ...rewrite, metadata: { annotations: out } })).toMatchObject({ status: 200 });
  });

  test("what stood on it while nobody looked is nobody's word once its template asks for the gateway", async () => {
    const names = ["creator", "template-writer", "owner"].map((name) => `sidegate.dev/${name}`);
    const forged = Object.fromEntries(names.map((name) => [name, "grace"]));
    const by = { user: "system:serviceaccount:kube-system:deployment-controller", groups: ["system:masters"] };
    const made = await plane.call("POST", at("free", "deployments"), deployment(forged), by);
    expect(made.status).toBe(201);
    const ask = (annotations: object): Promise<Answer> =>
      plane.call(
        "PATCH",
        `${at("free", "deployments")}/x?dryRun=All`,
        { metadata: { annotations }, spec: { template: { metadata: { labels: { "sidegate.dev/inject": "true" } } } } },
        AUTHOR,
      );
    const honest = { [ANNOTATION.creator]: null, [ANNOTATION.templateWriter]: AUTHOR.user, [ANNOTATION.owner]: null };
    expectRefused(await ask({ ...honest, [ANNOTATION.creator]: "grace" }), /creator/);
    expectRefused(await ask({ ...honest, [ANNOTATION.owner]: "grace" }), /owner/);
    expect(await ask(honest)).toMatchObject({ status: 200 });
  });
});

describe("THREATS P12: a namespace's label", () => {
  const NAMESPACE_ADMIN: As = { user: "ben", groups: ["system:authenticated"] };
  const set = (namespace: string, labels: Readonly<Record<string, string | null>>, as?: As): Promise<Answer> =>
    plane.call("PATCH", `/api/v1/namespaces/${namespace}?dryRun=All`, { metadata: { labels } }, as);

  beforeAll(async () => {
    if (bin === null || helm === null) return;
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    await plane.call("POST", `${rbac}/clusterroles`, {
      metadata: { name: "namespace-writer" },
      rules: [{ apiGroups: [""], resources: ["namespaces"], verbs: ["get", "create", "patch", "update"] }],
    });
    for (const name of ["ben", "argo"])
      await plane.call("POST", `${rbac}/clusterrolebindings`, {
        metadata: { name: `namespace-writer-${name}` },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "namespace-writer" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name }],
      });
    await until(20_000, "the role", async () => (await set("free", { team: "a" }, NAMESPACE_ADMIN)).status === 200);
  });

  test("whoever may write a namespace may opt in, and no more", async () => {
    expect(await set("free", { "sidegate.dev/inject": "all" }, NAMESPACE_ADMIN)).toMatchObject({ status: 200 });
    expect(await set("agents", { "sidegate.dev/tier": "locked" }, NAMESPACE_ADMIN)).toMatchObject({ status: 200 });
    expect(await set("agents", { team: "a" }, NAMESPACE_ADMIN)).toMatchObject({ status: 200 });
    expectRefused(await set("agents", { "sidegate.dev/inject": null }, NAMESPACE_ADMIN), /inject/);
    expectRefused(await set("agents", { "sidegate.dev/inject": "opt-in" }, NAMESPACE_ADMIN), /inject/);
    expectRefused(await set("locked", { "sidegate.dev/tier": "enforced" }, NAMESPACE_ADMIN), /tier/);
    expectRefused(await set("locked", { "sidegate.dev/tier": null }, NAMESPACE_ADMIN), /tier/);
    expectRefused(await set("agents", { "sidegate.dev/mode": "observe" }, NAMESPACE_ADMIN), /mode/);
  });
  test("nor may they say how long a namespace observes only", async () => {
    const until = (namespace: string, text: string | null, as?: As): Promise<Answer> => {
      const metadata = { annotations: { "sidegate.dev/observe-until": text } };
      return plane.call("PATCH", `/api/v1/namespaces/${namespace}?dryRun=All`, { metadata }, as);
    };
    expectRefused(await until("agents", "2026-01-12T00:00:00Z", NAMESPACE_ADMIN), /observe-until/);
    expect(await until("agents", null, NAMESPACE_ADMIN)).toMatchObject({ status: 200 });
    expect(await until("agents", "2026-01-12T00:00:00Z")).toMatchObject({ status: 200 });
  });
  test("whoever may make a namespace makes it opted in, of any tier, and never observing only", async () => {
    const made = (metadata: object, as?: As): Promise<Answer> =>
      plane.call("POST", "/api/v1/namespaces?dryRun=All", { metadata: { name: "new", ...metadata } }, as);
    for (const labels of [{}, { "sidegate.dev/inject": "all" }, { "sidegate.dev/tier": "enforced" }])
      expect(await made({ labels }, NAMESPACE_ADMIN)).toMatchObject({ status: 201 });
    const labels = { "sidegate.dev/inject": "all", "sidegate.dev/mode": "observe" };
    const annotations = { "sidegate.dev/observe-until": "2026-01-12T00:00:00Z" };
    expectRefused(await made({ labels }, NAMESPACE_ADMIN), /mode/);
    const optedIn = { "sidegate.dev/inject": "all" };
    expectRefused(await made({ labels: optedIn, annotations }, NAMESPACE_ADMIN), /observe-until/);
    expect(await made({ labels, annotations }, { user: "argo", groups: ["system:authenticated"] })).toMatchObject({
      status: 201,
    });
    expect(await made({ labels, annotations })).toMatchObject({ status: 201 });
  });
  test("those in guard.managers and whoever has the verb unguard may", async () => {
    expect(
      await set("agents", { "sidegate.dev/inject": null }, { user: "argo", groups: ["system:authenticated"] }),
    ).toMatchObject({ status: 200 });
    expect(await set("agents", { "sidegate.dev/inject": null })).toMatchObject({ status: 200 });
  });
  test("a controller's own account is no way round", async () => {
    const replicaSets: As = {
      user: "system:serviceaccount:kube-system:replicaset-controller",
      groups: ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:masters"],
    };
    expectRefused(await create("agents", plain(), replicaSets), /missing/);
  });
});

describe("THREATS P13: the agent's own API rights", () => {
  test("its service account's rights do not reach the gateway's containers or its own labels", async () => {
    const agent: As = {
      user: "system:serviceaccount:agents:default",
      groups: ["system:serviceaccounts", "system:masters"],
    };
    const pod = "/api/v1/namespaces/agents/pods/running";
    expectRefused(
      await plane.call("POST", `${pod}/exec?container=${CONTAINER.sidecar}&command=sh&stdout=true`, undefined, agent),
      /nobody goes in/,
    );
    expectRefused(
      await plane.call("PATCH", pod, { metadata: { labels: { "sidegate.dev/inject": "false" } } }, agent),
      /labels/,
    );
  });
});

describe("THREATS P14: what guards the guards", () => {
  test("the API server shows policies and webhook configurations to no admission: what is ours is marked, so that it can be watched", () => {
    const guards = chart?.filter(({ kind }) => /AdmissionPolicy|WebhookConfiguration/.test(kind)) ?? [];
    for (const { metadata } of guards)
      expect((metadata["labels"] as Record<string, string>)["app.kubernetes.io/part-of"]).toBe("sidegate");
  });
});

test("what an administrator has exempted passes as it is, and nothing else of that namespace does", async () => {
  const pod = plain();
  pod.spec.serviceAccountName = "exempt";
  expect(await create("agents", pod)).toMatchObject({ status: 201 });
});

test("THREATS P12: an exemption whose last day is over is none, though no process of ours answers and the pod claims to be an old one", async () => {
  const pod = plain();
  pod.spec.serviceAccountName = "was-exempt";
  expectRefused(await create("agents", pod), /missing/);
  pod.metadata.creationTimestamp = "2020-01-01T00:00:00Z";
  expectRefused(await create("agents", pod), /missing/);
});
