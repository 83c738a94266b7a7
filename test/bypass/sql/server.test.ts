/**
 * Rows Q2 to Q8 of the threat model on a real server: what the reader calls a complete read is run there, as a role that may do
 * anything, and nothing may have changed.
 */
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { readParserFile } from "../../../src/sidecar/lanes/postgres/sql/parser-file.ts";
import { createSqlReader } from "../../../src/sidecar/lanes/postgres/sql/reader.ts";
import { type PostgresServer, postgresBinaries, startPostgres } from "../../../tools/postgres/server.ts";
import { requireThat } from "../../support/require.ts";
import { corpus } from "./corpus.ts";
import { query, randomness } from "./support/compose.ts";
import { attempt, connect } from "./support/session.ts";
import { CHEAP, differences, SESSION_STATE, type State, stateOf } from "./support/state.ts";
import { AGENT, AGENT_PASSWORD, TREACHERY, WORLD } from "./support/world.ts";

// Thousands of round trips, on a machine that may be busy.
vi.setConfig({ testTimeout: 900_000 });

/** Statements that are put together at random; as many as `SIDEGATE_FUZZ` says, which is for nights. */
const COMPOSED = Number(process.env["SIDEGATE_FUZZ"] ?? 6000);
const reader = createSqlReader({ parserFile: readParserFile });
let server: PostgresServer | undefined;
let owner: Client | undefined;

beforeAll(async () => {
  await reader.load();
  if (postgresBinaries() === null) return;
  server = await startPostgres(["autovacuum = off", "checkpoint_timeout = 1h"]);
  owner = await connect(server, "owner");
  await owner.query(WORLD);
});
afterAll(async () => {
  await owner?.end();
  await server?.stop();
});
beforeEach((context) => requireThat(context, server !== undefined, "no PostgreSQL server: apt-get install postgresql"));

function isRead(sql: string): boolean {
  const reading = reader.read(sql);
  return reading.complete && reading.statements.every((s) => s.action === "read");
}

async function xid(): Promise<string> {
  return (await owner!.query<{ xid: string }>(CHEAP)).rows[0]!.xid;
}

async function unchanged(before: State): Promise<void> {
  expect(differences(before, await stateOf(server!, owner!))).toEqual([]);
}

test("Q3 Q8: each read of the corpus runs on a real server and changes nothing", async () => {
  const rows = [...corpus("reads.md"), ...corpus("reads-captured.md")];
  const before = await stateOf(server!, owner!);
  const failed: string[] = [];
  const touched: string[] = [];
  for (const row of rows) {
    expect(isRead(row.sql), row.sql).toBe(true);
    const client = await connect(server!);
    const session = (await client.query<{ digest: string }>(SESSION_STATE)).rows[0]?.digest;
    const failure = await attempt(client, row.sql);
    if (failure !== null) failed.push(`${failure}: ${row.sql}`);
    const after = (await client.query<{ digest: string }>(SESSION_STATE)).rows[0]?.digest;
    if (after !== session && reader.read(row.sql).statements.every((s) => s.effects.length === 0))
      touched.push(row.sql);
    await client.end();
    expect(await xid(), row.sql).toBe(before.get("xid"));
  }
  await unchanged(before);
  expect({ failed, touched }).toEqual({ failed: [], touched: [] });
});

test("Q3: every function, operator and cast that is called harmless changes nothing when it is called", async () => {
  const client = await connect(server!);
  const before = await stateOf(server!, owner!);
  const texts = await calls(client);
  const reads = texts.filter(isRead);
  expect(reads.length).toBeGreaterThan(2500);
  let ran = 0;
  for (const sql of reads) {
    if ((await attempt(client, sql)) === null) ran++;
  }
  expect(ran).toBeGreaterThan(2000);
  expect(await xid()).toBe(before.get("xid"));
  await client.end();
  await unchanged(before);
});

/** A call of every function, operator and cast of pg_catalog, with an argument of each type where one is at hand. */
async function calls(client: Client): Promise<readonly string[]> {
  const sample = `CASE t.typname WHEN 'text' THEN '''orders''::text' WHEN 'name' THEN '''orders''::name' WHEN 'int4' THEN '1' WHEN 'int8' THEN '1::int8'
    WHEN 'int2' THEN '1::int2' WHEN 'oid' THEN '''orders''::regclass::oid' WHEN 'regclass' THEN '''orders_id_seq''::regclass' WHEN 'bool' THEN 'true'
    WHEN 'float8' THEN '1::float8' WHEN 'numeric' THEN '1::numeric' WHEN 'anyelement' THEN '''x''::text' WHEN 'anyarray' THEN 'ARRAY[1]'
    WHEN 'anynonarray' THEN '1' WHEN 'any' THEN '1' WHEN 'json' THEN '''{"a":[1]}''::json' WHEN 'jsonb' THEN '''{"a":[1]}''::jsonb'
    WHEN 'timestamptz' THEN 'now()' WHEN 'date' THEN 'current_date' WHEN 'bytea' THEN '''x''::bytea' WHEN 'record' THEN 'ROW(1)'
    WHEN 'interval' THEN '''1 day''::interval' WHEN '_text' THEN 'ARRAY[''a'']' ELSE 'NULL::' || t.typname END`;
  const { rows } = await client.query<{ sql: string }>(`
    SELECT 'SELECT pg_catalog.' || quote_ident(p.proname) || '(' ||
      coalesce((SELECT string_agg(${sample}, ', ' ORDER BY a.n) FROM unnest(p.proargtypes) WITH ORDINALITY a(oid, n) JOIN pg_type t ON t.oid = a.oid), '')
      || ')' AS sql FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
    UNION ALL SELECT 'SELECT ' || coalesce((SELECT ${sample} FROM pg_type t WHERE t.oid = o.oprleft) || ' ', '') || o.oprname || ' ' ||
      (SELECT ${sample} FROM pg_type t WHERE t.oid = o.oprright) FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
    UNION ALL SELECT 'SELECT NULL::' || s.typname || '::' || t.typname FROM pg_cast c JOIN pg_type s ON s.oid = c.castsource JOIN pg_type t ON t.oid = c.casttarget
    UNION ALL SELECT 'SELECT ''1''::' || typname FROM pg_type WHERE typtype IN ('b', 'r', 'm')`);
  return rows.map((r) => r.sql);
}

test("Q5: the rows that own the injected identity are no reads, and most of them really do it", async () => {
  const rows = corpus("not-reads.md").filter((r) => r.section.startsWith("Q5"));
  let broke = 0;
  for (const row of rows) {
    expect(isRead(row.sql), row.sql).toBe(false);
    await owner!.query(RESTORE);
    const client = await connect(server!);
    await attempt(client, row.sql);
    await client.end();
    if (!(await logsIn(AGENT_PASSWORD)) || (await logsIn("owned"))) broke++;
  }
  await owner!.query(RESTORE);
  expect(await logsIn(AGENT_PASSWORD)).toBe(true);
  expect(broke).toBeGreaterThanOrEqual(40);
});

/** Everything back that a row may have done to the role; by the owner, whom no row touches. */
const RESTORE = `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${AGENT}') THEN ALTER ROLE former RENAME TO ${AGENT}; END IF; END $$;
  DROP EVENT TRIGGER IF EXISTS t; DROP ROUTINE IF EXISTS own(); DROP TRIGGER IF EXISTS t ON orders;
  DROP ROLE IF EXISTS twin;
  ALTER ROLE ${AGENT} LOGIN SUPERUSER VALID UNTIL 'infinity' CONNECTION LIMIT -1; ALTER ROLE ${AGENT} RESET ALL; ALTER ROLE ALL RESET ALL;
  ALTER DATABASE postgres RESET ALL;
  ALTER ROLE ${AGENT} PASSWORD '${AGENT_PASSWORD}'`;

/** Over loopback, where the server asks for a password. */
async function logsIn(password: string): Promise<boolean> {
  const client = new Client({ host: "127.0.0.1", port: server!.port, user: AGENT, password, database: "postgres" });
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}

test("Q3 Q8: of statements that are put together at random, those that are called reads change nothing", async () => {
  const client = await connect(server!);
  const before = await stateOf(server!, owner!);
  const random = randomness(Number(process.env["SIDEGATE_FUZZ_SEED"] ?? 1));
  let ran = 0;
  let tried = 0;
  for (let i = 0; i < COMPOSED; i++) {
    const sql = query(random, 3);
    if (!isRead(sql)) continue;
    tried++;
    if ((await attempt(client, sql)) === null) ran++;
  }
  await client.end();
  expect(await xid()).toBe(before.get("xid"));
  expect(tried).toBeGreaterThan(COMPOSED / 10);
  expect(ran).toBeGreaterThan(tried / 5);
  await unchanged(before);
});

test("Q4: what no text can show is held by the server's READ ONLY", async () => {
  await owner!.query(TREACHERY); // the last test: nothing is proven about other statements after this
  const rows = corpus("beyond-the-tree.md");
  const marks = async (): Promise<number> => (await owner!.query("SELECT FROM marks")).rows.length;
  const acted: string[] = [];
  for (const row of rows) {
    expect(isRead(row.sql), row.sql).toBe(true);
    const before = await marks();
    const client = await connect(server!, "ordinary");
    await client.query("SET default_transaction_read_only = on");
    expect(await attempt(client, row.sql), row.sql).toMatch(/read-only transaction/);
    expect(await marks()).toBe(before);
    await client.query("SET default_transaction_read_only = off");
    expect(await attempt(client, row.sql), row.sql).toBeNull();
    if ((await marks()) > before) acted.push(row.sql);
    await client.end();
  }
  expect(acted).toEqual(rows.map((r) => r.sql));
});
