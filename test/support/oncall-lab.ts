/**
 * An installed gateway as an API server alone can have it: the chart's objects, and by hand what its processes and Kubernetes' own
 * controllers would have made of them (status, endpoints, certificates, lease). For commands that only look.
 */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { certificatesDue } from "#kube/certificates.ts";
import { servingNames } from "#kube/serving-names.ts";
import { findHelm, type Rendered, renderChart } from "./chart.ts";
import { type Answer, type ControlPlane, findControlPlane, startControlPlane, until } from "./control-plane.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const BIN = findControlPlane();
const HELM = findHelm();
export const ONCALL_POSSIBLE = BIN !== null && HELM !== null;
export const ONCALL_NEEDS = "needs the cluster's programs (test/e2e/cluster/build.sh) and helm (tools/helm/ensure.sh)";

const VALUES = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};
/** Plural path of each kind that the chart has. */
const PLURAL: Readonly<Record<string, string>> = {
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  NetworkPolicy: "networkpolicies",
  ClusterAgentPolicy: "clusteragentpolicies",
};

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface OncallLab {
  readonly plane: ControlPlane;
  readonly chart: readonly Rendered[];
  /** Throws with the server's words where it is refused. */
  put(object: Rendered): Promise<void>;
  patch(target: string, body: unknown): Promise<void>;
  remove(target: string): Promise<void>;
  get(target: string): Promise<Answer["body"]>;
  /** The command line as a person starts it. `input` on stdin. */
  sidegate(args: readonly string[], input?: string): Promise<Said>;
  /** The same with a terminal; `script`: script(1). Both streams are `out`. */
  atTerminal(script: string, args: readonly string[], typed: string): Promise<Said>;
  /** A kubeconfig of somebody without any right. */
  as(user: string): string;
  /** A kubeconfig of a server that nobody runs. */
  elsewhere(): string;
  stop(): Promise<void>;
}

export async function startOncallLab(): Promise<OncallLab> {
  if (BIN === null || HELM === null) throw new Error(ONCALL_NEEDS);
  const plane = await startControlPlane(BIN);
  const chart = renderChart(HELM, VALUES);
  const must = async (method: string, target: string, body?: unknown): Promise<Answer["body"]> => {
    const answer = await plane.call(method, target, body);
    if (answer.status >= 300) throw new Error(`${method} ${target}: ${answer.body.message ?? answer.status}`);
    return answer.body;
  };
  return {
    plane,
    chart,
    put: async (object) => void (await must("POST", collectionOf(object), object)),
    patch: async (target, body) => void (await must("PATCH", target, body)),
    remove: async (target) => void (await must("DELETE", target)),
    get: (target) => must("GET", target),
    sidegate: (args, input = "") => run(plane, [process.execPath, ...commandOf(args)], input),
    atTerminal: (script, args, typed) =>
      run(plane, [script, "-qec", [process.execPath, ...commandOf(args)].join(" "), "/dev/null"], typed),
    as: (user) => edited(plane, user, (text) => text.replace("user: {client", `user: {as: "${user}", client`)),
    elsewhere: () =>
      edited(plane, "elsewhere", (text) => text.replace(/server: "[^"]*"/, 'server: "https://127.0.0.1:1"')),
    stop: () => plane.stop(),
  };
}

function edited(plane: ControlPlane, name: string, edit: (text: string) => string): string {
  const file = path.join(path.dirname(plane.kubeconfig), `${name}.conf`);
  writeFileSync(file, edit(readFileSync(plane.kubeconfig, "utf8")));
  return file;
}

function commandOf(args: readonly string[]): readonly string[] {
  return ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/sidegate/main.ts"), ...args];
}

function run(plane: ControlPlane, [program = "", ...args]: readonly string[], input: string): Promise<Said> {
  const { promise, resolve } = Promise.withResolvers<Said>();
  const env = { PATH: process.env["PATH"], HOME: plane.pki, KUBECONFIG: plane.kubeconfig };
  const child = spawn(program, args, { cwd: ROOT, env });
  let [out, err] = ["", ""];
  child.stdout.on("data", (part: Buffer) => {
    out += part.toString();
  });
  child.stderr.on("data", (part: Buffer) => {
    err += part.toString();
  });
  child.on("close", (code) => resolve({ code: code ?? -1, out, err }));
  child.stdin.end(input);
  return promise;
}

function collectionOf({ apiVersion, kind, metadata }: Rendered): string {
  const plural =
    PLURAL[kind] ?? (kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : kind.endsWith("s") ? `${kind}es` : `${kind}s`);
  const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return `${base}${metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`}/${plural.toLowerCase()}`;
}

const NAMESPACE = "sidegate";
const DAY = 86_400_000;
/** In the order in which they may be made; what runs and what Helm's hooks make is left out. */
const KINDS = [
  "ConfigMap",
  "ServiceAccount",
  "Service",
  "Deployment",
  "StatefulSet",
  "MutatingWebhookConfiguration",
  "ValidatingWebhookConfiguration",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
];

/** What `helm install` and a minute of running would have made. Webhooks answer nobody: nothing listens. */
export async function install(lab: OncallLab, nowMs: number): Promise<void> {
  await lab.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  const certificates = certificatesDue(null, {
    names: servingNames(["sidegate-webhook", "sidegate-controller", "sidegate-collector"], NAMESPACE),
    nowMs: nowMs - DAY,
    rotate: "",
    settleMs: 0,
  });
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const own = { namespace: NAMESPACE };
  const data = Object.fromEntries(Object.entries(certificates).map(([name, text]) => [name, base64(text)]));
  await lab.put({ apiVersion: "v1", kind: "Secret", metadata: { ...own, name: "sidegate-certificates" }, data });
  const runtime = {
    "ca.crt": certificates["ca.crt"],
    "bundle-key.pem": "-----BEGIN PUBLIC KEY-----",
    "bundle-key-id": "k",
    resolvers: "10.96.0.10",
    "jwks.json": "{}",
    issuer: "i",
  };
  await lab.put({ apiVersion: "v1", kind: "ConfigMap", metadata: { ...own, name: "sidegate-runtime" }, data: runtime });
  const hooks = (object: Rendered): boolean =>
    JSON.stringify(object.metadata["annotations"] ?? {}).includes("helm.sh/hook");
  for (const kind of KINDS)
    for (const object of lab.chart)
      if (object.kind === kind && !hooks(object)) await lab.put(withAuthority(object, base64(certificates["ca.crt"])));
  for (const [name, plural] of [
    ["webhook", "deployments"],
    ["controller", "deployments"],
    ["collector", "statefulsets"],
  ] as const) {
    const replicas = name === "collector" ? 1 : 2;
    const status = { replicas, readyReplicas: replicas, updatedReplicas: replicas, availableReplicas: replicas };
    await lab.patch(`/apis/apps/v1/namespaces/${NAMESPACE}/${plural}/sidegate-${name}/status`, { status });
    await lab.put({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...own, name: `sidegate-${name}`, labels: { "kubernetes.io/service-name": `sidegate-${name}` } },
      addressType: "IPv4",
      ports: [{ name: "https", port: 8443 }],
      endpoints: [{ addresses: ["192.0.2.1"], conditions: { ready: true } }],
    });
  }
  const time = new Date(nowMs).toISOString().replace("Z", "000Z");
  const lease = {
    holderIdentity: "sidegate-controller-0",
    leaseDurationSeconds: 10,
    renewTime: time,
    acquireTime: time,
  };
  await lab.put({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { ...own, name: "sidegate-controller" },
    spec: lease,
  });
}

function withAuthority(object: Rendered, caBundle: string): Rendered {
  const { webhooks } = object as Rendered & { readonly webhooks?: readonly { readonly clientConfig: object }[] };
  if (webhooks === undefined) return object;
  return { ...object, webhooks: webhooks.map((one) => ({ ...one, clientConfig: { ...one.clientConfig, caBundle } })) };
}

/** As `crds/` has them, and waits until they are served. */
export async function installDefinitions(lab: OncallLab): Promise<void> {
  const { customResources } = await import("#contract/custom-resources.ts");
  for (const definition of customResources()) {
    await lab.put(definition as unknown as Rendered);
    const target = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition.metadata.name}`;
    await until(
      20_000,
      definition.metadata.name,
      async () =>
        JSON.stringify(await lab.get(target)).includes('"Established","status":"True"') ||
        JSON.stringify(await lab.get(target)).includes('"type":"Established"'),
    );
  }
}
