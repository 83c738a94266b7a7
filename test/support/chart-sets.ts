/** Values with which the chart's tests render it: one set for each thing that people set. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";

export type Values = Readonly<Record<string, unknown>>;

export const DIGESTS: Values = {
  "images.proxy.digest": `sha256:${"a".repeat(64)}`,
  "images.control.digest": `sha256:${"b".repeat(64)}`,
};
export const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const OWN: Values = {
  ...DIGESTS,
  "certificates.managed": false,
  "certificates.authority": CERTIFICATE,
  "bundle.configMap": "policy",
  "bundle.publicKey": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
};
export const MONITORING: Values = {
  "monitoring.monitors": { enabled: true, interval: "15s", labels: { release: "prometheus" } },
  "monitoring.rules": { enabled: true, labels: { release: "prometheus" }, runbooks: "https://wiki.example/sidegate" },
  "monitoring.dashboards": { enabled: true, annotations: { grafana_folder: "Sidegate" } },
  "monitoring.annotations.enabled": true,
};

export const SETS: Readonly<Record<string, Values>> = {
  "nothing but the images' digests": DIGESTS,
  "tags, for a trial": { "images.allowTags": true, "images.proxy.tag": "1", "images.control.tag": "1" },
  "an air-gapped registry with secrets to pull": {
    ...DIGESTS,
    "images.registry": "mirror.example:5000/team/sidegate",
    "images.pullSecrets": ["mirror"],
    "images.pullPolicy": "Always",
    "injection.imagePullSecrets": ["mirror"],
  },
  "repositories without a registry": {
    ...DIGESTS,
    "images.registry": "",
    "images.proxy.repository": "mirror.example/proxy",
  },
  OpenShift: { ...DIGESTS, "openshift.enabled": true },
  "monitoring of every kind": { ...DIGESTS, ...MONITORING },
  "certificates by cert-manager": {
    ...DIGESTS,
    "certificates.certManager": { enabled: true, issuer: { name: "company", kind: "ClusterIssuer" } },
  },
  "its own certificates, without a controller": { ...OWN, ...MONITORING },
  "one replica of each, an ephemeral record, no second lock, no NetworkPolicies": {
    ...DIGESTS,
    "webhook.replicas": 1,
    "controller.replicas": 1,
    "collector.storage.ephemeral": true,
    "secondLock.enabled": false,
    "library.enabled": false,
    "networkPolicies.enabled": false,
  },
  "a seccomp profile of ours, laid on the agents' nodes": {
    ...DIGESTS,
    "injection.seccomp": { type: "Localhost", localhostProfile: "team/agent.json" },
    seccompInstaller: {
      enabled: true,
      kubeletFolder: "/data/kubelet/seccomp",
      nodeSelector: { pool: "agents" },
      tolerations: [{ key: "agents", operator: "Exists", effect: "NoSchedule" }],
    },
    "images.pullSecrets": ["mirror"],
  },
  "deploy/kind/values.yaml": parse(readFileSync("deploy/kind/values.yaml", "utf8")) as Values,
  "Istio chained": { ...DIGESTS, ...(parse(readFileSync("examples/mesh/istio.yaml", "utf8")) as Values) },
  "Linkerd chained": { ...DIGESTS, ...(parse(readFileSync("examples/mesh/linkerd.yaml", "utf8")) as Values) },
  "nodes, tolerations, priority, exemptions, guards, resolvers": {
    ...DIGESTS,
    nodeSelector: { "node-role.kubernetes.io/infra": "" },
    tolerations: [{ key: "infra", operator: "Exists", effect: "NoSchedule" }],
    priorityClassName: "system-node-critical",
    exemptions: [{ namespace: "agents", serviceAccount: "exempt", reason: "a migration", until: "2030-01-01" }],
    "guard.users": ["system:serviceaccount:argocd:argocd-application-controller"],
    "guard.groups": ["platform"],
    excludedNamespaces: ["monitoring"],
    "injection.resolvers": ["10.96.0.10", "[fd00::10]:53"],
    "injection.tier": "locked",
    "collector.storage.className": "fast",
  },
};
