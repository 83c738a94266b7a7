/** ClusterIPs: of Services that targets name as hosts, so that an agent which dials the address meets the target; and of the cluster's DNS. */
import type { KubeObject } from "#kube/port.ts";
import type { ObservedTarget } from "./observed.ts";

interface ServiceObject extends KubeObject {
  readonly spec?: { readonly clusterIP?: string; readonly clusterIPs?: readonly string[] };
}

/** Null: it has none (headless, ExternalName). */
export function clusterAddresses(object: KubeObject): readonly string[] | null {
  const { spec } = object as ServiceObject;
  const all = (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).filter((address) => address !== "" && address !== "None");
  return all.length === 0 ? null : all;
}

/** `NAME.NAMESPACE.svc` with any cluster domain behind it → `NAMESPACE/NAME`. */
export function serviceOf(host: string): string | null {
  const [, name, namespace] = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.[a-z0-9.-]+)?$/.exec(host) ?? [];
  return name === undefined || namespace === undefined ? null : `${namespace}/${name}`;
}

export function targetAddresses(
  targets: readonly ObservedTarget[],
  services: ReadonlyMap<string, readonly string[]>,
): Record<string, readonly string[]> {
  const found: Record<string, readonly string[]> = {};
  for (const { name, spec } of targets) {
    const addresses = spec.hosts.flatMap((host) => services.get(serviceOf(host) ?? "") ?? []);
    if (addresses.length > 0) found[name] = addresses;
  }
  return found;
}
