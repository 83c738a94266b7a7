/**
 * Row Q5 of the threat model: who holds a session may not take its identity. Every way to change the injected role's password that we
 * know is tried by real clients through the real lane, as a role that may do anything and as one that may make roles, under a policy
 * that allows all that a policy can allow without naming credential actions. Afterwards pg_authid is what it was, byte for byte.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { message } from "#sidecar/lanes/postgres/codec/text.ts";
import { type PostgresServer, postgresBinaries, startPostgres } from "../../../tools/postgres/server.ts";
import type { PostgresGateway } from "../../integration/postgres-gateway.ts";
import { say, WireClient } from "../../integration/postgres-wire.ts";
import { requireThat, requireTool } from "../../support/require.ts";
import { corpus } from "./corpus.ts";
import { agentOf, laneBefore, PLACEHOLDER } from "./support/lane.ts";
import { attempt, connect } from "./support/session.ts";
import { AGENT, AGENT_PASSWORD, WORLD } from "./support/world.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

/** May make roles; in PostgreSQL 15 that is to change every password but a superuser's. */
const MAKER = "maker";
const MAKER_PASSWORD = "as-the-other-secret-says";
const ROLES = [
  { user: AGENT, password: AGENT_PASSWORD },
  { user: MAKER, password: MAKER_PASSWORD },
] as const;

let server: PostgresServer | undefined;
let owner: Client | undefined;
let gateway: PostgresGateway | undefined;

beforeAll(async () => {
  if (postgresBinaries() === null) return;
  server = await startPostgres(["autovacuum = off"]);
  owner = await connect(server, "owner");
  await owner.query(WORLD);
  await owner.query(`CREATE ROLE ${MAKER} LOGIN CREATEROLE CREATEDB PASSWORD '${MAKER_PASSWORD}';
    GRANT ALL ON ALL TABLES IN SCHEMA public TO ${MAKER}; GRANT ALL ON SCHEMA public TO ${MAKER};
    CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '${server.port}', dbname 'postgres')`);
});
afterAll(async () => {
  await gateway?.close();
  await owner?.end();
  await server?.stop();
});
beforeEach((context) => requireThat(context, server !== undefined, "no PostgreSQL server: apt-get install postgresql"));

/** All that makes an identity, as the server keeps it: not a digest, so that a failure shows what changed. */
async function identities(): Promise<string> {
  const { rows } = await owner!.query<{ all: string }>(`
    SELECT concat_ws(E'\\n',
      (SELECT string_agg(a::text, E'\\n' ORDER BY oid) FROM pg_authid a), (SELECT string_agg(m::text, E'\\n' ORDER BY m::text) FROM pg_auth_members m),
      (SELECT string_agg(s::text, E'\\n' ORDER BY s::text) FROM pg_db_role_setting s), (SELECT string_agg(u::text, E'\\n') FROM pg_user_mappings u),
      (SELECT string_agg(f::text, E'\\n') FROM pg_foreign_server f), (SELECT string_agg(e.evtname, E'\\n') FROM pg_event_trigger e),
      (SELECT relacl::text FROM pg_class WHERE relname = 'pg_authid')) AS all`);
  const files = ["pg_hba.conf", "pg_ident.conf", "postgresql.conf", "postgresql.auto.conf"];
  return [rows[0]?.all, ...files.map((name) => readFileSync(path.join(server!.folder, "data", name), "utf8"))].join(
    "\n",
  );
}

async function logsIn(user: string, password: string): Promise<boolean> {
  const client = new Client({ host: "127.0.0.1", port: server!.port, user, password, database: "postgres" });
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}

/** One statement by node-pg, in whichever protocol. */
const byDriver =
  (sql: string, extended: boolean) =>
  async (port: PostgresGateway): Promise<void> => {
    const client = await agentOf(port);
    if (extended) await client.query({ text: sql, values: [], name: "p1" }).catch(() => undefined);
    else await attempt(client, sql);
    await client.end().catch(() => undefined);
  };

/** Messages as they are; the session ends with them. */
const byWire =
  (messages: string, readies = 1) =>
  async (port: PostgresGateway): Promise<void> => {
    const { client } = await WireClient.connect(port.port);
    await client.ask(messages, readies).catch(() => undefined);
    client.end();
  };

/** Start-up parameters that would make the session somebody else, and then the plain statement. */
const byStartup =
  (options: Readonly<Record<string, string>>) =>
  async (port: PostgresGateway): Promise<void> => {
    const client = await agentOf(port, options).catch(() => null);
    if (client === null) return;
    await attempt(client, take("agent"));
    await client.end().catch(() => undefined);
  };

/** psql with what is typed into it. */
const byPsql =
  (typed: string, more: readonly string[] = []) =>
  (port: PostgresGateway): Promise<void> =>
    new Promise((resolve) => {
      const argv = [
        "psql",
        "-X",
        "-h",
        "127.0.0.1",
        "-p",
        String(port.port),
        "-U",
        "whoever",
        "-d",
        "postgres",
        ...more,
      ];
      // Without a terminal of its own, psql asks for a new password on stdin.
      const child = execFile(
        "setsid",
        argv,
        { env: { PATH: "/usr/bin:/bin", PGPASSWORD: PLACEHOLDER }, timeout: 20_000 },
        () => resolve(),
      );
      child.stdin?.end(typed);
    });

const take = (role: string): string => `ALTER ROLE ${role} PASSWORD 'owned'`;
const prepared = (name: string, sql: string): string => say.parse(name, sql) + say.bind("", name) + say.execute();

/** What no row of the corpus can say: more than one message, other clients, other ways than a Query. */
const BY_MESSAGES: readonly (readonly [what: string, way: (port: PostgresGateway) => Promise<void>])[] = [
  ["extended protocol, unnamed", byWire(say.extended(take("CURRENT_USER")))],
  [
    "extended protocol, described first",
    byWire(say.parse("s", take("CURRENT_USER")) + say.describe("S", "s") + say.sync),
  ],
  ["extended protocol, no Sync but a Flush", byWire(prepared("", take("CURRENT_USER")) + say.flush + say.sync)],
  [
    "behind a harmless statement of the same batch",
    byWire(prepared("a", "select 1") + prepared("b", take("CURRENT_USER")) + say.sync),
  ],
  [
    "a name that was harmless before the batch failed",
    byWire(
      prepared("a", "select 1") +
        say.sync +
        prepared("", "select 1/0") +
        say.close("S", "a") +
        say.parse("a", take("CURRENT_USER")) +
        say.sync +
        say.bind("", "a") +
        say.execute() +
        say.sync,
      3,
    ),
  ],
  [
    "the same name twice in a batch",
    byWire(
      say.parse("a", "select 1") +
        say.close("S", "a") +
        say.parse("a", take("CURRENT_USER")) +
        say.bind("", "a") +
        say.execute() +
        say.sync,
    ),
  ],
  [
    "a portal of the other statement",
    byWire(
      say.parse("a", "select 1") +
        say.bind("p", "a") +
        say.parse("b", take("CURRENT_USER")) +
        say.close("P", "p") +
        say.bind("p", "b") +
        say.execute("p") +
        say.sync,
    ),
  ],
  ["a Query while a batch is open", byWire(say.parse("a", "select 1") + say.query(take("CURRENT_USER")) + say.sync, 2)],
  ["two Queries in one write", byWire(say.query("select 1") + say.query(take("CURRENT_USER")), 2)],
  ["a NUL behind a harmless text", byWire(message("Q", `select 1\0${take("CURRENT_USER")}\0`))],
  ["a Query without its NUL", byWire(message("Q", take("CURRENT_USER")))],
  ["the password as a parameter", byWire(say.extended("ALTER ROLE CURRENT_USER PASSWORD $1", ["owned"]))],
  [
    "a statement as a parameter of a function",
    byWire(say.extended("select query_to_xml($1, true, true, '')", [take("CURRENT_USER")])),
  ],
  [
    "a parameter of set_config",
    byWire(say.extended("select set_config($1, $2, false)", ["role", "owner"]) + say.query(take(AGENT)), 2),
  ],
  // FunctionCall: set_config is 2078, query_to_xml 2926; one format code 0, arguments, a text result.
  [
    "FunctionCall",
    byWire(
      message("F", `\0\0\x08\x1e\0\0\0\x03\0\0\0\x04role\0\0\0\x05owner\0\0\0\x01f\0\0`) + say.query(take(AGENT)),
      2,
    ),
  ],
  [
    "COPY into the catalogue",
    byWire(
      say.query("COPY pg_authid (oid, rolname, rolpassword) FROM STDIN") + say.copyData("1\tx\towned\n") + say.copyDone,
      1,
    ),
  ],
  [
    "rows of a COPY behind a harmless text",
    byWire(say.query("select 1; COPY pg_authid FROM STDIN") + say.copyData("x\n") + say.copyDone, 1),
  ],
  ["a megabyte of blanks before it", byWire(say.query(`select 1; ${" ".repeat(1_000_000)} ${take("CURRENT_USER")}`))],
  ["nine megabytes before it", byWire(say.query(`/* ${"x".repeat(9 * 1_048_576)} */ ${take("CURRENT_USER")}`))],
  ["bytes that are no UTF-8 in a comment", byWire(message("Q", `/* \xff\xbf\x5c */ ${take("CURRENT_USER")}\0`))],
  [
    "a backslash that SJIS would eat",
    byWire(
      say.query("set client_encoding = 'SJIS'") + message("Q", `select '\x95\x5c' -- ';\r${take("CURRENT_USER")}\0`),
      2,
    ),
  ],
  [
    "a string that ends where standard_conforming_strings says",
    byWire(
      say.query("set standard_conforming_strings = off") + say.query(`select '\\'; ${take("CURRENT_USER")} -- '`),
      2,
    ),
  ],
  ["start-up: a role", byStartup({ options: "-c role=owner" })],
  ["start-up: session_authorization", byStartup({ options: "-c session_authorization=owner" })],
  ["start-up: another user", byStartup({ user: "owner" })],
  ["start-up: a library", byStartup({ options: "-c session_preload_libraries=auto_explain" })],
  ["start-up: names that are looked for elsewhere", byStartup({ options: "-c search_path=evil,pg_catalog" })],
  ["start-up: replication", byStartup({ replication: "database" })],
  ["psql's \\password", byPsql("\\password agent\nowned\nowned\n\\password maker\nowned\nowned\n")],
  ["psql's \\password of itself", byPsql("\\password\nowned\nowned\n")],
  ["psql's \\gexec", byPsql(`select 'ALTER RO' || 'LE ' || current_user || ' PASSWORD ''owned''' \\gexec\n`)],
  ["psql's \\bind", byPsql(`${take("CURRENT_USER")} \\bind \\g\n`)],
  ["psql in one transaction", byPsql("", ["-1", "-c", "select 1", "-c", take("CURRENT_USER")])],
  ["psql's \\copy", byPsql("\\copy pg_authid (oid, rolname, rolpassword) from pstdin\n1\tx\towned\n\\.\n")],
  [
    "a role of the session, then the statement",
    async (port) => {
      const client = await agentOf(port);
      for (const sql of [
        "SET ROLE owner",
        "SET SESSION AUTHORIZATION owner",
        "SELECT set_config('ro' || 'le', 'owner', false)",
        "UPDATE pg_settings SET setting = 'owner' WHERE name = 'role'",
        take(AGENT),
        take(MAKER),
        "RESET ROLE",
        "RESET SESSION AUTHORIZATION",
      ])
        await attempt(client, sql);
      await client.end().catch(() => undefined);
    },
  ],
  [
    "a prepared statement by SQL, executed by its name in the protocol",
    byWire(
      say.query(`PREPARE p AS SELECT 1; ${take("CURRENT_USER")}`) + say.bind("", "p") + say.execute() + say.sync,
      2,
    ),
  ],
];

/** The corpus, which says AGENT, for whichever role; and each once more as the extended protocol says it. */
function ways(role: string): readonly (readonly [string, (port: PostgresGateway) => Promise<void>])[] {
  const rows = corpus("not-reads.md").filter((row) => row.section.startsWith("Q5"));
  return [
    ...rows.flatMap(({ sql }) => {
      const theirs = sql
        .replaceAll(/\bagent\b/gi, role)
        .replaceAll("0061gent", role === AGENT ? "0061gent" : "006daker");
      return [false, true].map(
        (extended) => [`${extended ? "extended" : "simple"}: ${theirs}`, byDriver(theirs, extended)] as const,
      );
    }),
    ...BY_MESSAGES,
  ];
}

describe.each(ROLES)("Q5: injected as $user", ({ user, password }) => {
  test("after more than 150 ways to take the identity, the Secret's password logs in and no other does", async (context) => {
    for (const tool of ["psql", "setsid"]) requireTool(context, tool);
    gateway = await laneBefore(server!, "anything", { user, password });
    const before = await identities();
    expect(before).toMatch(/SCRAM-SHA-256\$4096:/);
    const changed: string[] = [];
    let last = before;
    const all = ways(user);
    expect(all.length).toBeGreaterThan(150);
    for (const [what, way] of all) {
      await way(gateway);
      const now = await identities();
      if (now !== last) changed.push(what);
      last = now;
    }
    expect(changed).toEqual([]);
    expect(await identities()).toBe(before);
    expect(gateway.faults).toEqual([]);
    // Not silence: they were asked, and denied.
    expect(gateway.records().filter(({ op }) => op.verdict === "deny").length).toBeGreaterThan(100);
    for (const each of ROLES) {
      expect(await logsIn(each.user, each.password)).toBe(true);
      for (const other of ["owned", PLACEHOLDER, "", "x"]) expect(await logsIn(each.user, other)).toBe(false);
    }
    expect(await logsIn("twin", "owned")).toBe(false);
    const still = await agentOf(gateway);
    expect((await still.query("select current_user as who")).rows).toEqual([{ who: user }]);
    await still.end();
    await gateway.close();
    gateway = undefined;
  });
});

test("Q5: without the gateway most of these ways do take it", async () => {
  const rows = corpus("not-reads.md").filter((row) => row.section.startsWith("Q5"));
  const before = await identities();
  expect(rows.length).toBeGreaterThan(80);
  const client = await connect(server!);
  expect(await attempt(client, take(AGENT))).toBeNull();
  await client.end();
  expect(await identities()).not.toBe(before);
  expect([await logsIn(AGENT, AGENT_PASSWORD), await logsIn(AGENT, "owned")]).toEqual([false, true]);
});
