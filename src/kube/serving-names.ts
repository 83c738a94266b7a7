/** The names by which Services are asked for in a cluster, whatever its domain is called: the API server uses `NAME.NAMESPACE.svc`. */
export function servingNames(services: readonly string[], namespace: string, domain = "cluster.local"): string[] {
  return services.flatMap((name) => [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.${domain}`]);
}
