/**
 * Ways into a pod, a namespace or a workload other than making and changing the object itself: subresources, bindings, kinds that
 * injection does not know. On a real API server, and nobody answers at the webhook: what refuses is the chart's admission policies.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PROXY_UID } from "#contract/names.ts";
import { SECURITY_MEMBERS } from "#injection/forbidden-container.ts";
import { POD_SECURITY_MEMBERS } from "#injection/forbidden-pod.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
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
  "identity.deployers": ["flux"],
};
/** Whom RBAC refuses nothing, so that what refuses is admission; no manager of ours. */
const BEN: As = { user: "ben", groups: ["system:authenticated", "everything"] };

const bin = findControlPlane();
const helm = findHelm();
let plane: ControlPlane;
let options: InjectionOptions;

// oxlint-disable-next-line typescript/no-explicit-any -- manifests of many kinds, reached into at any depth
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

const plain = (): Tree => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "agent", labels: { app: "agent" } },
  spec: { containers: [{ name: "app", image: "agent:1" }] },
});

function injected(creator: string, edit: (pod: Tree) => void = () => undefined): Tree {
  const result = injectPod(plain(), { ...options, tier: "enforced" }, () => PROXY_UID.first + 4_711, {
    "sidegate.dev/creator": creator,
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

beforeAll(async () => {
  if (bin === null || helm === null) return;
  plane = await startControlPlane(bin);
  const chart = renderChart(helm, VALUES);
  const settings = chart.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "sidegate-injection");
  const { parse } = await import("yaml");
  const reading = readOptions(
    parse((settings?.["data"] as Record<string, string> | undefined)?.["options.yaml"] ?? ""),
  );
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  options = reading.options;
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  await plane.call("POST", `${rbac}/clusterroles`, {
    metadata: { name: "everything" },
    // Every verb that the API server itself asks for; not `unguard`, which is ours.
    rules: [
      {
        apiGroups: ["*"],
        resources: ["*"],
        verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
      },
    ],
  });
  await plane.call("POST", `${rbac}/clusterrolebindings`, {
    metadata: { name: "everything" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "everything" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "everything" }],
  });
  for (const [name, labels] of [
    ["sidegate", {}],
    ["agents", { "sidegate.dev/inject": "all" }],
    ["free", {}],
  ] as const) {
    await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
    await apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } });
  }
  for (const object of chart)
    if (object.kind === "ConfigMap" || object.kind.startsWith("ValidatingAdmissionPolicy")) await apply(object);
  await until(20_000, "the policies", async () => (await create("agents", plain())).status === 403);
  await until(
    20_000,
    "the locks",
    async () => (await namespacePatch("", { labels: { "sidegate.dev/inject": null } })).status === 403,
  );
  const answer = await plane.call(
    "POST",
    "/api/v1/namespaces/agents/pods",
    injected("ben", (p) => void (p.metadata.name = "running")),
    BEN,
  );
  if (answer.status !== 201) throw new Error(answer.body.message);
});
afterAll(async () => plane?.stop());
beforeEach((context) =>
  requireThat(
    context,
    bin !== null && helm !== null,
    "no API server: test/e2e/cluster/build.sh and tools/helm/ensure.sh make one",
  ),
);

const namespacePatch = (sub: string, metadata: object): Promise<Answer> =>
  plane.call("PATCH", `/api/v1/namespaces/agents${sub}?dryRun=All`, { metadata }, BEN);

const POD = "/api/v1/namespaces/agents/pods/running";
const bind = (path: string, metadata: object, dry = true): Promise<Answer> =>
  plane.call(
    "POST",
    `${path}${dry ? "?dryRun=All" : ""}`,
    { metadata: { name: "running", ...metadata }, target: { kind: "Node", name: "n1" } },
    BEN,
  );

describe("THREATS P12: a namespace's label, by the namespace's other doors", () => {
  test("its status does not take it out of the gateway, and is written otherwise", async () => {
    for (const labels of [
      { "sidegate.dev/inject": null },
      { "sidegate.dev/tier": "enforced" },
      { "sidegate.dev/mode": "observe" },
    ])
      expectRefused(await namespacePatch("/status", { labels }), /is changed on the namespace itself/);
    const annotations = { "sidegate.dev/observe-until": "2026-01-12T00:00:00Z" };
    expectRefused(await namespacePatch("/status", { annotations }), /observe-until/);
    expect(await namespacePatch("/status", { labels: { team: "a" } })).toMatchObject({ status: 200 });
  });

  test("nor do its finalizers", async () => {
    const { body } = await plane.call("GET", "/api/v1/namespaces/agents");
    const namespace = body as Tree;
    const finalize = (labels: object): Promise<Answer> =>
      plane.call(
        "PUT",
        "/api/v1/namespaces/agents/finalize?dryRun=All",
        { ...namespace, metadata: { ...namespace.metadata, labels } },
        BEN,
      );
    expectRefused(await finalize({}), /is changed on the namespace itself/);
    expect(await finalize(namespace.metadata.labels)).toMatchObject({ status: 200 });
  });

  test("a namespace does not pass for an excluded one: the label with its name is the API server's", async () => {
    const { body } = await namespacePatch("", { labels: { "kubernetes.io/metadata.name": "kube-system" } });
    expect((body["metadata"] as Tree).labels["kubernetes.io/metadata.name"]).toBe("agents");
  });
});

describe("THREATS P5: a pod's stamps and label, by the pod's other doors", () => {
  test("its status does not change them, and a kubelet's goes on", async () => {
    const patch = (body: object): Promise<Answer> => plane.call("PATCH", `${POD}/status?dryRun=All`, body, BEN);
    for (const name of ["creator", "owner", "injected", "proxy-uid", "workload-creator"])
      expectRefused(await patch({ metadata: { annotations: { [`sidegate.dev/${name}`]: "grace" } } }), /stamp/);
    expectRefused(await patch({ metadata: { labels: { "sidegate.dev/inject": "false" } } }), /stays as it is/);
    expect(await patch({ status: { phase: "Running", podIPs: [{ ip: "10.0.0.7" }] } })).toMatchObject({ status: 200 });
  });

  test("a binding to a node brings none along, by either of its doors; a scheduler's passes", async () => {
    const forged = { annotations: { "sidegate.dev/creator": "grace" } };
    for (const path of [`${POD}/binding`, "/api/v1/namespaces/agents/bindings"]) {
      expectRefused(await bind(path, forged), /gateway's to write/);
      expectRefused(await bind(path, { labels: { "sidegate.dev/inject": "false" } }), /gateway's to write/);
      expect(await bind(path, { annotations: { "scheduler.example/score": "1" } })).toMatchObject({ status: 201 });
    }
  });
});

describe("THREATS P10: people whom nobody can know", () => {
  test("a ReplicationController's template names nobody: its pods bear no such stamp", async () => {
    const by: As = {
      user: "system:serviceaccount:kube-system:replication-controller",
      groups: ["system:masters"],
    };
    const owner = { apiVersion: "v1", kind: "ReplicationController", name: "x", uid: "1", controller: true };
    const made = (stamps: object): Tree =>
      injected(by.user, (p) => {
        p.metadata.ownerReferences = [owner];
        Object.assign(p.metadata.annotations, { "sidegate.dev/workload": "ReplicationController/x", ...stamps });
      });
    expect(await create("agents", made({}), by)).toMatchObject({ status: 201 });
    for (const name of ["workload-creator", "template-writer", "owner"])
      expectRefused(
        await create("agents", made({ [`sidegate.dev/${name}`]: "grace" }), by),
        /no workload|names an owner/,
      );
  });

  test("a workload's status does not change its stamps", async () => {
    const annotations = { "sidegate.dev/creator": "ben", "sidegate.dev/template-writer": "ben" };
    const template = { metadata: { labels: { app: "x" } }, spec: plain().spec };
    const selected = { selector: { matchLabels: { app: "x" } }, template };
    const once = { template: { ...template, spec: { ...plain().spec, restartPolicy: "Never" } } };
    for (const [plural, spec] of [
      ["apps/v1/namespaces/agents/deployments", selected],
      ["apps/v1/namespaces/agents/statefulsets", { ...selected, serviceName: "x" }],
      ["apps/v1/namespaces/agents/daemonsets", selected],
      ["apps/v1/namespaces/agents/replicasets", selected],
      ["batch/v1/namespaces/agents/jobs", once],
      ["batch/v1/namespaces/agents/cronjobs", { schedule: "0 0 1 1 *", jobTemplate: { spec: once } }],
    ] as const) {
      const made = await plane.call("POST", `/apis/${plural}`, { metadata: { name: "x", annotations }, spec }, BEN);
      expect(made.status, plural).toBe(201);
      const patch = (body: object): Promise<Answer> =>
        plane.call("PATCH", `/apis/${plural}/x/status?dryRun=All`, body, BEN);
      expectRefused(await patch({ metadata: { annotations: { "sidegate.dev/creator": "grace" } } }), /creator/);
      expect(await patch({ metadata: { annotations: { note: "x" } } })).toMatchObject({ status: 200 });
    }
  });
});

describe("what dies, and shall go on dying", () => {
  const attempts: readonly [string, (pod: Tree) => void, RegExp][] = [
    [
      "P6: a low port for everybody",
      (p) => void (p.spec.securityContext = { sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "0" }] }),
      /sysctls/,
    ],
    [
      "P6: loopback beyond the pod",
      (p) => void (p.spec.securityContext = { sysctls: [{ name: "net.ipv4.conf.all.route_localnet", value: "1" }] }),
      /sysctls/,
    ],
    ["P6: Windows", (p) => void (p.spec.securityContext = { windowsOptions: {} }), /spec\.os/],
    [
      "P6: AppArmor's old annotation on the sidecar",
      (p) => void (p.metadata.annotations["container.apparmor.security.beta.kubernetes.io/sidegate"] = "unconfined"),
      /appArmor|initContainers\[1\]/,
    ],
    [
      "P7: a repository that the kubelet fetches",
      (p) => p.spec.volumes.push({ name: "x", gitRepo: { repository: "https://evil.example" } }),
      /volumes/,
    ],
    ["P7: a flexVolume's program", (p) => p.spec.volumes.push({ name: "x", flexVolume: { driver: "a/b" } }), /volumes/],
    [
      "P6: a block device",
      (p) => {
        p.spec.volumes.push({ name: "x", persistentVolumeClaim: { claimName: "x" } });
        p.spec.containers[0].volumeDevices = [{ name: "x", devicePath: "/dev/x" }];
      },
      /devices/,
    ],
    [
      "P6: one bad container behind five hundred others",
      (p) => {
        const [first] = p.spec.containers;
        for (let n = 0; n < 500; n++) p.spec.containers.push({ ...first, name: `c${n}` });
        p.spec.containers.push({ ...first, name: "z", securityContext: { privileged: true } });
      },
      /privileged/,
    ],
  ];
  test.each(attempts)("THREATS %s", async (_what, edit, why) => {
    expectRefused(await create("agents", injected("ben", edit), BEN), why);
  });
});

describe("what an API server knows of pods", () => {
  /** Each was looked at: it opens no way, or a rule of `src/injection/forbidden-*.ts` speaks of it. A new one needs a decision. */
  const LOOKED_AT: Readonly<Record<string, string>> = {
    PodSpec:
      "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes",
    Container:
      "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    EphemeralContainer:
      "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce targetContainerName terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    VolumeMount: "mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr",
    Lifecycle: "postStart preStop stopSignal",
    LifecycleHandler: "exec httpGet sleep tcpSocket",
    Probe:
      "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket terminationGracePeriodSeconds timeoutSeconds",
    ResourceRequirements: "claims limits requests",
    PodSecurityContext: [...POD_SECURITY_MEMBERS].join(" "),
    SecurityContext: [...SECURITY_MEMBERS].join(" "),
  };
  test.each(Object.entries(LOOKED_AT))("every member of a %s was looked at", async (kind, members) => {
    const { body } = await plane.call("GET", "/openapi/v3/api/v1");
    const { properties } = (body as Tree).components.schemas[`io.k8s.api.core.v1.${kind}`];
    expect(Object.keys(properties).sort()).toEqual(members.split(" ").sort());
  });
});

test("THREATS P6: what a runtime reads in annotations is refused, on a new pod and on one that runs", async () => {
  for (const [name, text] of [
    ["io.kubernetes.cri-o.userns-mode", "auto"],
    ["io.kubernetes.cri-o.Devices", "/dev/net/tun"],
    ["seccomp-profile.kubernetes.cri-o.io/app", "evil.example/profile:1"],
    ["devices.nri.io/container.app", "- path: /dev/vfio/1"],
  ] as const) {
    const pod = injected("ben", (p) => void (p.metadata.annotations[name] = text));
    expectRefused(await create("agents", pod, BEN), /a container runtime reads it/);
    const patch = await plane.call("PATCH", `${POD}?dryRun=All`, { metadata: { annotations: { [name]: text } } }, BEN);
    expectRefused(patch, /a container runtime reads it/);
    expect(await create("free", { ...plain(), metadata: { name: "x", annotations: { [name]: text } } })).toMatchObject({
      status: 201,
    });
  }
});

test("where the gateway's parameters are gone, namespaces that never heard of it are made and changed all the same", async () => {
  const file = "/api/v1/namespaces/sidegate/configmaps/sidegate-injection";
  const { body } = await plane.call("GET", file);
  await plane.call("DELETE", file);
  try {
    await until(20_000, "the missing parameters", async () =>
      /no params found/.test(
        (await namespacePatch("", { labels: { "sidegate.dev/inject": null } })).body.message ?? "",
      ),
    );
    const made = await plane.call("POST", "/api/v1/namespaces?dryRun=All", { metadata: { name: "new" } }, BEN);
    expect(made).toMatchObject({ status: 201 });
    const free = await plane.call(
      "PATCH",
      "/api/v1/namespaces/free?dryRun=All",
      { metadata: { labels: { team: "a" } } },
      BEN,
    );
    expect(free).toMatchObject({ status: 200 });
  } finally {
    const { resourceVersion: _, uid: __, ...metadata } = (body as Tree).metadata;
    await plane.call("POST", "/api/v1/namespaces/sidegate/configmaps", { ...(body as Tree), metadata });
  }
});
