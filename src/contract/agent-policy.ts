/**
 * AgentPolicy and ClusterAgentPolicy: one Rego module each, for the pods that a selector names. The one source for the types, for
 * the custom resource definitions (tools/crds.ts) and for the check at admission.
 */
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;
const word = Type.String({ maxLength: 317 });
const value = Type.String({ maxLength: 63 });

/** meta/v1 LabelSelector. An empty one selects everything; an absent one too. */
export const LabelSelector = Type.Object(
  {
    matchLabels: Type.Optional(Type.Record(Type.String(), value)),
    matchExpressions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            key: word,
            operator: Type.Enum(["In", "NotIn", "Exists", "DoesNotExist"]),
            values: Type.Optional(Type.Array(value, { maxItems: 64 })),
          },
          strict,
        ),
        { maxItems: 32 },
      ),
    ),
  },
  strict,
);
export type LabelSelector = Static<typeof LabelSelector>;

const members = {
  podSelector: Type.Optional({ ...LabelSelector, description: "Which pods; empty or absent: all." }),
  module: Type.String({
    minLength: 1,
    maxLength: 262_144,
    description:
      "One Rego module (v1 syntax), package sidegate.policy.<name>: the resource's own name, with _ or - for its dashes.",
  }),
  data: Type.Optional(
    Type.Unsafe<Record<string, unknown>>({
      type: "object",
      description: "The policy's own data, read as data.sidegate.data.<name>.",
    }),
  ),
  tests: Type.Optional(
    Type.String({
      maxLength: 262_144,
      description: "A Rego module of tests, package sidegate.policy.<name>_test; a policy whose tests fail is refused.",
    }),
  ),
  mode: Type.Optional(
    Type.Enum(["enforce", "observe"], {
      description: "observe: what it would deny is recorded and goes on; what it allows is not allowed by it.",
    }),
  ),
} as const;

export const AgentPolicySpec = Type.Object(members, strict);
export type AgentPolicySpec = Static<typeof AgentPolicySpec>;

export const ClusterAgentPolicySpec = Type.Object(
  {
    namespaceSelector: Type.Optional({
      ...LabelSelector,
      description: "Which namespaces; empty or absent: all. `kubernetes.io/metadata.name` is each namespace's name.",
    }),
    ...members,
  },
  strict,
);
export type ClusterAgentPolicySpec = Static<typeof ClusterAgentPolicySpec>;

/** meta/v1 Condition. */
export const Condition = Type.Object({
  type: Type.String(),
  status: Type.Enum(["True", "False", "Unknown"]),
  reason: Type.String(),
  message: Type.String(),
  lastTransitionTime: Type.String({ format: "date-time" }),
  observedGeneration: Type.Optional(Type.Integer()),
});
export type Condition = Static<typeof Condition>;

export const ResourceStatus = Type.Object({
  observedGeneration: Type.Optional(Type.Integer()),
  conditions: Type.Optional(Type.Array(Condition, { maxItems: 8 })),
  pods: Type.Optional(Type.Integer({ description: "How many running pods it is in force for." })),
});
export type ResourceStatus = Static<typeof ResourceStatus>;
