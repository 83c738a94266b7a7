/**
 * Where a target's credential comes from in a cluster: `EgressTarget.spec.credentialFrom`, which names a Secret, its kind and what of
 * it is what. A value never stands in it. The words are those of `credentials.yaml` (`sidegate run`).
 *
 * Errs towards a problem: a member that its kind does not know could be a mistake about who gets what, so it is refused.
 */
import { type Static, Type } from "typebox";
import { CREDENTIAL_KINDS, type CredentialKind } from "./credential.ts";

const strict = { additionalProperties: false } as const;
const KEY = { pattern: "^[-._a-zA-Z0-9]+$", maxLength: 253 } as const;
const word = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 1_024, description }));
const key = (description: string) => Type.Optional(Type.String({ ...KEY, description }));

export const CredentialFrom = Type.Object(
  {
    kind: Type.Enum([...CREDENTIAL_KINDS], { description: "What it is, and so where it goes." }),
    secret: Type.Object(
      {
        name: Type.String({ pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", maxLength: 253 }),
        namespace: Type.Optional(
          Type.String({
            pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            maxLength: 63,
            description:
              "Only in a target of the gateway's own namespace, and needed there; any other target's Secret is one of its own namespace.",
          }),
        ),
      },
      { ...strict, description: "The Secret, in a namespace that the chart's value `credentials.namespaces` lists." },
    ),
    key: key(
      "Which of the Secret's keys. Default: `password` (password, basic), `clientSecret` (oauth2ClientCredentials), `tls.key` (clientCertificate), else `token`.",
    ),
    user: word("basic, password: who."),
    userKey: key("basic, password: the Secret's key that says who, in place of `user`."),
    database: word("password: the database, where it is not the one that the agent names."),
    header: word("header: the field's name."),
    prefix: word("header: what stands before the value."),
    parameter: word("query: the parameter's name."),
    certificateKey: key("clientCertificate: the Secret's key of certificate and chain. Default: `tls.crt`."),
    tokenUrl: Type.Optional(
      Type.String({
        pattern: "^https://[^ ]+$",
        maxLength: 1_024,
        description: "oauth2ClientCredentials: the token endpoint; asked by the controller.",
      }),
    ),
    clientId: word("oauth2ClientCredentials: the client."),
    clientIdKey: key("oauth2ClientCredentials: the Secret's key that says the client, in place of `clientId`."),
    scope: word("oauth2ClientCredentials."),
    audience: word("oauth2ClientCredentials."),
    auth: Type.Optional(
      Type.Enum(["basic", "body"], {
        description: "oauth2ClientCredentials: where client and secret go. Default: basic.",
      }),
    ),
    ca: Type.Optional(
      Type.String({ maxLength: 65_536, description: "oauth2ClientCredentials: PEM, trusted for the token endpoint." }),
    ),
  },
  strict,
);
export type CredentialFrom = Static<typeof CredentialFrom>;

/** What each kind knows besides `kind`, `secret` and `key`. */
const MEMBERS: Readonly<Record<CredentialKind, readonly (keyof CredentialFrom)[]>> = {
  bearer: [],
  header: ["header", "prefix"],
  query: ["parameter"],
  basic: ["user", "userKey"],
  password: ["user", "userKey", "database"],
  oauth2ClientCredentials: ["tokenUrl", "clientId", "clientIdKey", "scope", "audience", "auth", "ca"],
  clientCertificate: ["certificateKey"],
};

/** What each kind cannot do without: one of each. */
const NEEDED: Readonly<Record<CredentialKind, readonly (readonly (keyof CredentialFrom)[])[]>> = {
  bearer: [],
  header: [["header"]],
  query: [["parameter"]],
  basic: [["user", "userKey"]],
  password: [],
  oauth2ClientCredentials: [["tokenUrl"], ["clientId", "clientIdKey"]],
  clientCertificate: [],
};

const DEFAULT_KEY: Readonly<Record<CredentialKind, string>> = {
  bearer: "token",
  header: "token",
  query: "token",
  basic: "password",
  password: "password",
  oauth2ClientCredentials: "clientSecret",
  clientCertificate: "tls.key",
};

export function secretKey({ kind, key: named }: CredentialFrom): string {
  return named ?? DEFAULT_KEY[kind];
}

export function certificateKey({ certificateKey: named }: CredentialFrom): string {
  return named ?? "tls.crt";
}

export interface FieldProblem {
  /** As in `spec.credentialFrom.user`. */
  readonly field: string;
  readonly message: string;
}

/** What the schema cannot say of one kind. `from`: of the schema. */
export function credentialFromProblems(from: CredentialFrom): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  const refuse = (member: string, message: string): void =>
    void problems.push({ field: `spec.credentialFrom.${member}`, message });
  const known = new Set<string>(["kind", "secret", "key", ...MEMBERS[from.kind]]);
  for (const member of Object.keys(from))
    if (!known.has(member)) refuse(member, `is not for kind ${from.kind} (it knows ${[...known].slice(1).join(", ")})`);
  for (const one of NEEDED[from.kind])
    if (!one.some((member) => from[member] !== undefined))
      refuse(one[0] ?? "", `kind ${from.kind} needs ${one.join(" or ")}`);
  for (const [said, keyed] of [
    ["user", "userKey"],
    ["clientId", "clientIdKey"],
  ] as const)
    if (from[said] !== undefined && from[keyed] !== undefined) refuse(keyed, `stands beside ${said}: one of the two`);
  return problems;
}
