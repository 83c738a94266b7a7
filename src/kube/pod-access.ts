/** How a pod reaches its API server: its service account's token, read anew because the kubelet renews it. Without the Kubernetes library. */
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
