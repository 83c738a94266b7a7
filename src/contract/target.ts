/**
 * An EgressTarget: one named place that an agent may know. In a cluster a custom resource, on a laptop a YAML document in the
 * policy folder; in a bundle a member of `data.sidegate.targets`.
 */
import { type Static, Type } from "typebox";
import { CredentialFrom } from "./credential-from.ts";
import { API_VERSION } from "./names.ts";
import { PROTOCOLS } from "./operation.ts";

const strict = { additionalProperties: false } as const;

const HOST = "^(\\*\\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

export const TargetSpec = Type.Object(
  {
    hosts: Type.Array(Type.String({ pattern: HOST, maxLength: 253 }), {
      minItems: 1,
      maxItems: 64,
      description:
        "Exact names, lower case; or one wildcard label in front (*.example.com), never together with a credential.",
    }),
    addresses: Type.Optional(
      Type.Array(Type.String(), {
        maxItems: 64,
        description:
          "Literal addresses or CIDR ranges that the agent may dial without a name. Such a connection's host is the address itself.",
      }),
    ),
    endpoints: Type.Optional(
      Type.Array(Type.String({ examples: ["10.0.0.7:5432", "[::1]:8443"] }), {
        maxItems: 16,
        description:
          "address:port pairs to dial instead of what DNS says. Chosen by the admin, so a loopback address is allowed here (only here, and only in `sidegate run`).",
      }),
    ),
    private: Type.Optional(
      Type.Boolean({
        description: "The name may resolve to a private address. Never to loopback, link-local or metadata addresses.",
      }),
    ),
    ports: Type.Array(Type.Integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 64 }),
    protocol: Type.Optional(
      Type.Enum([...PROTOCOLS], {
        description:
          "Declared: no guessing. `tcp` is carried without being understood. Absent: detected from the first bytes.",
      }),
    ),
    tls: Type.Optional(
      Type.Enum(["inspect", "passthrough", "none"], {
        description:
          "inspect (default): read TLS with our CA. passthrough: check the SNI, carry the rest unread. none: plaintext only.",
      }),
    ),
    upstream: Type.Optional(
      Type.Object(
        {
          tls: Type.Optional(
            Type.Boolean({ description: "Speak TLS to the upstream even when the agent spoke plaintext." }),
          ),
          ca: Type.Optional(
            Type.String({ description: "PEM. Trusted for this target instead of the system's roots." }),
          ),
          serverName: Type.Optional(
            Type.String({ pattern: HOST, description: "Name in SNI and certificate, where it is not the host's." }),
          ),
        },
        strict,
      ),
    ),
    answer: Type.Optional(
      Type.Enum(["synthetic", "upstream"], {
        description:
          "What our resolver answers: an address of our own (default), or the upstream's (for clients that refuse reserved ranges).",
      }),
    ),
    limits: Type.Optional(
      Type.Object(
        {
          headerMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000 })),
          idleMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 86_400_000 })),
          totalMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 86_400_000 })),
          connectMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000 })),
        },
        strict,
      ),
    ),
    credential: Type.Optional(
      Type.String({
        pattern: "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        description: "Name of the one credential that a policy may put in here.",
      }),
    ),
    /** Read by the controller only: it is not in bundles, and `sidegate run` has `credentials.yaml`. */
    credentialFrom: Type.Optional(CredentialFrom),
    insecureCredential: Type.Optional(
      Type.Boolean({
        description:
          "The credential may be sent without verified TLS. Only where `endpoints` say which machine that is; for a database on loopback.",
      }),
    ),
    readOnly: Type.Optional(
      Type.Boolean({
        description:
          "Databases: the server itself is told that every transaction reads only, and whatever would undo that is refused.",
      }),
    ),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  },
  strict,
);
export type TargetSpec = Static<typeof TargetSpec>;

export const EgressTarget = Type.Object(
  {
    apiVersion: Type.Literal(API_VERSION),
    kind: Type.Literal("EgressTarget"),
    metadata: Type.Object(
      { name: Type.String({ pattern: "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$" }) },
      { additionalProperties: true },
    ),
    spec: TargetSpec,
  },
  strict,
);
export type EgressTarget = Static<typeof EgressTarget>;

/** As it stands in a bundle: the name beside the spec, without where its credential comes from. */
export interface Target extends Omit<TargetSpec, "credentialFrom"> {
  readonly name: string;
  /**
   * Of a controller's bundle, where the target names a credential: what the target was when the bundle was made. A credential is
   * asked for with it, so that a target which has changed meanwhile, or is another one of that name, gets nothing.
   */
  readonly binding?: string;
  /** Of a controller's bundle: the cluster's, so that only a policy of the cluster puts its credential in. */
  readonly ofCluster?: boolean;
}
