/**
 * The ConfigMap that says what is only known at run time and is no secret: our authority, the key that verifies bundles, the cluster's
 * resolvers, the API server's token keys. Injection and the collector read it; templates cannot hold any of it.
 */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import { hasStatus, type Kube, type KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

export interface RuntimeValues {
  readonly "ca.crt": string;
  readonly "bundle-key.pem": string;
  readonly "bundle-key-id": string;
  /** Comma-separated addresses. */
  readonly resolvers: string;
  readonly "jwks.json": string;
  readonly issuer: string;
}

export interface ConfigMapObject extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/** True when something was written. */
export async function writeRuntime(kube: Kube, namespace: string, values: RuntimeValues): Promise<boolean> {
  const at = { namespace, name: CONTROL_OBJECT.runtime };
  const found = await kube.get<ConfigMapObject>(RESOURCE.configMap, at);
  const data = values as unknown as Readonly<Record<string, string>>;
  if (found === null) {
    await kube.create<ConfigMapObject>(RESOURCE.configMap, { metadata: at, data }).catch((fault: unknown) => {
      if (!hasStatus(fault, 409)) throw fault;
    });
    return true;
  }
  if (Object.entries(data).every(([key, value]) => found.data?.[key] === value)) return false;
  await kube.replace<ConfigMapObject>(RESOURCE.configMap, {
    metadata: found.metadata,
    data: { ...found.data, ...data },
  });
  return true;
}
