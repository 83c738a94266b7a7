/** The kinds of objects that the control plane reads or writes; charts/gateway/files/rbac.yaml grants exactly these. */
import { API_GROUP, API_VERSION } from "#contract/names.ts";
import type { Resource } from "./port.ts";

const core = { group: "", version: "v1" } as const;
const ours = { group: API_GROUP, version: API_VERSION.slice(API_GROUP.length + 1) } as const;
const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false } as const;

export const RESOURCE = {
  namespace: { ...core, plural: "namespaces", kind: "Namespace", namespaced: false },
  pod: { ...core, plural: "pods", kind: "Pod", namespaced: true },
  service: { ...core, plural: "services", kind: "Service", namespaced: true },
  secret: { ...core, plural: "secrets", kind: "Secret", namespaced: true },
  limitRange: { ...core, plural: "limitranges", kind: "LimitRange", namespaced: true },
  configMap: { ...core, plural: "configmaps", kind: "ConfigMap", namespaced: true },
  event: { group: "", version: "v1", plural: "events", kind: "Event", namespaced: true },
  lease: { group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease", namespaced: true },
  access: {
    group: "authorization.k8s.io",
    version: "v1",
    plural: "subjectaccessreviews",
    kind: "SubjectAccessReview",
    namespaced: false,
  },
  tokenReview: {
    group: "authentication.k8s.io",
    version: "v1",
    plural: "tokenreviews",
    kind: "TokenReview",
    namespaced: false,
  },
  selfReview: {
    group: "authentication.k8s.io",
    version: "v1",
    plural: "selfsubjectreviews",
    kind: "SelfSubjectReview",
    namespaced: false,
  },
  freeze: { ...ours, plural: "freezes", kind: "Freeze", namespaced: true },
  agentPolicy: { ...ours, plural: "agentpolicies", kind: "AgentPolicy", namespaced: true },
  clusterAgentPolicy: { ...ours, plural: "clusteragentpolicies", kind: "ClusterAgentPolicy", namespaced: false },
  egressTarget: { ...ours, plural: "egresstargets", kind: "EgressTarget", namespaced: true },
  mutatingWebhook: { ...admission, plural: "mutatingwebhookconfigurations", kind: "MutatingWebhookConfiguration" },
  validatingWebhook: {
    ...admission,
    plural: "validatingwebhookconfigurations",
    kind: "ValidatingWebhookConfiguration",
  },
  admissionPolicy: { ...admission, plural: "validatingadmissionpolicies", kind: "ValidatingAdmissionPolicy" },
  admissionBinding: {
    ...admission,
    plural: "validatingadmissionpolicybindings",
    kind: "ValidatingAdmissionPolicyBinding",
  },
  definition: {
    group: "apiextensions.k8s.io",
    version: "v1",
    plural: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    namespaced: false,
  },
} as const satisfies Record<string, Resource>;

export function apiVersionOf({ group, version }: Resource): string {
  return group === "" ? version : `${group}/${version}`;
}
