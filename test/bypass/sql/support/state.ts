/**
 * All that a statement could have changed on a server, as one text for each thing: rows with their xmin, xmax and place (so that a
 * lock or a rewrite shows), every catalogue, sequences, large objects, settings, files, slots, transactions.
 */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { Client } from "pg";
import type { PostgresServer } from "../../../../tools/postgres/server.ts";

export type State = ReadonlyMap<string, string>;

/** Reading these sets hint bits only; none of the digests contains them. */
const RELATIONS = `
  SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_t%' ORDER BY 1`;
const SEQUENCES = `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' ORDER BY 1`;
const OTHER: Readonly<Record<string, string>> = {
  slots: "SELECT count(*)::text AS digest FROM pg_replication_slots",
  prepared: "SELECT count(*)::text AS digest FROM pg_prepared_xacts",
  advisory: "SELECT count(*)::text AS digest FROM pg_locks WHERE locktype = 'advisory'",
  temporary:
    "SELECT count(*)::text AS digest FROM pg_namespace WHERE nspname LIKE 'pg_temp%' AND pg_is_other_temp_schema(oid)",
};

/** Only growing numbers: they are compared after each statement. The second is the next transaction id: nobody took one. */
export const CHEAP = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid";

async function one(client: Client, sql: string): Promise<string> {
  const { rows } = await client.query<{ digest: string | null }>(sql);
  return rows[0]?.digest ?? "";
}

async function names(client: Client, sql: string): Promise<readonly string[]> {
  return (await client.query<{ name: string }>(sql)).rows.map((r) => r.name);
}

/** `client` is the owner's, in the database that is looked at. */
export async function stateOf(server: PostgresServer, client: Client): Promise<State> {
  const state = new Map<string, string>();
  for (const name of await names(client, RELATIONS))
    state.set(
      name,
      await one(
        client,
        `SELECT md5(string_agg(concat_ws(',', t.ctid, t.xmin, t.xmax, t::text), E'\\n' ORDER BY t.ctid)) AS digest FROM ${name} t`,
      ),
    );
  for (const name of await names(client, SEQUENCES))
    state.set(name, await one(client, `SELECT concat_ws(',', last_value, log_cnt, is_called) AS digest FROM ${name}`));
  for (const [name, sql] of Object.entries(OTHER)) state.set(name, await one(client, sql));
  state.set("xid", (await client.query<{ xid: string }>(CHEAP)).rows[0]?.xid ?? "");
  const data = path.join(server.folder, "data");
  for (const file of ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"])
    state.set(file, await readFile(path.join(data, file), "utf8"));
  state.set("files", (await files(server.folder)).join("\n"));
  return state;
}

/** Names of all files, without the log of transactions, temporary statistics and free space maps. */
async function files(folder: string): Promise<readonly string[]> {
  const found = await readdir(folder, { recursive: true });
  return found
    .filter((f) => !/pg_wal|pg_stat|pgsql_tmp|pg_internal\.init|_fsm$|_vm$|postmaster|\.s\.PGSQL/.test(f))
    .sort();
}

export function differences(before: State, after: State): readonly string[] {
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys]
    .filter((k) => before.get(k) !== after.get(k))
    .map((k) => `${k}: ${before.get(k)} -> ${after.get(k)}`);
}

/** Settings and belongings of a session. */
export const SESSION_STATE = `SELECT md5((SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings)
  || (SELECT count(*) FROM pg_listening_channels()) || (SELECT count(*) FROM pg_prepared_statements) || (SELECT count(*) FROM pg_cursors)
  || current_user || session_user || pg_my_temp_schema()) AS digest`;
