/**
 * What the control plane's processes share: names of environment variables, ports, paths and objects. The chart writes them, `cmd/`
 * reads them. Everything made at run time (certificates, keys) is made by the processes themselves, so that templates hold no secret.
 */
import { API_GROUP } from "./names.ts";

export const CONTROL_ENV = {
  /** The control plane's own namespace, from the downward API. Required by the controller; by the webhook, turns on certificates from the Secret. */
  namespace: "SIDEGATE_CONTROL_NAMESPACE",
  /** This replica's name, from the downward API (`metadata.name`). */
  identity: "SIDEGATE_IDENTITY",
  /** Where to serve. */
  address: "SIDEGATE_LISTEN_ADDRESS",
  port: "SIDEGATE_LISTEN_NUMBER",
  /** Path of the injection options (a ConfigMap's mount). */
  injection: "SIDEGATE_INJECTION",
  /** Path of a kubeconfig; empty in a pod. */
  kubeconfig: "SIDEGATE_KUBECONFIG",
  /** This cluster's name: first part of each bundle's scope. */
  cluster: "SIDEGATE_CLUSTER",
  /** Path of the `opa` program. */
  opa: "SIDEGATE_OPA",
  /** Comma-separated DNS names that the serving certificate bears besides those of our Services. */
  names: "SIDEGATE_CERTIFICATE_NAMES",
  /** `self`: the processes make and renew what is in the Secret; `secret`: somebody else does (cert-manager), they only read it. */
  certificatesBy: "SIDEGATE_CERTIFICATES_BY",
  /** `pod`: who asks for a bundle must have the pod's address; `any` where something between rewrites addresses. */
  caller: "SIDEGATE_CALLER_ADDRESS",
  /** Service of the cluster's DNS, `namespace/name`. */
  dns: "SIDEGATE_DNS_SERVICE",
  /** ConfigMap of our namespace whose values are the manifests to guard, and its absence: nothing is guarded. */
  guarded: "SIDEGATE_GUARDED",
  /** `self`: the controller brings our custom resource definitions up to its release; `others`: it only looks at them. */
  definitionsBy: "SIDEGATE_DEFINITIONS_BY",
  /** `https://host:port` of the collector, to which acts go; empty: they are not recorded. */
  collector: "SIDEGATE_COLLECTOR",
  /** Path of our service account's token with the audience `sidegate`. */
  token: "SIDEGATE_TOKEN",
  /** Comma-separated namespaces whose agents go on unrecorded where the record is full (`audit.onFull: allow`). */
  onFullAllow: "SIDEGATE_AUDIT_ON_FULL_ALLOW",
  /** Comma-separated namespaces whose Secrets targets may name. */
  credentialNamespaces: "SIDEGATE_CREDENTIAL_NAMESPACES",
  /** Seconds that a sidecar may use a credential without asking again. */
  credentialSeconds: "SIDEGATE_CREDENTIAL_SECONDS",
} as const;

/** Ports inside the pods; the Services use the same ones but the webhook's (443). */
export const CONTROL_PORT = { webhook: 8443, controller: 8443, collector: 8443 } as const;

/** Services by which the certificate's names are made: NAME.NAMESPACE.svc and NAME.NAMESPACE.svc.cluster.local. */
export const CONTROL_SERVICE = {
  webhook: "sidegate-webhook",
  controller: "sidegate-controller",
  collector: "sidegate-collector",
} as const;

/** Objects of our own namespace that the processes make. */
export const CONTROL_OBJECT = {
  /** Secret: ca.crt (bundle), ca.key, tls.crt, tls.key; while a CA is being replaced also next.crt and next.key. */
  certificates: "sidegate-certificates",
  /** Secret: key.pem (Ed25519 private key that signs bundles). */
  bundleKey: "sidegate-bundle-key",
  /** ConfigMap: ca.crt, bundle-key.pem, bundle-key-id, resolvers, jwks.json, issuer: what injection and the collector need of us. */
  runtime: "sidegate-runtime",
  lease: "sidegate-controller",
  /** Secrets `sidegate-bundle-<id>`, with this label: the last good bundle of each set. */
  bundlePrefix: "sidegate-bundle-",
  bundleLabel: `${API_GROUP}/bundle`,
  /** ConfigMap with the manifests to guard, by default. */
  guarded: "sidegate-guarded",
} as const;

/** What the API server posts reviews to, on the webhook's Service. `policies`: our own resources, CREATE and UPDATE; takes a second or two. */
export const REVIEW_PATH = {
  mutate: "/mutate",
  validate: "/validate",
  policies: "/policies",
  workloads: "/workloads",
} as const;

/** What a pod asks for: always the same path; who asks decides what comes. */
export const BUNDLE_PATH = "/bundles/pod.tar.gz";

/**
 * What a sidecar asks for a credential, on the bundle server: `/credentials/<target>/<name>`, with the target's `binding` in a field of
 * its own. GET hands it out, HEAD says whether it is another one than the ETag's.
 */
export const CREDENTIAL_PATH = "/credentials";
export const CREDENTIAL_BINDING_HEADER = "sidegate-binding";

/** Scope of a bundle's signature: a bundle of one namespace is none for another. */
export function bundleScope(cluster: string, namespace: string): string {
  return `${cluster}/${namespace}`;
}

/** On a namespace: `all` or `opt-in` (label); on a pod: `true` or `false`. */
export const NAMESPACE_LABEL = {
  inject: `${API_GROUP}/inject`,
  mode: `${API_GROUP}/mode`,
  tier: `${API_GROUP}/tier`,
} as const;
/** On a namespace, an RFC 3339 time, at most 14 days ahead; without it, observe mode does not begin. */
export const OBSERVE_UNTIL = `${API_GROUP}/observe-until`;
export const MAX_OBSERVE_MS = 14 * 86_400_000;
