/**
 * The real lane in front of the real server of these tests: a policy in Rego, compiled and loaded, and the credential that the
 * gateway puts in. A client that connects to its port holds a placeholder.
 */
import { Client } from "pg";
import type { PostgresServer } from "../../../../tools/postgres/server.ts";
import { type PostgresGateway, startPostgresGateway } from "../../../integration/postgres-gateway.ts";
import { compileTexts, loaded } from "../../../support/policy-texts.ts";

/** What an agent holds. */
export const PLACEHOLDER = "placeholder";

export const POLICIES = {
  /** An administrator who wants everything to go, and names neither credential actions nor what is not understood. */
  anything: { policies: { db: "allow if true" } },
  /** And this one does name what is not understood. */
  everything: { policies: { db: "allow if true\n\nallow_incomplete if true" } },
  /** Reads and writes of rows. */
  rows: { policies: { db: 'allow if input.action in {"connect", "read", "write"}' } },
  reads: { policies: { db: 'allow if input.action in {"connect", "read"}' } },
} as const;

export interface Injected {
  readonly user: string;
  readonly password: string;
}

/** `policy`: rules of one Rego module. */
export async function laneBefore(
  server: PostgresServer,
  policy: keyof typeof POLICIES,
  injected: Injected,
  readOnly = false,
): Promise<PostgresGateway> {
  const { parts } = await compileTexts({
    ...POLICIES[policy],
    targets: [{ name: "db", hosts: ["db.test"], ports: [5432], protocol: "postgres" }],
  });
  const compiled = loaded(parts);
  return startPostgresGateway({
    upstream: server.port,
    // The database listens on loopback, as in the demo: a cluster's credential wants verified TLS.
    target: { protocol: "postgres", credential: "db", insecureCredential: true, private: true, readOnly },
    credential: { name: "db", ...injected },
    policy: (input) => compiled.decide(JSON.stringify(input).slice(1, -1)),
  });
}

/** An agent's session through the gateway. */
export async function agentOf(gateway: PostgresGateway, more: Readonly<Record<string, unknown>> = {}): Promise<Client> {
  const client = new Client({
    host: "127.0.0.1",
    port: gateway.port,
    user: "whoever",
    password: PLACEHOLDER,
    database: "postgres",
    statement_timeout: 10_000,
    ...more,
  });
  client.on("error", () => undefined); // an attempt may end the session
  await client.connect();
  return client;
}
