/** Names, numbers and paths that more than one process must agree on. Nobody writes such a string twice. */

export const API_GROUP = "sidegate.dev";
export const API_VERSION = "sidegate.dev/v1alpha1";

/**
 * Where the kernel sends the agent's connections; both bind loopback only. None of the three is a mesh's, whose proxy may be in the same
 * pod: Istio and Kuma have 15000 to 15090, Linkerd 4140 to 4191, Consul 15001 and 20000 to 20200.
 */
export const CAPTURE_PORT = 15801;
export const DNS_PORT = 15853;
/** The one listener on the pod's address: GET /metrics, /ready, /live. */
export const ADMIN_PORT = 15890;
export const OUR_PORT_NUMBERS: readonly number[] = [CAPTURE_PORT, DNS_PORT, ADMIN_PORT];

/** The proxy's uid is random per pod, out of this range (both ends included). */
export const PROXY_UID = { first: 1_900_000_000, last: 1_999_999_999 } as const;

/** Synthetic addresses: one name, one address (docs/architecture.md). */
export const SYNTHETIC = { v4: "240.240.0.0/16", v6: "fd53:6467:6174:6500::/64" } as const;

export const TOKEN_AUDIENCE = "sidegate";

export const LABEL = { inject: `${API_GROUP}/inject` } as const;
export const ANNOTATION = {
  injected: `${API_GROUP}/injected`,
  proxyUid: `${API_GROUP}/proxy-uid`,
  inboundPorts: `${API_GROUP}/inbound-ports`,
  /** A person, named by a deployer (values `identity.deployers`) on a workload or a pod; nobody else may. */
  owner: `${API_GROUP}/owner`,
  /** Who made it, in the API server's words: on pods, and on workloads. */
  creator: `${API_GROUP}/creator`,
  /** On workloads: who last wrote the pod's template. On pods: the same of their workload. */
  templateWriter: `${API_GROUP}/template-writer`,
  /** On pods: their workload, and who made that. */
  workload: `${API_GROUP}/workload`,
  workloadCreator: `${API_GROUP}/workload-creator`,
  mode: `${API_GROUP}/mode`,
  /** Of our own containers, within bounds: `requests.cpu=200m, limits.memory=512Mi`. */
  resources: `${API_GROUP}/resources`,
  foreignCredentials: `${API_GROUP}/foreign-credentials`,
  /** On custom resource definitions: the release that they are of, as in `version.ts`. */
  release: `${API_GROUP}/release`,
} as const;

export const CONTAINER = { init: "sidegate-init", sidecar: "sidegate" } as const;
export const VOLUME = {
  trust: "sidegate-trust",
  state: "sidegate-state",
  token: "sidegate-token",
  account: "sidegate-account",
  bundle: "sidegate-bundle",
} as const;

/** Inside the sidecar's container. `state` (memory volume): the CA's key, spool, last good bundle. `trust`: what the agent mounts. */
export const PATHS = {
  state: "/var/run/sidegate/state",
  trust: "/var/run/sidegate/trust",
  token: "/var/run/sidegate/token/token",
  bundleFile: "ca-bundle.pem",
  caFile: "sidegate-ca.pem",
  storeFile: "sidegate-ca.jks",
  /** In the trust folder: the library that sets trust variables where a parent passed none on, its list, and what it sets. */
  preloadLibrary: "preload.so",
  preloadList: "ld.so.preload",
  preloadEnvironment: "environment",
} as const;

/** The record's id, in each refusal that HTTP carries. */
export const EVENT_HEADER = "Sidegate-Event";
