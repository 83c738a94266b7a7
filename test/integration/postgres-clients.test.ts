/**
 * Drivers as people use them, unchanged, through the sidecar: psql, node-pg, psycopg (libpq 18), asyncpg, pgjdbc, and on top of them
 * SQLAlchemy and Drizzle; each without TLS, with `require` and with `verify-full`; upstream is entered with a credential that none of
 * them has.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { asc, eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import { Client, Pool } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findProgram, requireThat, requireTool } from "../support/require.ts";
import {
  ALLOW,
  DENY,
  type GatewayOptions,
  type PostgresGateway,
  readsOnly,
  startPostgresGateway,
} from "./postgres-gateway.ts";
import { type PostgresServer, postgresBin, requirePostgres, startPostgres } from "./postgres-server.ts";

const run = promisify(execFile);
const PASSWORD = "the-service's-own";
const CREDENTIAL = { name: "db-password", user: "svc", password: PASSWORD };
const MODES = ["disable", "require", "verify-full"] as const;
type Mode = (typeof MODES)[number];
/** What tools/pgjdbc/ensure.sh brings. */
const JDBC = path.join(
  process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"),
  "sidegate/postgresql-42.7.8.jar",
);

let server: PostgresServer | null = null;
let folder = "";
let python: string | null = null;
const open: PostgresGateway[] = [];

beforeAll(async () => {
  const bin = postgresBin();
  if (bin === null) return;
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-clients-"));
  server = await startPostgres(bin, {
    hba: [
      "host all trusted 127.0.0.1/32 trust",
      "host all weak 127.0.0.1/32 md5",
      "host all clear 127.0.0.1/32 password",
      "hostssl all all 127.0.0.1/32 scram-sha-256",
      "host all plain 127.0.0.1/32 scram-sha-256",
    ],
    sql: `
      create table t (a int, b text); insert into t values (1, 'one'), (2, 'two');
      set password_encryption = 'md5'; create role weak login password '${PASSWORD.replace("'", "''")}';
      set password_encryption = 'scram-sha-256';
      create role svc login password '${PASSWORD.replace("'", "''")}';
      create role plain login password '${PASSWORD.replace("'", "''")}';
      create role clear login password '${PASSWORD.replace("'", "''")}';
      create role trusted login; create role umlaut login password 'Pässwörd';
      grant select on t to public;
    `,
  });
  python = await venv();
});
afterEach(async () => {
  for (const gateway of open.splice(0)) {
    await gateway.close();
    if (gateway.faults.length > 0) throw gateway.faults[0];
  }
});
afterAll(async () => {
  await server?.close();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

/** A Python with its drivers, where pip can have them; null where not. */
async function venv(): Promise<string | null> {
  const base = findProgram("python3") ?? "/usr/bin/python3";
  try {
    await run("python3", ["-m", "venv", path.join(folder, "venv")]);
    const own = path.join(folder, "venv/bin/python");
    await run(own, ["-m", "pip", "install", "-q", "psycopg[binary]", "asyncpg", "sqlalchemy"], { timeout: 120_000 });
    return own;
  } catch {
    try {
      await run(base, ["-c", "import psycopg, asyncpg, sqlalchemy"]);
      return base;
    } catch {
      return null;
    }
  }
}

async function gatewayOf(over: Partial<GatewayOptions> = {}): Promise<PostgresGateway> {
  const gateway = await startPostgresGateway({
    upstream: server?.port ?? 0,
    policy: readsOnly,
    credential: CREDENTIAL,
    ...over,
    target: { credential: CREDENTIAL.name, upstream: { ca: server?.caPem ?? "" }, ...over.target },
  });
  open.push(gateway);
  writeFileSync(path.join(folder, "ca.pem"), gateway.caPem);
  return gateway;
}

const caFile = (): string => path.join(folder, "ca.pem");
const conninfo = (gateway: PostgresGateway, mode: Mode, more = ""): string =>
  `host=db.test hostaddr=127.0.0.1 port=${gateway.port} user=agent dbname=postgres password=placeholder sslmode=${mode} sslrootcert=${caFile()} ${more}`;

function nodeOptions(gateway: PostgresGateway, mode: Mode): ConstructorParameters<typeof Client>[0] & object {
  const ssl =
    mode === "disable"
      ? false
      : {
          rejectUnauthorized: mode === "verify-full",
          servername: "db.test",
          ...(mode === "verify-full" ? { ca: gateway.caPem } : {}),
        };
  const { port } = gateway;
  return { host: "127.0.0.1", port, user: "agent", database: "postgres", password: "placeholder", ssl };
}

async function psql(info: string, ...commands: string[]): Promise<{ readonly out: string; readonly error: string }> {
  const args = ["-X", "-A", "-t", "-d", info, ...commands.flatMap((c) => ["-c", c])];
  try {
    const { stdout, stderr } = await run("psql", args, { env: { PATH: "/usr/bin:/bin" }, timeout: 20_000 });
    return { out: stdout.trim(), error: stderr.trim() };
  } catch (fault) {
    const { stdout, stderr } = fault as { stdout: string; stderr: string };
    return { out: stdout.trim(), error: stderr.trim() };
  }
}

describe.each(MODES)("with sslmode %s", (mode) => {
  test("psql enters with a credential that it does not have, and is denied a DROP", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await gatewayOf();
    const seen = await psql(
      conninfo(gateway, mode),
      "select current_user, (select ssl from pg_stat_ssl where pid = pg_backend_pid())",
      "select * from t order by a",
      "drop table t",
      "select count(*) from t",
    );
    expect(seen.out).toBe("svc|t\n1|one\n2|two\n2");
    expect(seen.error).toMatch(/^ERROR: {2}sidegate: This agent only reads\.\nDETAIL: {2}code no_writes/);
    expect(JSON.stringify(gateway.records())).not.toContain(PASSWORD);
  });

  test("node-pg does", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf();
    const client = new Client(nodeOptions(gateway, mode));
    await client.connect();
    expect((await client.query("select current_user")).rows).toEqual([{ current_user: "svc" }]);
    expect((await client.query("select b from t where a = $1", [2])).rows).toEqual([{ b: "two" }]);
    for (let i = 0; i < 3; i++)
      expect((await client.query({ name: "named", text: "select b from t where a = $1", values: [1] })).rowCount).toBe(
        1,
      );
    await expect(client.query("drop table t")).rejects.toMatchObject({
      code: "42501",
      hint: "Ask for a write policy.",
    });
    await expect(client.query("delete from t where a = $1", [1])).rejects.toMatchObject({ code: "42501" });
    expect((await client.query("select count(*)::int as n from t")).rows).toEqual([{ n: 2 }]);
    await client.end();
  });

  test("psycopg does", async (context) => {
    requirePostgres(context);
    requireThat(context, python !== null, "psycopg, asyncpg and SQLAlchemy cannot be installed by pip");
    const gateway = await gatewayOf();
    const dsn = { conninfo: conninfo(gateway, mode) };
    const { stdout } = await run(python ?? "", [
      path.join(import.meta.dirname, "postgres-clients.py"),
      "psycopg",
      JSON.stringify(dsn),
    ]);
    expect(JSON.parse(stdout)).toEqual({
      tls: mode !== "disable",
      user: "svc",
      rows: [
        [1, "one"],
        [2, "two"],
      ],
      parameter: "two",
      denied: ["42501", "sidegate: This agent only reads.", "Ask for a write policy."],
      transaction: 2,
      pipeline: [0, 1, 2, 3, 4],
      copy: "1\n2\n",
    });
  });

  test("asyncpg does", async (context) => {
    requirePostgres(context);
    requireThat(context, python !== null, "psycopg, asyncpg and SQLAlchemy cannot be installed by pip");
    const gateway = await gatewayOf();
    const options = {
      host: "127.0.0.1",
      port: gateway.port,
      user: "agent",
      database: "postgres",
      password: "placeholder",
      sslmode: mode,
      ca: gateway.caPem,
    };
    const { stdout } = await run(python ?? "", [
      path.join(import.meta.dirname, "postgres-clients.py"),
      "asyncpg",
      JSON.stringify(options),
    ]);
    expect(JSON.parse(stdout)).toEqual({
      tls: mode !== "disable",
      user: "svc",
      rows: [
        [1, "one"],
        [2, "two"],
      ],
      parameter: "two",
      denied: ["42501", "sidegate: This agent only reads.", "Ask for a write policy."],
      deniedPrepared: ["42501"],
      transaction: 2,
      cursor: [1, 2],
    });
  });

  test("SQLAlchemy does", async (context) => {
    requirePostgres(context);
    requireThat(context, python !== null, "psycopg, asyncpg and SQLAlchemy cannot be installed by pip");
    const gateway = await gatewayOf();
    const { stdout } = await run(python ?? "", [
      path.join(import.meta.dirname, "postgres-clients.py"),
      "sqlalchemy",
      JSON.stringify({
        host: "db.test",
        hostaddr: "127.0.0.1",
        port: gateway.port,
        user: "agent",
        dbname: "postgres",
        password: "placeholder",
        sslmode: mode,
        sslrootcert: caFile(),
      }),
    ]);
    expect(JSON.parse(stdout)).toEqual({
      tls: mode !== "disable",
      user: "svc",
      rows: [
        [1, "one"],
        [2, "two"],
      ],
      parameter: "two",
      denied: ["42501", "sidegate: This agent only reads.", "Ask for a write policy."],
      deniedInsert: "42501",
      cursor: [1, 2],
      columns: ["a", "b"],
    });
  });

  test("Drizzle does", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf();
    const pool = new Pool({ ...nodeOptions(gateway, mode), max: 1 });
    const t = pgTable("t", { a: integer().primaryKey(), b: text() });
    const db = drizzle(pool, { schema: { t } });
    try {
      expect(await db.select().from(t).orderBy(asc(t.a))).toEqual([
        { a: 1, b: "one" },
        { a: 2, b: "two" },
      ]);
      expect(await db.query.t.findFirst({ where: eq(t.a, 2) })).toEqual({ a: 2, b: "two" });
      const named = db.select({ b: t.b }).from(t).where(eq(t.a, 1)).prepare("by_a");
      for (let i = 0; i < 3; i++) expect(await named.execute()).toEqual([{ b: "one" }]);
      await expect(db.insert(t).values({ a: 3, b: "three" })).rejects.toMatchObject({
        cause: { code: "42501", hint: "Ask for a write policy." },
      });
      expect(await db.transaction((tx) => tx.$count(t))).toBe(2);
    } finally {
      const removed = once(pool, "remove");
      await pool.end();
      await removed;
    }
  });

  test("pgjdbc does", async (context) => {
    requirePostgres(context);
    requireTool(context, "java");
    requireThat(context, existsSync(JDBC), "PostgreSQL's JDBC driver is not there (tools/pgjdbc/ensure.sh)");
    const gateway = await gatewayOf();
    const hosts = path.join(folder, "hosts");
    writeFileSync(hosts, "127.0.0.1 db.test\n");
    const secured = mode === "disable" ? "" : `&sslrootcert=${caFile()}`;
    const { stdout } = await run("java", [
      "-Xshare:auto",
      "-XX:TieredStopAtLevel=1",
      `-Djdk.net.hosts.file=${hosts}`,
      "-cp",
      JDBC,
      path.join(import.meta.dirname, "PostgresClient.java"),
      `jdbc:postgresql://db.test:${gateway.port}/postgres?sslmode=${mode}${secured}`,
      "agent",
      "placeholder",
    ]);
    const denied = ["42501", "sidegate: This agent only reads.", "Ask for a write policy."];
    expect(JSON.parse(stdout)).toEqual({
      user: "svc",
      rows: [
        [1, "one"],
        [2, "two"],
      ],
      parameter: "two",
      binary: "7 1.5 2020-02-29 [1, 2] 00000000-0000-0000-0000-000000000001",
      denied,
      deniedPrepared: denied,
      transaction: 2,
      cursor: [1, 2],
      copy: "1\n2\n",
      columns: ["a", "b"],
    });
  });
});

describe("TLS", () => {
  test("from the first byte, as libpq 17 and later can", async (context) => {
    requirePostgres(context);
    requireThat(context, python !== null, "psycopg, asyncpg and SQLAlchemy cannot be installed by pip");
    for (const target of [{ protocol: "postgres" }, {}] as const) {
      const gateway = await gatewayOf({ target });
      const dsn = { conninfo: conninfo(gateway, "verify-full", "sslnegotiation=direct") };
      const { stdout } = await run(python ?? "", [
        path.join(import.meta.dirname, "postgres-clients.py"),
        "psycopg",
        JSON.stringify(dsn),
      ]);
      expect(JSON.parse(stdout)).toMatchObject({ tls: true, user: "svc" });
      expect(gateway.inputs[0]).toMatchObject({ action: "connect", protocol: "postgres" });
    }
  });

  test("that the upstream cannot prove is told to the client, inside TLS", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await gatewayOf({ target: { upstream: {} } });
    for (const mode of MODES) {
      const { error } = await psql(conninfo(gateway, mode), "select 1");
      expect(error).toMatch(/FATAL: {2}sidegate: The upstream's certificate could not be verified/);
    }
  });
});

describe("start-up settings", () => {
  test("that frameworks send are the session's; those that decide who it is, or that nobody knows, are judged", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await gatewayOf();
    const options = (text: string): string => conninfo(gateway, "disable", `options='${text}'`);
    const harmless = options("-c statement_timeout=7s -c search_path=shop,public -c enable_seqscan=off --jit=off");
    expect(
      await psql(harmless, "show statement_timeout", "show search_path", "show enable_seqscan", "show jit"),
    ).toEqual({ out: "7s\nshop,public\noff\noff", error: "" });
    for (const judged of ["-c role=owner", "-c app.tenant=7", "-c session_authorization=owner"])
      expect((await psql(options(judged), "select 1")).error, judged).toMatch(
        /FATAL: {2}sidegate: This agent only reads/,
      );
    expect((await psql(options("-c standard_conforming_strings=off"), "select 1")).error).toMatch(
      /FATAL: {2}sidegate: This setting decides how statements are read/,
    );
    expect((await psql(conninfo(gateway, "disable", "replication=database"), "select 1")).error).toMatch(
      /FATAL: {2}sidegate: .*replication is not carried/,
    );
    gateway.policy = () => ALLOW;
    expect((await psql(options("-c app.tenant=7"), "show app.tenant")).out).toBe("7");
  });
});

describe("a credential", () => {
  test("names the database, where it does", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await gatewayOf({ credential: { ...CREDENTIAL, database: "template1" } });
    expect((await psql(conninfo(gateway, "disable"), "select current_database()")).out).toBe("template1");
  });

  test("that was changed is the next connection's; an open one goes on; a value that is behind is asked for anew", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    await server?.psql("create role rotated login password 'first'");
    const credential = { name: CREDENTIAL.name, user: "rotated", password: "first" };
    const gateway = await gatewayOf({ credential });
    const before = new Client(nodeOptions(gateway, "disable"));
    await before.connect();
    await server?.psql("alter role rotated password 'second'");
    expect((await before.query("select current_user")).rows).toEqual([{ current_user: "rotated" }]);
    // Nobody has heard of the new one yet.
    expect((await psql(conninfo(gateway, "disable"), "select 1")).error).toMatch(
      /FATAL: {2}password authentication failed for user "rotated"/,
    );
    Object.assign(credential, { renewed: "second" });
    expect((await psql(conninfo(gateway, "disable"), "select current_user")).out).toBe("rotated");
    Object.assign(credential, { password: "second", renewed: undefined });
    expect((await psql(conninfo(gateway, "verify-full"), "select current_user")).out).toBe("rotated");
    expect((await before.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await before.end();
  });
});

describe("a client that policy does not let in", () => {
  const nobody: GatewayOptions["policy"] = (input) => (input.action === "connect" ? DENY : ALLOW);

  test.each(MODES)("reads why, and what to do, as from a server: psql with sslmode %s", async (mode) => {
    if (server === null) return;
    const gateway = await gatewayOf({ policy: nobody });
    const { out, error } = await psql(conninfo(gateway, mode), "select 1");
    expect(out).toBe("");
    expect(error).toMatch(/FATAL: {2}sidegate: This agent only reads\./);
    expect(error).toMatch(/DETAIL: {2}code no_writes, class policy/);
    expect(error).toMatch(/HINT: {2}Ask for a write policy\./);
    expect(gateway.records()).toEqual([]);
  });

  test.each(MODES)("and its driver raises it with a SQLSTATE: node-pg with %s", async (mode) => {
    if (server === null) return;
    const gateway = await gatewayOf({ policy: nobody });
    const client = new Client(nodeOptions(gateway, mode));
    client.on("error", () => {});
    await expect(client.connect()).rejects.toMatchObject({
      code: "42501",
      severity: "FATAL",
      hint: "Ask for a write policy.",
    });
  });

  test("also with TLS from the first byte", async (context) => {
    requirePostgres(context);
    requireThat(context, python !== null, "psycopg, asyncpg and SQLAlchemy cannot be installed by pip");
    const gateway = await gatewayOf({ policy: nobody, target: { protocol: "postgres" } });
    const dsn = { conninfo: conninfo(gateway, "verify-full", "sslnegotiation=direct") };
    const script = path.join(import.meta.dirname, "postgres-clients.py");
    await expect(run(python ?? "", [script, "psycopg", JSON.stringify(dsn)])).rejects.toThrow(
      /FATAL: {2}sidegate: This agent only reads/,
    );
  });
});

describe("an upstream that does not ask for SCRAM", () => {
  test.each(["trusted", "weak", "clear"])("gets no credential: %s", async (user) => {
    if (server === null) return;
    const gateway = await gatewayOf({ credential: { ...CREDENTIAL, user } });
    const { error } = await psql(conninfo(gateway, "disable"), "select 1");
    expect(error).toMatch(/FATAL: {2}sidegate: The upstream did not take the credential in a way that is safe/);
  });

  test.each(["trusted", "weak", "clear", "plain"])("gets it where its target says so: %s", async (user) => {
    if (server === null) return;
    const gateway = await gatewayOf({ credential: { ...CREDENTIAL, user }, target: { insecureCredential: true } });
    expect((await psql(conninfo(gateway, "disable"), "select current_user")).out).toBe(user);
  });
});

describe("an agent's own password, where the target has no credential", () => {
  const without = (): Promise<PostgresGateway> =>
    startPostgresGateway({
      upstream: server?.port ?? 0,
      policy: readsOnly,
      target: { upstream: { ca: server?.caPem ?? "" } },
    }).then((gateway) => {
      open.push(gateway);
      writeFileSync(path.join(folder, "ca.pem"), gateway.caPem);
      return gateway;
    });
  const as = (gateway: PostgresGateway, mode: Mode, user: string, password: string, more = ""): string =>
    `host=db.test hostaddr=127.0.0.1 port=${gateway.port} user=${user} dbname=postgres password='${password.replaceAll("'", "\\'")}' sslmode=${mode} sslrootcert=${caFile()} ${more}`;

  test("goes through, right or wrong", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await without();
    expect((await psql(as(gateway, "disable", "plain", PASSWORD), "select current_user")).out).toBe("plain");
    expect((await psql(as(gateway, "disable", "plain", "wrong"), "select 1")).error).toMatch(
      /FATAL: {2}password authentication failed/,
    );
    expect((await psql(as(gateway, "verify-full", "weak", PASSWORD), "select current_user")).out).toBe("weak");
    expect(
      (await psql(as(gateway, "verify-full", "umlaut", "Pässwörd", "channel_binding=disable"), "select current_user"))
        .out,
    ).toBe("umlaut");
  });

  test("cannot be bound to a certificate that is not the upstream's, and the client is told how to go on", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await without();
    expect((await psql(as(gateway, "require", "svc", PASSWORD), "select 1")).error).toMatch(
      /HINT: {2}Set channel_binding=disable/,
    );
    expect(
      (await psql(as(gateway, "require", "svc", PASSWORD, "channel_binding=disable"), "select current_user")).out,
    ).toBe("svc");
  });
});

describe("an agent that must be asked", () => {
  test.each([
    ["password", "placeholder"],
    ["md5", "placeholder"],
    ["scram-sha-256", "placeholder"],
  ] as const)("by %s is let in with its placeholder only", async (method, placeholder) => {
    if (server === null) return;
    const gateway = await gatewayOf({ lane: { authentication: { method, placeholder } } });
    for (const mode of MODES) {
      expect((await psql(conninfo(gateway, mode), "select current_user")).out, mode).toBe("svc");
      const wrong = conninfo(gateway, mode).replace("password=placeholder", "password=stolen");
      expect((await psql(wrong, "select 1")).error, mode).toMatch(
        /FATAL: {2}sidegate: The gateway puts the credential/,
      );
    }
  });

  test("is refused where a target has a credential and no policy puts it in", async (context) => {
    requirePostgres(context);
    requireTool(context, "psql");
    const gateway = await startPostgresGateway({ upstream: server?.port ?? 0, target: { credential: "db-password" } });
    open.push(gateway);
    expect((await psql(conninfo(gateway, "disable"), "select 1")).error).toMatch(/no policy puts it in/);
  });
});
