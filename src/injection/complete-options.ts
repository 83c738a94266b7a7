/**
 * What injection must know and nobody can write down beforehand: our authority, the key that verifies bundles, the cluster's resolvers.
 * The webhook and the drift check fill them in alike; a pod of another namespace gets another scope. Pure.
 */
import { bundleScope, NAMESPACE_LABEL } from "#contract/control-environment.ts";
import type { InjectionOptions } from "./options.ts";

/** The control plane's ConfigMap `sidegate-runtime`. */
export type RuntimeData = Readonly<Record<string, string>>;

/** What the options name already stays. Null: the control plane has not said it all yet. */
export function completeOptions(options: InjectionOptions, runtime: RuntimeData): InjectionOptions | null {
  const ca = options.collector.ca || (runtime["ca.crt"] ?? "");
  const publicKey = options.bundle.publicKey || (runtime["bundle-key.pem"] ?? "");
  if (ca === "" || publicKey === "") return null;
  const resolvers = options.resolvers.length > 0 ? options.resolvers : (runtime["resolvers"] ?? "").split(",");
  return {
    ...options,
    collector: { ...options.collector, ca },
    bundle: { ...options.bundle, publicKey },
    resolvers: resolvers.filter((address) => address !== ""),
  };
}

/** As the pods of one namespace have them: the scope of its bundles where they come from our own server, its tier where a label says one, and a chained mesh only where all of its pods are ours. */
export function optionsFor(options: InjectionOptions, namespace: string, labels: Labels): InjectionOptions {
  const asked = labels[NAMESPACE_LABEL.tier];
  const tier = asked === "enforced" || asked === "locked" ? asked : options.tier;
  // Elsewhere nobody is kept from executing in the mesh's containers, whose uid goes out.
  const mesh = labels[NAMESPACE_LABEL.inject] === "all" ? options.mesh : null;
  if (options.bundle.configMap !== "")
    return tier === options.tier && mesh === options.mesh ? options : { ...options, tier, mesh };
  return { ...options, tier, mesh, bundle: { ...options.bundle, scope: bundleScope(options.cluster, namespace) } };
}

type Labels = Readonly<Record<string, string>>;
