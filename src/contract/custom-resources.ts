/** Our custom resource definitions, out of the same schemas that the processes check with. */
import { AgentPolicySpec, ClusterAgentPolicySpec, ResourceStatus } from "./agent-policy.ts";
import { FreezeSpec, FreezeStatus } from "./freeze-spec.ts";
import { ANNOTATION, API_GROUP, API_VERSION } from "./names.ts";
import { type StructuralSchema, structural } from "./structural-schema.ts";
import { TargetSpec } from "./target.ts";
import { VERSION } from "./version.ts";

export interface CustomResource {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "CustomResourceDefinition";
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly group: string;
    readonly scope: "Namespaced" | "Cluster";
    readonly names: {
      readonly kind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
      readonly categories: readonly string[];
    };
    readonly versions: readonly object[];
    /** Said, so that one that somebody else adds is a difference. */
    readonly conversion: { readonly strategy: "None" };
  };
}

interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly priority?: number;
}

interface Definition {
  readonly kind: string;
  readonly short: string;
  readonly scope: "Namespaced" | "Cluster";
  readonly description: string;
  readonly spec: object;
  /** Default: ResourceStatus. */
  readonly status?: object;
  readonly rules: readonly Rule[];
  readonly nameRules: readonly Rule[];
  readonly columns: readonly Column[];
}

const READY: readonly Column[] = [
  { name: "Ready", type: "string", jsonPath: ".status.conditions[?(@.type=='Ready')].status" },
  { name: "Reason", type: "string", jsonPath: ".status.conditions[?(@.type=='Ready')].reason" },
];
const AGE: Column = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

const POLICY_RULES: readonly Rule[] = [
  {
    rule: "self.module.matches('(?m)^package[ \\t]') && !self.module.matches('(?ms)^package[ \\t].*^package[ \\t]')",
    message: "exactly one Rego module, with one package line",
    fieldPath: ".module",
  },
];
/** A policy's package is named after it, and Rego's names are no DNS names. */
const POLICY_NAMES: readonly Rule[] = [
  {
    rule: "self.metadata.name.matches('^[a-z][a-z0-9-]{0,62}$')",
    message: "a policy's name begins with a letter and has at most 63 of a-z, 0-9 and -",
  },
];
const POLICY_COLUMNS: readonly Column[] = [
  { name: "Mode", type: "string", jsonPath: ".spec.mode" },
  ...READY,
  { name: "Pods", type: "integer", jsonPath: ".status.pods" },
  AGE,
];

const DEFINITIONS: readonly Definition[] = [
  {
    kind: "AgentPolicy",
    short: "agp",
    scope: "Namespaced",
    description: "What agents of this namespace may do: one Rego module.",
    spec: AgentPolicySpec,
    rules: POLICY_RULES,
    nameRules: POLICY_NAMES,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "ClusterAgentPolicy",
    short: "cagp",
    scope: "Cluster",
    description: "What agents of the selected namespaces may do; its denials bound every namespace's own policies.",
    spec: ClusterAgentPolicySpec,
    rules: POLICY_RULES,
    nameRules: POLICY_NAMES,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "EgressTarget",
    short: "egt",
    scope: "Namespaced",
    description:
      "One named place that agents may know: those of its namespace, or, in the gateway's own namespace, those of every namespace.",
    spec: TargetSpec,
    rules: [
      {
        rule: "!has(self.credential) || self.hosts.all(h, !h.startsWith('*.'))",
        message: "a wildcard may not stand together with a credential",
        fieldPath: ".hosts",
      },
      {
        rule: "!has(self.insecureCredential) || !self.insecureCredential || has(self.endpoints)",
        message: "insecureCredential needs endpoints, which say what machine that is",
      },
      {
        rule: "!has(self.credentialFrom) || has(self.credential)",
        message: "credentialFrom needs `credential`, the name by which policies put it in",
      },
    ],
    nameRules: [],
    columns: [
      { name: "Hosts", type: "string", jsonPath: ".spec.hosts" },
      { name: "Ports", type: "string", jsonPath: ".spec.ports" },
      { name: "Protocol", type: "string", jsonPath: ".spec.protocol" },
      { name: "Credential", type: "string", jsonPath: ".spec.credential", priority: 1 },
      ...READY,
      AGE,
    ],
  },
  {
    kind: "Freeze",
    short: "frz",
    scope: "Namespaced",
    description:
      "While it is there, everything that the agents of its namespace (or one pod of it; in the gateway's own namespace: every agent) ask is denied.",
    spec: FreezeSpec,
    status: FreezeStatus,
    rules: [
      {
        rule: "self.by == oldSelf.by && self.reason == oldSelf.reason && (has(self.pod) ? self.pod : '') == (has(oldSelf.pod) ? oldSelf.pod : '')",
        message: "a freeze stays as it was made; lift it, and make another",
      },
      {
        rule: "!has(oldSelf.lifted) || (has(self.lifted) && self.lifted == oldSelf.lifted)",
        message: "what was lifted stays lifted; make another freeze",
      },
    ],
    nameRules: [],
    columns: [
      { name: "Pod", type: "string", jsonPath: ".spec.pod" },
      { name: "By", type: "string", jsonPath: ".spec.by" },
      { name: "Reason", type: "string", jsonPath: ".spec.reason" },
      { name: "Lifted", type: "string", jsonPath: ".spec.lifted.by" },
      { name: "Pods", type: "integer", jsonPath: ".status.pods" },
      AGE,
    ],
  },
];

export function customResources(): readonly CustomResource[] {
  return DEFINITIONS.map(({ kind, short, scope, description, spec, status, rules, nameRules, columns }) => {
    const singular = kind.toLowerCase();
    const plural = singular.endsWith("y") ? singular.replace(/y$/, "ies") : `${singular}s`;
    const specSchema: StructuralSchema = { ...structural(spec), "x-kubernetes-validations": rules };
    return {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: {
        name: `${plural}.${API_GROUP}`,
        annotations: { "helm.sh/resource-policy": "keep", [ANNOTATION.release]: VERSION },
      },
      spec: {
        group: API_GROUP,
        scope,
        names: { kind, plural, singular, shortNames: [short], categories: ["sidegate"] },
        conversion: { strategy: "None" },
        versions: [
          {
            name: API_VERSION.slice(API_GROUP.length + 1),
            served: true,
            storage: true,
            subresources: { status: {} },
            additionalPrinterColumns: columns,
            schema: {
              openAPIV3Schema: {
                type: "object",
                description,
                required: ["spec"],
                properties: {
                  apiVersion: { type: "string" },
                  kind: { type: "string" },
                  metadata: { type: "object" },
                  spec: specSchema,
                  status: structural(status ?? ResourceStatus),
                },
                ...(nameRules.length > 0 && { "x-kubernetes-validations": nameRules }),
              },
            },
          },
        ],
      },
    };
  });
}
