/**
 * Sessions upstream that wait for another connection of the agent's (THREATS H6): what one of them did must not be there for the next, and
 * nobody but the same identity, database and settings may have it. Real PostgreSQL, real lane, real pool.
 */

import net from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { readKeyData } from "#sidecar/lanes/postgres/codec/backend.ts";
import { TERMINATE } from "#sidecar/lanes/postgres/codec/frontend.ts";
import { cancelText } from "#sidecar/lanes/postgres/codec/startup.ts";
import { requireThat } from "../support/require.ts";
import { type GatewayOptions, type PostgresGateway, startPostgresGateway } from "./postgres-gateway.ts";
import { type PostgresServer, postgresBin, startPostgres } from "./postgres-server.ts";
import { type Answer, errorOf, say, WireClient } from "./postgres-wire.ts";

const PASSWORD = "the-agent-never-sees-this";
const MISSING = "PostgreSQL's server is not installed (apt-get install postgresql)";
const SETUP = `create role app login password '${PASSWORD}'; create role other login password '${PASSWORD}';
create table t(a int); insert into t values (1); grant all on t to app;`;

let server: PostgresServer | null = null;
const open: PostgresGateway[] = [];

beforeAll(async () => {
  const bin = postgresBin();
  if (bin !== null) server = await startPostgres(bin, { sql: SETUP });
}, 120_000);

afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

afterAll(async () => {
  await server?.close();
});

async function gatewayOf(over: Partial<GatewayOptions> = {}): Promise<PostgresGateway> {
  const gateway = await startPostgresGateway({
    upstream: server?.port ?? 0,
    credential: { name: "app", user: "app", password: PASSWORD },
    target: { credential: "app", upstream: { ca: server?.caPem ?? "" } },
    ...over,
  });
  open.push(gateway);
  return gateway;
}

interface Session {
  readonly client: WireClient;
  readonly greeting: readonly Answer[];
  readonly pid: string;
}

async function enter(
  gateway: PostgresGateway,
  parameters: readonly (readonly [string, string])[] = [],
): Promise<Session> {
  const { client, greeting } = await WireClient.connect(gateway.port, [["user", "agent"], ...parameters]);
  const pid = cell(await client.ask(say.query("select pg_backend_pid()")));
  expect(pid).toMatch(/^\d+$/);
  return { client, greeting, pid };
}

/** The first column of the first row. */
function cell(answers: readonly Answer[]): string {
  return answers.find(({ type }) => type === "D")?.body.slice(6) ?? errorOf(answers).get("C") ?? "";
}

/** As a driver leaves; resolves when the server has nothing to do for this session, or has ended it. */
async function leave({ client, pid }: Session, how: "terminate" | "close" | "reset" = "terminate"): Promise<void> {
  if (how === "reset") client.socket.resetAndDestroy();
  else if (how === "terminate") client.socket.end(TERMINATE, "latin1");
  else client.socket.end();
  await settled(pid);
}

async function settled(pid: string): Promise<string> {
  for (;;) {
    const state = await server?.psql(`select state || ' ' || query from pg_stat_activity where pid = ${pid}`);
    if (state === "" || state === "idle DISCARD ALL" || state === undefined) return state ?? "";
  }
}

const waiting = async (): Promise<number> =>
  Number(await server?.psql("select count(*) from pg_stat_activity where usename in ('app', 'other')"));

describe("H6: a session that is left", () => {
  test("waits, and the next connection goes on with it: same greeting, a key of its own", async (context) => {
    requireThat(context, server !== null, MISSING);
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    await leave(first);
    const second = await enter(gateway);
    expect(second.pid).toBe(first.pid);
    const statuses = ({ greeting }: Session): string[] =>
      greeting.filter(({ type }) => type === "S").map(({ body }) => body);
    expect(new Set(statuses(second))).toEqual(new Set(statuses(first)));
    const key = ({ greeting }: Session): string => greeting.find(({ type }) => type === "K")?.body ?? "";
    expect(key(second)).not.toBe(key(first));
    expect(second.greeting.map(({ type }) => type)).toEqual(first.greeting.map(({ type }) => type));
    await leave(second, "close");
    expect((await enter(gateway)).pid).toBe(first.pid);
    expect(gateway.faults).toEqual([]);
  });

  test.each([
    ["a setting", "set timezone = 'Asia/Tokyo'", "show timezone", /^(?!Asia)/, true],
    ["where names are looked up", "set search_path = pg_temp", "show search_path", /^"\$user", public$/, true],
    ["a prepared statement", "prepare p as select 42", "execute p", /^26000$/, true],
    ["a cursor", "declare c cursor with hold for select 42", "fetch c", /^34000$/, true],
    ["what it listens to", "listen gossip", "select count(*) from pg_listening_channels()", /^0$/, true],
    ["no writing", "set default_transaction_read_only = on", "show default_transaction_read_only", /^off$/, true],
    ["a temporary table", "create temp table secrets(a int)", "select a from secrets", /^42P01$/, false],
    ["one in place of a real one", "create temp table t(a int)", "select a from t", /^1$/, false],
    ["a lock", "select pg_advisory_lock(7)", "select count(*) from pg_locks where locktype = 'advisory'", /^0$/, false],
    ["a sequence's last value", "create temp sequence s; select nextval('s')", "select lastval()", /^55000$/, false],
    ["a setting of its own", "set my.secret = '42'", "select current_setting('my.secret', true) is null", /^t$/, false],
    ["the seed of random()", "select setseed(0.5)", "select random() = 0.9851677175347999", /^f$/, false],
    ["a role", "set role app", "show role", /^none$/, false],
  ])("leaves to the next nothing of it: %s", async (_, makes, asks, expected, waits) => {
    if (server === null) return;
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    expect((await first.client.ask(say.query(makes))).some(({ type }) => type === "E")).toBe(false);
    await leave(first);
    const second = await enter(gateway);
    // What is more than reading, writing and settings of the server's own ends with its session: DISCARD ALL alone is not trusted with it.
    expect(second.pid === first.pid).toBe(waits);
    expect(cell(await second.client.ask(say.query(asks)))).toMatch(expected);
    await leave(second);
  });

  test("leaves no statement that was prepared by a message", async (context) => {
    requireThat(context, server !== null, MISSING);
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    await first.client.ask(say.parse("mine", "select 42") + say.sync);
    await leave(first);
    const second = await enter(gateway);
    expect(second.pid).toBe(first.pid);
    expect(cell(await second.client.ask(say.query("select count(*) from pg_prepared_statements")))).toBe("0");
    expect(errorOf(await second.client.ask(say.bind("", "mine") + say.sync)).get("C")).toBe("26000");
  });
});

describe("H6: nobody goes on with a session", () => {
  test.each([
    ["whose transaction is open", say.query("begin; insert into t values (2)"), "terminate"],
    ["whose transaction has failed", say.query("begin; select 1/0"), "terminate"],
    ["in the middle of a batch", say.parse("", "select 1") + say.flush, "terminate"],
    ["that was reset", "", "reset"],
  ] as const)("%s", async (_, said, how) => {
    if (server === null) return;
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    if (said !== "") await first.client.ask(said, 1, "Z1");
    await leave(first, how);
    expect(await server.psql(`select count(*) from pg_stat_activity where pid = ${first.pid}`)).toBe("0");
    expect((await enter(gateway)).pid).not.toBe(first.pid);
    expect(await server.psql("select count(*) from t")).toBe("1");
  });

  test("that somebody has asked to cancel: the request may still be on its way", async (context) => {
    requireThat(context, server !== null, MISSING);
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    const key = readKeyData(first.greeting.find(({ type }) => type === "K")?.body ?? "");
    if (key === null) throw new Error("no key");
    await new Promise<void>((resolve) => {
      const socket = net.connect({ port: gateway.port, host: "127.0.0.1" });
      socket.on("close", () => resolve()).on("error", () => {});
      socket.resume().end(cancelText(key.pid, key.key), "latin1");
    });
    // What it cancelled, if anything, is over.
    await first.client.ask(say.query("select 1"));
    await leave(first);
    expect((await enter(gateway)).pid).not.toBe(first.pid);
  });

  test("by the key of whoever had it before", async (context) => {
    requireThat(context, server !== null, MISSING);
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    const key = readKeyData(first.greeting.find(({ type }) => type === "K")?.body ?? "");
    await leave(first);
    const second = await enter(gateway);
    expect(second.pid).toBe(first.pid);
    await new Promise<void>((resolve) => {
      const socket = net.connect({ port: gateway.port, host: "127.0.0.1" });
      socket.on("close", () => resolve()).on("error", () => {});
      socket.resume().end(cancelText(key?.pid ?? 0, key?.key ?? ""), "latin1");
    });
    expect(gateway.faults).toEqual([]);
    expect(cell(await second.client.ask(say.query("select 5")))).toBe("5");
  });

  test.each([
    ["of another database", [["database", "template1"]]],
    ["with other settings", [["statement_timeout", "60000"]]],
    ["under another name", [["application_name", "other"]]],
  ] as const)("%s", async (_, parameters) => {
    if (server === null) return;
    const gateway = await gatewayOf();
    const first = await enter(gateway);
    await leave(first);
    expect((await enter(gateway, parameters)).pid).not.toBe(first.pid);
    expect((await enter(gateway)).pid).toBe(first.pid);
  });

  test("that an agent entered with a password of its own: the next one would not need it", async (context) => {
    requireThat(context, server !== null, MISSING);
    const own = await startPostgres(postgresBin() ?? "", { hba: ["host all all 127.0.0.1/32 trust"] });
    try {
      const gateway = await startPostgresGateway({ upstream: own.port });
      open.push(gateway);
      const pids = new Set<string>();
      for (let i = 0; i < 2; i++) {
        const { client } = await WireClient.connect(gateway.port);
        pids.add(cell(await client.ask(say.query("select pg_backend_pid()"))));
        client.socket.end(TERMINATE, "latin1");
        while ((await own.psql("select count(*) from pg_stat_activity where client_port > 0")) !== "0");
      }
      expect(pids.size).toBe(2);
    } finally {
      await own.close();
    }
  });

  test("of a server without TLS: it may be one session for all of its connections", async (context) => {
    requireThat(context, server !== null, MISSING);
    const plain = await startPostgres(postgresBin() ?? "", { conf: ["ssl=off"], sql: SETUP });
    try {
      const target = { credential: "app", insecureCredential: true };
      const gateway = await gatewayOf({ upstream: plain.port, target });
      const first = await enter(gateway);
      first.client.socket.end(TERMINATE, "latin1");
      while ((await plain.psql(`select count(*) from pg_stat_activity where pid = ${first.pid}`)) !== "0");
      expect((await enter(gateway)).pid).not.toBe(first.pid);
    } finally {
      await plain.close();
    }
  });

  test("of a credential that has changed since: it is closed when the new one is used", async (context) => {
    requireThat(context, server !== null, MISSING);
    const credential = { name: "app", user: "app", password: PASSWORD, version: 1 };
    const gateway = await gatewayOf({ credential });
    const first = await enter(gateway);
    await leave(first);
    credential.version = 2;
    const second = await enter(gateway);
    expect(second.pid).not.toBe(first.pid);
    while ((await server?.psql(`select count(*) from pg_stat_activity where pid = ${first.pid}`)) !== "0");
    await leave(second);
    expect((await enter(gateway)).pid).toBe(second.pid);
  });

  test("beyond eight of a kind, and none is left when the gateway ends", async (context) => {
    requireThat(context, server !== null, MISSING);
    const gateway = await gatewayOf();
    const sessions = await Promise.all(Array.from({ length: 11 }, () => enter(gateway)));
    for (const session of sessions) session.client.socket.end(TERMINATE, "latin1");
    for (const { pid } of sessions) await settled(pid);
    expect(await waiting()).toBe(8);
    open.splice(open.indexOf(gateway), 1);
    await gateway.close();
    while ((await waiting()) > 0);
  });
});
