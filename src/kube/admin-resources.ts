/** The kinds that only a person's command line looks at, with that person's rights; the control plane's own are in `resources.ts`. */
import type { Resource } from "./port.ts";
import { RESOURCE } from "./resources.ts";

const core = { group: "", version: "v1" } as const;
const apps = { group: "apps", version: "v1", namespaced: true } as const;

export const ADMIN_RESOURCE = {
  ...RESOURCE,
  node: { ...core, plural: "nodes", kind: "Node", namespaced: false },
  quota: { ...core, plural: "resourcequotas", kind: "ResourceQuota", namespaced: true },
  limitRange: { ...core, plural: "limitranges", kind: "LimitRange", namespaced: true },
  claim: { ...core, plural: "persistentvolumeclaims", kind: "PersistentVolumeClaim", namespaced: true },
  deployment: { ...apps, plural: "deployments", kind: "Deployment" },
  replicaSet: { ...apps, plural: "replicasets", kind: "ReplicaSet" },
  daemonSet: { ...apps, plural: "daemonsets", kind: "DaemonSet" },
  statefulSet: { ...apps, plural: "statefulsets", kind: "StatefulSet" },
  endpointSlice: {
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
    kind: "EndpointSlice",
    namespaced: true,
  },
  priorityClass: {
    group: "scheduling.k8s.io",
    version: "v1",
    plural: "priorityclasses",
    kind: "PriorityClass",
    namespaced: false,
  },
} as const satisfies Record<string, Resource>;
