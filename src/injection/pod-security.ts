/**
 * Pod Security of the namespace: levels `baseline` and `restricted` refuse NET_ADMIN, which our init container needs for a moment. The API
 * server would refuse the pod for a container that its author never wrote; so we refuse it first, and name the ways out.
 *
 * Known from the namespace's label. A level that comes from the API server's own configuration is not seen here, nor an exemption there:
 * whoever has one says so by a label of ours, which opens nothing.
 */
import { CONTAINER } from "#contract/names.ts";
import type { Violation } from "./violation.ts";

export const POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce";
/** `exempt`: the API server's configuration exempts this namespace. */
export const POD_SECURITY_EXEMPT_LABEL = "sidegate.dev/pod-security";

/** The level that refuses us; "": none. `labels`: the namespace's. */
export function refusingLevel(labels: Readonly<Record<string, string>>): "" | "baseline" | "restricted" {
  if (labels[POD_SECURITY_EXEMPT_LABEL] === "exempt") return "";
  const level = labels[POD_SECURITY_LABEL];
  return level === "baseline" || level === "restricted" ? level : "";
}

export function podSecurityViolation(level: "baseline" | "restricted"): Violation {
  return {
    field: `namespace.metadata.labels[${POD_SECURITY_LABEL}]`,
    message:
      `${level} refuses the gateway's container ${CONTAINER.init}, which needs NET_ADMIN until it has written the rules. ` +
      `Either label the namespace ${POD_SECURITY_LABEL}=privileged (agents are held to more than baseline there by the gateway's own admission policies), ` +
      `or exempt it in the API server's PodSecurity configuration and label it ${POD_SECURITY_EXEMPT_LABEL}=exempt`,
  };
}
