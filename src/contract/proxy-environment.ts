/**
 * The environment of our two containers: written by injection, read by `cmd/init.ts` and `cmd/sidecar.ts`. Every name is always
 * written, if only as an empty string: what is left out could be supplied by a Service of the pod's namespace, whose name becomes
 * `NAME_SERVICE_HOST` and `NAME_PORT` in each container.
 */
export const PROXY_ENV = {
  /** Decimal uid of the sidecar, of the range `PROXY_UID`. Read by init. */
  uid: "SIDEGATE_UID",
  /** `nft`, `iptables` or `auto`. Read by init. */
  dataplane: "SIDEGATE_DATAPLANE",
  /** Comma-separated TCP ports at which the pod may be reached, ascending; may be empty. Read by init. */
  inbound: "SIDEGATE_INBOUND",
  /** `UID:PORT,PORT…` of a mesh's proxy in the same pod, which goes out un-judged; empty: none. Read by init. */
  mesh: "SIDEGATE_MESH",
  /** Who runs; from the downward API where it is only known later. Read by the sidecar, as all that follows. */
  cluster: "SIDEGATE_CLUSTER",
  namespace: "SIDEGATE_NAMESPACE",
  pod: "SIDEGATE_POD",
  podUid: "SIDEGATE_POD_UID",
  /** Comma-separated addresses of the pod, for the admin listener. */
  podAddresses: "SIDEGATE_POD_ADDRESSES",
  node: "SIDEGATE_NODE",
  account: "SIDEGATE_ACCOUNT",
  tier: "SIDEGATE_TIER",
  /** `https://…` of the collector, and the PEM of who signed its certificate ("": the system's roots). */
  collector: "SIDEGATE_COLLECTOR",
  collectorCa: "SIDEGATE_COLLECTOR_CA",
  /** `https://…` of a bundle server, or the path of a bundle file, and the PEM public key that signed the bundle. */
  bundle: "SIDEGATE_BUNDLE",
  bundleKey: "SIDEGATE_BUNDLE_KEY",
  /** Comma-separated `address` or `address:port` of the cluster's resolvers; never the pod's resolv.conf. */
  resolvers: "SIDEGATE_RESOLVERS",
  /** Scope that the bundle's signature must name, and the id of the key. */
  bundleScope: "SIDEGATE_BUNDLE_SCOPE",
  bundleKeyId: "SIDEGATE_BUNDLE_KEY_ID",
  /** Comma-separated names of what is open in tier `advisory`. */
  open: "SIDEGATE_OPEN",
  /** Folders of our own; the defaults are PATHS. Trust `off`: the files are there already. */
  state: "SIDEGATE_STATE",
  trust: "SIDEGATE_TRUST",
  /** The spool's folder; default: `spool` in the state folder. `sidegate run`: shared by the runs of one user. */
  spool: "SIDEGATE_SPOOL",
  /** `ports`: bind the capture ports; else descriptors that the parent hands down, `tcp4=4,dnsUdp4=6,…` (`sidegate run`). */
  listen: "SIDEGATE_LISTEN",
  /** `address:port` of the admin listener instead of the pod's addresses; `off`: none. */
  admin: "SIDEGATE_ADMIN",
  /** JSON of the run that every operation belongs to (`sidegate run`). */
  run: "SIDEGATE_RUN",
  /** A hosts file whose names win over DNS, and leave to dial loopback endpoints: `sidegate run` only, where the machine is the user's own. */
  hosts: "SIDEGATE_HOSTS",
  loopback: "SIDEGATE_LOOPBACK_ENDPOINTS",
  /** Descriptor for one NDJSON line a decision, for a terminal. */
  decisions: "SIDEGATE_DECISIONS",
  /** Milliseconds for what is under way when the process is asked to end. */
  drain: "SIDEGATE_DRAIN_MS",
} as const;

/** Files that the sidecar finds beside its token: what the downward API knows of the pod, kept up to date by the kubelet. */
export const POD_FILES = { labels: "labels", annotations: "annotations" } as const;

/** Where a bundle lies that a ConfigMap brings (laboratory and air-gapped installations). */
export const BUNDLE_MOUNT = "/etc/sidegate/bundle";

/** How the images start our processes; `node` first, its flags, then one esbuild bundle. */
export const PROXY_COMMAND = {
  init: ["/usr/local/bin/node", "--disable-sigusr1", "--disable-warning=ExperimentalWarning", "/app/init.js"],
  sidecar: ["/usr/local/bin/node", "--disable-sigusr1", "--disable-warning=ExperimentalWarning", "/app/sidecar.js"],
} as const;
