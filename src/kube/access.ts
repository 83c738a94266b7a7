/**
 * How an API server is reached: as a pod (service account token, read anew because the kubelet renews it), or by a kubeconfig.
 * The Kubernetes client library reads kubeconfigs; it is loaded only for that, because importing it takes 86 MB.
 */
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";

export interface KubeAccess {
  readonly server: URL;
  /** TLS members and headers of each request. */
  options(): Promise<RequestOptions>;
}

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The kubelet renews an hour's token at 80 %; the API server takes an old one for longer than this. */
const TOKEN_MS = 60_000;

/** `host` and `port`: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. Rejects where the pod has no token. */
export async function podAccess(host: string, port: string, folder = ACCOUNT): Promise<KubeAccess> {
  const ca = await readFile(`${folder}/ca.crt`, "utf8");
  let token = { text: "", readAt: Number.NEGATIVE_INFINITY };
  return {
    server: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    async options() {
      const now = performance.now();
      if (now - token.readAt > TOKEN_MS)
        token = { text: (await readFile(`${folder}/token`, "utf8")).trim(), readAt: now };
      return { ca, headers: { authorization: `Bearer ${token.text}` } };
    },
  };
}

/** The file's current context. */
export async function fileAccess(file: string): Promise<KubeAccess> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  config.loadFromFile(file);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error(`${file}: its current context names no cluster`);
  return {
    server: new URL(cluster.server),
    async options() {
      const options: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(options);
      // An agent of the library's would carry its own TLS settings; ours keeps connections.
      const { agent: _agent, ...rest } = options;
      return rest;
    },
  };
}
