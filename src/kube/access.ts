/**
 * How an API server is reached by a kubeconfig. The Kubernetes client library reads it; it is loaded only for that, because importing
 * it takes 86 MB.
 */
import type { RequestOptions } from "node:https";
import type { KubeAccess } from "./pod-access.ts";

export { type KubeAccess, podAccess } from "./pod-access.ts";

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
