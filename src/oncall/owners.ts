/** What a person types to have a pod made anew, by who made it. */
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject, OwnerReference } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";

export interface Owners {
  /** `Deployment/agent`, or `Pod/name` of one that nobody owns. */
  ownerOf(pod: KubeObject): Promise<string>;
}

/** Each ReplicaSet is asked for once. */
export function createOwners(cluster: Cluster): Owners {
  const known = new Map<string, Promise<string>>();
  return {
    async ownerOf({ metadata: { name, namespace = "", ownerReferences = [] } }) {
      const owner = controllerOf(ownerReferences);
      if (owner === null) return `Pod/${name}`;
      if (owner.kind !== "ReplicaSet") return `${owner.kind}/${owner.name}`;
      const key = `${namespace}/${owner.name}`;
      const found = known.get(key) ?? deploymentOf(cluster, namespace, owner.name);
      known.set(key, found);
      return found;
    },
  };
}

async function deploymentOf(cluster: Cluster, namespace: string, replicaSet: string): Promise<string> {
  const found = await cluster.get(ADMIN_RESOURCE.replicaSet, replicaSet, namespace).catch(() => null);
  const owner = controllerOf(found?.metadata.ownerReferences ?? []);
  // Without the right to look: a ReplicaSet's name is its Deployment's and a hash.
  if (found === null) return `Deployment/${replicaSet.replace(/-[a-z0-9]+$/, "")}`;
  return owner === null ? `ReplicaSet/${replicaSet}` : `${owner.kind}/${owner.name}`;
}

function controllerOf(owners: readonly OwnerReference[]): OwnerReference | null {
  return owners.find(({ controller }) => controller === true) ?? null;
}

/** One line to paste. `owner`: as `ownerOf` says it. */
export function restartLine(namespace: string, owner: string): string {
  const [kind = "", name = ""] = owner.split("/");
  switch (kind) {
    case "Deployment":
    case "StatefulSet":
    case "DaemonSet":
      return `kubectl -n ${namespace} rollout restart ${kind.toLowerCase()}/${name}`;
    case "ReplicaSet":
      return `kubectl -n ${namespace} delete pods -l "$(kubectl -n ${namespace} get replicaset ${name} -o go-template='{{range $k, $v := .spec.selector.matchLabels}}{{$k}}={{$v}},{{end}}' | sed 's/,$//')"`;
    case "Job":
      return `kubectl -n ${namespace} get job ${name} -o yaml > ${name}.yaml  # then delete it, take status and uid labels out, and apply it again`;
    default:
      return `kubectl -n ${namespace} get ${kind.toLowerCase()} ${name} -o yaml > ${name}.yaml  # then delete it and apply it again`;
  }
}
