/**
 * What an agent asks for, as policies read it: the schema behind `input`. The one source for the types, for OPA's input
 * schema (`opa check --schema`) and for editors.
 *
 * An operation is written as three JSON texts, by template: the *preamble* (v, target, run; once per connection), the *facts*
 * (what the loaded policy reads) and the *detail* (the rest; redacted, recorded, never judged).
 * Policy input and cache key = preamble + facts; the record's `op` = all three.
 */
import { type Static, Type } from "typebox";
import { OPERATION_VERSION } from "./version.ts";

/** No further fields: a policy that reads a misspelt one must not compile. */
const strict = { additionalProperties: false } as const;

export const PROTOCOLS = [
  "http",
  "grpc",
  "websocket",
  "postgres",
  "mysql",
  "redis",
  "mongodb",
  "kubernetes",
  "ssh",
  "mcp",
  "tls",
  "tcp",
  "dns",
] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** The protocol-neutral verb. `credential`: makes, shows or changes an authenticator of the identity in use. */
export const ACTIONS = ["connect", "read", "write", "admin", "execute", "credential", "unknown"] as const;
export type Action = (typeof ACTIONS)[number];

export const TargetFacts = Type.Object(
  {
    name: Type.Union([Type.String(), Type.Null()]),
    host: Type.String(),
    port: Type.Integer({ minimum: 0, maximum: 65_535 }),
    labels: Type.Record(Type.String(), Type.String()),
  },
  strict,
);

export const RunFacts = Type.Object(
  { id: Type.String(), user: Type.String(), intent: Type.String(), verified: Type.Boolean() },
  strict,
);

/** `path` is decoded once and has no dot segments (others are refused before); `segments` are its parts, decoded one by one. */
export const HttpFacts = Type.Object(
  {
    method: Type.String(),
    scheme: Type.Enum(["http", "https"]),
    host: Type.String(),
    path: Type.String(),
    segments: Type.Array(Type.String()),
    query: Type.Record(Type.String(), Type.Array(Type.String())),
    headers: Type.Record(Type.String(), Type.String()),
    contentType: Type.Union([Type.String(), Type.Null()]),
    contentLength: Type.Union([Type.Integer(), Type.Null()]),
    truncated: Type.Boolean(),
  },
  strict,
);

export const TlsFacts = Type.Object(
  { sni: Type.Union([Type.String(), Type.Null()]), alpn: Type.Array(Type.String()), intercepted: Type.Boolean() },
  strict,
);

export const DnsFacts = Type.Object({ name: Type.String(), type: Type.String() }, strict);

const SqlTable = Type.Object(
  { schema: Type.String(), name: Type.String(), access: Type.Enum(["read", "write", "admin"]) },
  strict,
);
export const SqlFacts = Type.Object(
  {
    statements: Type.Array(
      Type.Object(
        {
          kind: Type.String(),
          action: Type.Enum([...ACTIONS]),
          tables: Type.Array(SqlTable),
          functions: Type.Array(Type.String()),
          columns: Type.Array(Type.String()),
          where: Type.Boolean(),
          limit: Type.Union([Type.Integer(), Type.Null()]),
        },
        strict,
      ),
    ),
    text: Type.String(),
    /** Why `complete` is false. */
    doubts: Type.Array(Type.String()),
    /** Who the session is upstream. */
    user: Type.String(),
    database: Type.String(),
  },
  strict,
);

export const OperationInput = Type.Object(
  {
    v: Type.Literal(OPERATION_VERSION),
    protocol: Type.Enum([...PROTOCOLS]),
    action: Type.Enum([...ACTIONS]),
    /** False: something in it could not be understood. Denied unless a policy allows exactly that. */
    complete: Type.Boolean(),
    target: TargetFacts,
    run: Type.Union([RunFacts, Type.Null()]),
    /** Wall time in milliseconds; present only where the loaded policy reads it, and then nothing is cached. */
    time: Type.Optional(Type.Integer()),
    http: Type.Optional(HttpFacts),
    tls: Type.Optional(TlsFacts),
    dns: Type.Optional(DnsFacts),
    sql: Type.Optional(SqlFacts),
  },
  strict,
);
export type OperationInput = Static<typeof OperationInput>;
