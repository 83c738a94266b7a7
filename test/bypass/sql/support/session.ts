/** One session as the agent's role: connect, run, look, end. */
import { Client } from "pg";
import type { PostgresServer } from "../../../../tools/postgres/server.ts";
import { AGENT } from "./world.ts";

/** Long enough for any row, short enough for one that waits for a lock. */
const STATEMENT_LIMIT_MS = 10_000;

export async function connect(server: PostgresServer, user: string = AGENT): Promise<Client> {
  const client = new Client({
    host: server.folder,
    port: server.port,
    user,
    database: "postgres",
    statement_timeout: STATEMENT_LIMIT_MS,
  });
  client.on("error", () => undefined); // a row may end the session
  await client.connect();
  return client;
}

/** Null: it ran. Parameters are NULL. */
export async function attempt(client: Client, sql: string): Promise<string | null> {
  const parameters = Math.max(0, ...[...sql.matchAll(/\$(\d)(?!\d)/g)].map((m) => Number(m[1])));
  try {
    await client.query(
      /\bPREPARE\b/.test(sql) || parameters === 0 ? sql : { text: sql, values: Array(parameters).fill(null) },
    );
    return null;
  } catch (cause) {
    return cause instanceof Error ? cause.message : "failed";
  }
}
