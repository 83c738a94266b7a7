/** ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1), as far as ours need it. */

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly operations: readonly ("CREATE" | "UPDATE" | "DELETE" | "CONNECT")[];
  /** Default: v1. */
  readonly apiVersions?: readonly string[];
}

export interface Check {
  /** CEL; true lets it pass. An error denies (`failurePolicy: Fail`). */
  readonly expression: string;
  /** What its author reads: the field, why, and the way out. */
  readonly message: string;
}

export interface Policy {
  readonly name: string;
  readonly about: string;
  readonly params: boolean;
  readonly rules: readonly Rule[];
  readonly conditions: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
  readonly checks: readonly Check[];
}

export const pods = (operation: "CREATE" | "UPDATE", ...subresources: readonly string[]): Rule => ({
  apiGroups: [""],
  resources: ["pods", ...subresources.map((name) => `pods/${name}`)],
  operations: [operation],
});

/** The manifest. Which namespaces it concerns, its bindings say: they are the chart's own templates. */
export function manifest(policy: Policy): object {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: {
      name: policy.name,
      labels: { "app.kubernetes.io/name": "sidegate", "app.kubernetes.io/part-of": "sidegate" },
      annotations: { "sidegate.dev/about": policy.about },
    },
    spec: {
      failurePolicy: "Fail",
      ...(policy.params && { paramKind: { apiVersion: "v1", kind: "ConfigMap" } }),
      matchConstraints: {
        matchPolicy: "Equivalent",
        resourceRules: policy.rules.map((rule) => ({ ...rule, apiVersions: rule.apiVersions ?? ["v1"], scope: "*" })),
      },
      ...(Object.keys(policy.conditions).length > 0 && {
        matchConditions: Object.entries(policy.conditions).map(([name, expression]) => ({ name, expression })),
      }),
      ...(Object.keys(policy.variables).length > 0 && {
        variables: Object.entries(policy.variables).map(([name, expression]) => ({ name, expression })),
      }),
      validations: policy.checks.map(({ expression, message }) => ({
        expression,
        message: `sidegate: ${message}`,
        reason: "Forbidden",
      })),
    },
  };
}

/**
 * Not those whom the administrator has exempted by name (value `exemptions`), until their last day is over. There is no clock in CEL, but
 * the API server writes a new object's creationTimestamp itself before it asks these policies, whatever its author wrote there. For
 * policies whose parameters are the chart's.
 */
export const NOT_EXEMPT: Readonly<Record<string, string>> = {
  "not-exempt": `!params.data["exemptions"].split("\\n").exists(e, e.startsWith(request.namespace + "/" + object.spec.?serviceAccountName.orValue("default") + "@") && timestamp(e.split("@")[1] + "T00:00:00Z") + duration("24h") > timestamp(object.metadata.creationTimestamp))`,
};
