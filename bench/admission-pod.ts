/**
 * The reviews that the admission bench posts: a pod as a workload's controller makes it, with what real ones carry (env, probes,
 * volumes, managedFields), until its JSON has the size that the goal names. Each review has its own names and its own uid.
 */
import { PROXY_UID } from "../src/contract/names.ts";
import { injectPod } from "../src/injection/inject.ts";
import type { InjectionOptions } from "../src/injection/options.ts";

export const POD_BYTES = 16 * 1024;
/** So many that no cache by content could help; few enough to be made before the load begins. */
export const DISTINCT = 64;

/** An AdmissionReview's JSON whose pod has at least `POD_BYTES`. `n`: 0 to `DISTINCT` - 1. `injected`: with which options; null: it is not yet. */
export function reviewText(n: number, injected: InjectionOptions | null): string {
  return JSON.stringify({
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: `705ab4f5-6393-11e8-b7cc-${String(n).padStart(12, "0")}`,
      kind: { group: "", version: "v1", kind: "Pod" },
      resource: { group: "", version: "v1", resource: "pods" },
      requestKind: { group: "", version: "v1", kind: "Pod" },
      requestResource: { group: "", version: "v1", resource: "pods" },
      namespace: `team-${n}`,
      operation: "CREATE",
      userInfo: {
        username: "system:serviceaccount:kube-system:replicaset-controller",
        uid: "9c1f7d0e-1b2c-4f0a-a2de-6f0c3f5b7c11",
        groups: ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
      },
      object: injected === null ? pod(n) : injectedPod(n, injected),
      oldObject: null,
      dryRun: false,
      options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" },
    },
  });
}

function injectedPod(n: number, options: InjectionOptions): object {
  const injection = injectPod(pod(n), options, () => PROXY_UID.first + n);
  if (injection.kind === "denied") throw new Error(JSON.stringify(injection.violations));
  return injection.pod;
}

function pod(n: number): object {
  for (let variables = 8; ; variables++) {
    const made = podWith(n, variables);
    if (Buffer.byteLength(JSON.stringify(made)) >= POD_BYTES) return made;
  }
}

function podWith(n: number, variables: number): object {
  const env = Array.from({ length: variables }, (_, i) => ({
    name: `SETTING_${i}`,
    value: `value ${i} of agent ${n}, as long as such things are`,
  }));
  const containers = ["agent", "tools", "index"].map((name, at) => container(name, at, env));
  return {
    kind: "Pod",
    apiVersion: "v1",
    metadata: {
      generateName: `agent-${n}-6d5f9c7b44-`,
      namespace: `team-${n}`,
      creationTimestamp: null,
      labels: { app: `agent-${n}`, "pod-template-hash": "6d5f9c7b44", "app.kubernetes.io/part-of": "agents" },
      annotations: { "prometheus.io/scrape": "true", "prometheus.io/port": "9100" },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: `agent-${n}-6d5f9c7b44`,
          uid: "1e4f6a0b-6a3d-4c8e-9a57-2b7f0f6d9c10",
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        {
          manager: "kube-controller-manager",
          operation: "Update",
          apiVersion: "v1",
          time: "2026-01-01T00:00:00Z",
          fieldsType: "FieldsV1",
          fieldsV1: { "f:spec": { "f:containers": Object.fromEntries(env.map(({ name }) => [managed(name), {}])) } },
        },
      ],
    },
    spec: {
      volumes: [
        { name: "work", emptyDir: {} },
        { name: "settings", configMap: { name: "settings", defaultMode: 420 } },
        {
          name: "kube-api-access-x7k2p",
          projected: {
            defaultMode: 420,
            sources: [
              { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
              { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
              { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
            ],
          },
        },
      ],
      initContainers: [container("migrate", 3, env.slice(0, 4))],
      containers,
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      serviceAccountName: "agent",
      serviceAccount: "agent",
      securityContext: {},
      schedulerName: "default-scheduler",
      tolerations: [
        { key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 },
      ],
      priority: 0,
      enableServiceLinks: true,
      preemptionPolicy: "PreemptLowerPriority",
    },
    status: {},
  };
}

function managed(name: string): string {
  return `k:{"name":"${name}"}`;
}

function container(name: string, at: number, env: readonly object[]): object {
  return {
    name,
    image: `registry.example/agents/${name}@sha256:${"5b".repeat(32)}`,
    args: ["--listen", `0.0.0.0:${8000 + at}`],
    ports: [{ name: `port-${at}`, containerPort: 8000 + at, protocol: "TCP" }],
    env: [...env],
    resources: { limits: { memory: "512Mi" }, requests: { cpu: "100m", memory: "256Mi" } },
    volumeMounts: [
      { name: "work", mountPath: "/work" },
      { name: "settings", readOnly: true, mountPath: "/etc/agent" },
      { name: "kube-api-access-x7k2p", readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
    ],
    ...(name !== "migrate" && {
      readinessProbe: {
        httpGet: { path: "/ready", port: `port-${at}`, scheme: "HTTP" },
        timeoutSeconds: 1,
        periodSeconds: 10,
        successThreshold: 1,
        failureThreshold: 3,
      },
    }),
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: "IfNotPresent",
  };
}
