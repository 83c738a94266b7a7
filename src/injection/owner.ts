/**
 * Which workload a pod belongs to, as far as that can be believed: an ownerReference counts only when one of Kubernetes' own
 * controllers made the pod, because anybody else may write what he likes there (THREATS P10).
 */

/** The accounts of kube-controller-manager's controllers that make pods, and its own where they share one. */
export const POD_CONTROLLERS = [
  "system:serviceaccount:kube-system:replicaset-controller",
  "system:serviceaccount:kube-system:replication-controller",
  "system:serviceaccount:kube-system:statefulset-controller",
  "system:serviceaccount:kube-system:daemon-set-controller",
  "system:serviceaccount:kube-system:job-controller",
  "system:kube-controller-manager",
] as const;

/** Makes pods of ReplicationControllers, which bear no stamps: nobody is known behind these. */
export const UNSTAMPED_CONTROLLER: (typeof POD_CONTROLLERS)[number] =
  "system:serviceaccount:kube-system:replication-controller";

const KNOWN: ReadonlySet<string> = new Set(POD_CONTROLLERS);

/** The controllers that make or edit workloads in others' names. What they write there was another's word before. */
export const WORKLOAD_CONTROLLERS = [
  "system:serviceaccount:kube-system:deployment-controller",
  "system:serviceaccount:kube-system:cronjob-controller",
  ...POD_CONTROLLERS,
] as const;

interface Owned {
  readonly metadata?: {
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
}

/** `ReplicaSet/agent-6d5f…`, or "". `creator`: the API server's word about who makes the pod. */
export function workloadOf(pod: unknown, creator: string): string {
  if (!KNOWN.has(creator)) return "";
  const owners = (pod as Owned | undefined)?.metadata?.ownerReferences;
  if (!Array.isArray(owners)) return "";
  const [owner, more] = (owners as NonNullable<NonNullable<Owned["metadata"]>["ownerReferences"]>).filter(
    ({ controller }) => controller === true,
  );
  return owner === undefined || more !== undefined ? "" : `${owner.kind ?? ""}/${owner.name ?? ""}`;
}
