/** Sessions through the sidecar against a real PostgreSQL: what is denied and what goes on behind it, and the threat model's rows Q. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { OperationInput } from "#contract/operation.ts";
import type { Target } from "#contract/target.ts";
import { readKeyData } from "#sidecar/lanes/postgres/codec/backend.ts";
import { cancelText } from "#sidecar/lanes/postgres/codec/startup.ts";
import { message } from "#sidecar/lanes/postgres/codec/text.ts";
import { ALLOW, DENY, type Policy, type PostgresGateway, readsOnly, startPostgresGateway } from "./postgres-gateway.ts";
import { type PostgresServer, postgresBin, requirePostgres, startPostgres } from "./postgres-server.ts";
import { type Answer, errorOf, say, show, statusOf, WireClient } from "./postgres-wire.ts";

let server: PostgresServer | null = null;
const open: PostgresGateway[] = [];
const clients: WireClient[] = [];

beforeAll(async () => {
  const bin = postgresBin();
  if (bin === null) return;
  server = await startPostgres(bin, {
    hba: ["host all all 127.0.0.1/32 trust"],
    sql: `
      create role pinned login; alter role pinned set standard_conforming_strings = off;
      create role reader login; grant pg_read_all_data, pg_write_all_data to reader;
    `,
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.end();
  for (const gateway of open.splice(0)) {
    await gateway.close();
    if (gateway.faults.length > 0) throw gateway.faults[0];
    const unfinished = gateway.records().filter((r) => r.op.verdict === "allow" && r.end === null);
    if (unfinished.length > 0) throw new Error(`permits that nobody finished: ${JSON.stringify(unfinished)}`);
  }
});
afterAll(async () => {
  await server?.close();
});

async function gatewayOf(policy: Policy, target: Partial<Target> = {}): Promise<PostgresGateway> {
  await server?.psql(
    "drop table if exists t, log; create table t (a int, b text); insert into t values (1, 'one'), (2, 'two'); create table log (x text)",
  );
  const gateway = await startPostgresGateway({ upstream: server?.port ?? 0, policy, target });
  open.push(gateway);
  return gateway;
}

async function clientOf(
  gateway: PostgresGateway,
  parameters: readonly (readonly [string, string])[] = [],
  minor = 0,
): Promise<{ client: WireClient; greeting: readonly Answer[] }> {
  const connected = await WireClient.connect(gateway.port, parameters, minor);
  clients.push(connected.client);
  return connected;
}

const rowsOf = (answers: readonly Answer[]): string[] =>
  answers.filter((a) => a.type === "D").map((a) => a.body.slice(6));
const count = (table: string): Promise<string> => server?.psql(`select count(*) from ${table}`) ?? Promise.resolve("");
const types = (answers: readonly Answer[]): string => answers.map((a) => a.type).join("");
/** Denies what one of these kinds is; allows the rest, whether understood or not. */
const deniesKinds =
  (...kinds: string[]): Policy =>
  (input) =>
    input.sql?.statements.some((s) => kinds.includes(s.kind)) === true ? DENY : ALLOW;

describe("a denied statement", () => {
  test("is an error with the policy's words, and the session goes on", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(readsOnly));
    const denied = await client.ask(say.query("drop table t"));
    expect(types(denied)).toBe("EZ");
    const error = errorOf(denied);
    expect(error.get("S")).toBe("ERROR");
    expect(error.get("C")).toBe("42501");
    expect(error.get("M")).toBe("sidegate: This agent only reads.");
    expect(error.get("H")).toBe("Ask for a write policy.");
    expect(error.get("D")).toMatch(/^code no_writes, class policy, policy test, event test-\d+$/);
    expect(statusOf(denied)).toBe("I");
    expect(rowsOf(await client.ask(say.query("select a from t order by a")))).toEqual(["1", "2"]);
    expect(await count("t")).toBe("2");
  });

  test("keeps the others of its Query from running", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(deniesKinds("drop"));
    const { client } = await clientOf(gateway);
    const denied = await client.ask(say.query("insert into t values (3, 'x'); drop table t; select 1"));
    expect(types(denied)).toBe("EZ");
    expect(await count("t")).toBe("2");
    expect(gateway.records().map((r) => [r.op.verdict, r.end?.status ?? null])).toEqual([
      ["allow", "not-sent"],
      ["deny", null],
    ]);
  });

  test("fails its transaction, as one that the server refuses", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(deniesKinds("drop")));
    await client.ask(say.query("begin"));
    await client.ask(say.query("insert into t values (3, 'x')"));
    const denied = await client.ask(say.query("drop table t"));
    expect([types(denied), statusOf(denied)]).toEqual(["EZ", "E"]);
    expect(errorOf(await client.ask(say.query("select 1"))).get("C")).toBe("25P02");
    expect((await client.ask(say.query("commit")))[0]?.body).toBe("ROLLBACK\0");
    expect(await count("t")).toBe("2");
  });

  test("skips what follows in its batch, and undoes what went before in it", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(deniesKinds("drop")));
    const insert = say.parse("", "insert into t values (3, 'x')") + say.bind("", "") + say.execute();
    const drop = say.parse("", "drop table t") + say.bind("", "") + say.execute();
    const denied = await client.ask(insert + drop + insert + say.sync);
    expect(types(denied)).toBe("12CEZ");
    expect(errorOf(denied).get("C")).toBe("42501");
    expect(statusOf(denied)).toBe("I");
    expect(await count("t")).toBe("2");
    expect(types(await client.ask(insert + say.sync))).toBe("12CZ");
    expect(await count("t")).toBe("3");
  });

  test("is refused when it is prepared, before the server hears of it", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(deniesKinds("delete"));
    const { client } = await clientOf(gateway);
    expect(types(await client.ask(say.parse("d", "delete from t") + say.describe("S", "d") + say.sync))).toBe("EZ");
    expect(errorOf(await client.ask(say.bind("", "d") + say.execute() + say.sync)).get("C")).toBe("26000");
    const both = say.parse("s", "select 1") + say.parse("e", "delete from t") + say.describe("S", "e") + say.sync;
    const answers = await client.ask(both);
    expect(types(answers)).toBe("1EZ");
    expect(rowsOf(await client.ask(say.bind("", "s") + say.execute() + say.sync))).toEqual(["1"]);
  });

  test("by a multi-statement string is found behind a harmless one", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(readsOnly);
    const { client } = await clientOf(gateway);
    for (const sql of [
      "select 1; delete from t",
      "select 1 /* ; */; /* nested /* */ ; */ truncate t",
      "begin; delete from t; commit",
      "select $$;$$; delete from t",
    ])
      expect(errorOf(await client.ask(say.query(sql))).get("C"), sql).toBe("42501");
    expect(await count("t")).toBe("2");
  });
});

describe("row Q1: what a name stands for", () => {
  test("stays what it was when the batch that would have changed it fails", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(deniesKinds("delete"));
    const { client } = await clientOf(gateway);
    // With deletes allowed it is prepared; then they are denied, and its name is given to a harmless statement in a batch that fails.
    gateway.policy = () => ALLOW;
    await client.ask(say.parse("a", "delete from t") + say.sync);
    gateway.policy = deniesKinds("delete");
    const fails = say.parse("", "select 1/0") + say.bind("", "") + say.execute();
    const answers = await client.ask(
      fails +
        say.close("S", "a") +
        say.parse("a", "select 1") +
        say.sync +
        say.bind("", "a") +
        say.execute() +
        say.sync,
      2,
    );
    expect(answers.filter((a) => a.type === "E").length).toBe(2);
    expect(errorOf(answers.slice(answers.findIndex((a) => a.type === "Z"))).get("C")).toBe("42501");
    expect(await count("t")).toBe("2");
  });

  test("is not taken from a block of code that prepared another one under it", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf((input) =>
      input.sql?.statements.some((s) => s.kind === "delete") === true ? DENY : ALLOW,
    );
    const { client } = await clientOf(gateway);
    await client.ask(say.parse("b", "select 'harmless'") + say.sync);
    // The block finds our names in pg_prepared_statements, and gives each another statement.
    const block = `do $$ declare n text; begin
      for n in select name from pg_prepared_statements loop
        execute format('deallocate %I', n);
        execute format('prepare %I as delete from t returning a::text', n);
      end loop; end $$`;
    expect(show(await client.ask(say.query(block)))).toMatch(/^C"DO/);
    expect(await server?.psql("select 1")).toBe("1");
    const answers = await client.ask(say.bind("", "b") + say.execute() + say.sync);
    expect([types(answers), rowsOf(answers)]).toEqual(["2DCZ", ["harmless"]]);
    expect(await count("t")).toBe("2");
  });

  test("by PREPARE is not known any more behind one", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf((input) =>
      input.complete || input.sql?.statements[0]?.kind === "do" ? ALLOW : DENY,
    );
    const { client } = await clientOf(gateway);
    await client.ask(say.query("prepare p as select 'harmless'"));
    expect(rowsOf(await client.ask(say.query("execute p")))).toEqual(["harmless"]);
    await client.ask(say.query("do $$ begin execute 'deallocate p'; execute 'prepare p as delete from t'; end $$"));
    expect(errorOf(await client.ask(say.query("execute p"))).get("C")).toBe("42501");
    expect(errorOf(await client.ask(say.bind("", "p") + say.execute() + say.sync)).get("C")).toBe("26000");
    expect(await count("t")).toBe("2");
  });

  test("upstream is ours, and never the same twice", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      await client.ask(say.parse("mine", "select 1") + say.sync);
      const [name = ""] = rowsOf(await client.ask(say.query("select name from pg_prepared_statements")));
      expect(name).toMatch(/^sg_[a-z0-9]+_[\w-]{12}$/);
      seen.add(name);
      await client.ask(say.close("S", "mine") + say.sync);
    }
    expect(seen.size).toBe(5);
  });

  test("judges EXECUTE by the statement that runs", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(deniesKinds("delete"));
    const { client } = await clientOf(gateway);
    gateway.policy = () => ALLOW;
    await client.ask(say.query("prepare d as delete from t"));
    gateway.policy = deniesKinds("delete");
    for (const sql of [
      "execute d",
      "prepare s as select 1; execute d",
      "explain analyze execute d",
      "begin; execute d",
    ])
      expect(errorOf(await client.ask(say.query(sql))).get("C"), sql).toBe("42501");
    expect(errorOf(await client.ask(say.query("deallocate d; prepare d as delete from t; execute d"))).get("C")).toBe(
      "42501",
    );
    expect(errorOf(await client.ask(say.bind("", "d") + say.execute() + say.sync)).get("C")).toBe("42501");
    expect(await count("t")).toBe("2");
  });

  test("judges FETCH by what its cursor shows, and doubts one that nobody declared", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf((input) =>
      !input.complete || input.sql?.statements.some((s) => s.tables.some((t) => t.name === "log")) === true
        ? DENY
        : ALLOW,
    );
    const { client } = await clientOf(gateway);
    const declared = await client.ask(
      say.query("begin; declare c cursor for select a from t order by a; fetch 1 from c"),
    );
    expect(rowsOf(declared)).toEqual(["1"]);
    expect(rowsOf(await client.ask(say.query("fetch 1 from c")))).toEqual(["2"]);
    expect(errorOf(await client.ask(say.query("fetch 1 from nobodys"))).get("D")).toMatch(/no_writes/);
    const asked = gateway.inputs.findLast(
      (i: OperationInput) => i.complete && i.sql?.text.startsWith("fetch") === true,
    );
    expect(asked?.sql?.statements.map((s) => s.tables)).toEqual([[{ schema: "", name: "t", access: "read" }]]);
  });

  test("is found by DEALLOCATE, as psycopg says it", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    await client.ask(say.parse("_pg3_0", "select 1") + say.parse("_pg3_1", "select 2") + say.sync);
    expect(show(await client.ask(say.query("DEALLOCATE _pg3_0")))).toBe('C"DEALLOCATE\\u0000" Z"I"');
    expect(errorOf(await client.ask(say.bind("", "_pg3_0") + say.execute() + say.sync)).get("C")).toBe("26000");
    expect(types(await client.ask(say.extended("deallocate _pg3_1")))).toBe("12nCZ");
    expect(rowsOf(await client.ask(say.query("select count(*) from pg_prepared_statements")))).toEqual(["0"]);
    expect(types(await client.ask(say.parse("_pg3_0", "select 3") + say.sync))).toBe("1Z");
  });
});

describe("row Q2: how the server reads a text", () => {
  test("is pinned at startup, whatever the role or the client says", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { client } = await clientOf(gateway, [["user", "pinned"]]);
    expect(rowsOf(await client.ask(say.query("show standard_conforming_strings")))).toEqual(["on"]);
    for (const parameter of [
      ["standard_conforming_strings", "off"],
      ["client_encoding", "SJIS"],
      ["backslash_quote", "on"],
      ["options", "-c standard_conforming_strings=off"],
      ["options", "--client-encoding=GBK"],
      ["options", "-cstandard\\_conforming_strings=off"],
      ["Standard_Conforming_Strings", "off"],
      ["replication", "database"],
      ["replication", "true"],
    ] as const) {
      const refused = await clientOf(gateway, [parameter]);
      expect([types(refused.greeting), errorOf(refused.greeting).get("S")], String(parameter)).toEqual(["E", "FATAL"]);
    }
    for (const parameter of [
      ["client_encoding", "'utf-8'"],
      ["client_encoding", "SQL_ASCII"],
      ["options", "-c search_path=public -c statement_timeout=1000"],
      ["replication", "false"],
      ["application_name", "psql"],
    ] as const)
      expect(statusOf((await clientOf(gateway, [parameter])).greeting), String(parameter)).toBe("I");
  });

  test("that decides who the session is, is judged as the SET that it amounts to, before anybody is asked upstream", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(({ action }) => (action === "credential" ? DENY : ALLOW));
    for (const parameter of [
      ["role", "postgres"],
      ["options", "-c role=postgres"],
      ["session_authorization", "postgres"],
    ] as const) {
      const { greeting } = await clientOf(gateway, [parameter]);
      expect([types(greeting), errorOf(greeting).get("C")], String(parameter)).toEqual(["E", "42501"]);
      expect(gateway.inputs.at(-1)).toMatchObject({ action: "credential", sql: { statements: [{ kind: "set" }] } });
    }
  });

  test("cannot be changed by SET, and can be set to what it is", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    for (const sql of [
      "set standard_conforming_strings = off",
      "set local standard_conforming_strings to off",
      'set session "standard_conforming_strings" = 0',
      "set client_encoding = 'SJIS'",
      "set names 'GBK'",
      "set backslash_quote = on",
      "select set_config('standard_conforming_strings', 'off', false)",
      "select 1; set standard_conforming_strings = off; select 2",
    ])
      expect(errorOf(await client.ask(say.query(sql))).get("C"), sql).toBe("08P01");
    for (const sql of ["set standard_conforming_strings = on", "set client_encoding to 'UTF8'", "set names 'utf8'"])
      expect(types(await client.ask(say.query(sql))), sql).toBe("CZ");
  });

  test("ends the session when it changed in a way that nobody saw", async (context) => {
    requirePostgres(context);
    for (const sql of [
      "select set_config('standard_' || 'conforming_strings', 'off', false)",
      "do $$ begin perform set_config('client_encoding', 'SJIS', false); end $$",
    ]) {
      const gateway = await gatewayOf(() => ALLOW);
      const { client } = await clientOf(gateway);
      const answers = await client.ask(say.query(sql) + say.query("select 'a\\'"), 2);
      expect(errorOf(answers).get("S"), sql).toBe("FATAL");
      expect(types(answers)).not.toContain("Z");
      expect(gateway.records().some((r) => r.op.verdict === "deny" && r.op.decision.includes("setting_pinned"))).toBe(
        true,
      );
    }
  });

  test("is not guessed in a batch behind what nobody understood", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    const block = say.parse("", "do $$ begin perform 1; end $$") + say.bind("", "") + say.execute();
    const plain = say.parse("", "select 'plain'") + say.bind("", "") + say.execute();
    const two = say.parse("", "select 'a\\', ' or delete --'") + say.bind("", "") + say.execute();
    expect(types(await client.ask(block + plain + say.sync))).toBe("12C12DCZ");
    const answers = await client.ask(block + two + say.sync);
    expect(types(answers)).toBe("12CEZ");
    expect(errorOf(answers).get("M")).toMatch(/read in two ways/);
    expect(types(await client.ask(block + say.sync + two + say.sync, 2))).toBe("12CZ12DCZ");
  });

  test("has one statement under way, unless the one before only reads", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { client } = await clientOf(gateway);
    let asked = 0;
    // What is judged while a slow one runs: nothing behind a write, everything behind a read.
    gateway.policy = () => {
      asked++;
      return ALLOW;
    };
    const batch = (sql: string): string => say.parse("", sql) + say.bind("", "") + say.execute();
    const slow = "insert into log select pg_sleep(0.3)::text returning x";
    const answers = await client.ask(
      batch(slow) + batch("select 1") + batch("insert into log values ('b')") + say.sync,
    );
    expect(types(answers)).toBe("12DC12DC12CZ");
    expect(asked).toBe(3);
    expect(gateway.records().map((r) => r.end?.status)).toEqual(["INSERT 0 1", "SELECT 1", "INSERT 0 1"]);
  });
});

describe("row Q4: a read-only target", () => {
  test("is enforced by the server, and no spelling undoes it", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW, { readOnly: true });
    const { client } = await clientOf(gateway, [["user", "reader"]]);
    expect(errorOf(await client.ask(say.query("insert into t values (9, 'x')"))).get("C")).toBe("25006");
    expect(errorOf(await client.ask(say.query("begin; insert into t values (9, 'x'); commit"))).get("C")).toBe("25006");
    await client.ask(say.query("rollback"));
    for (const sql of [
      "begin read write",
      "start transaction isolation level serializable, read write",
      "begin; set transaction read write",
      "set transaction read write",
      "set session characteristics as transaction read write",
      "set default_transaction_read_only = off",
      "set default_transaction_read_only to no",
      "set transaction_read_only = false",
      "select set_config('default_transaction_read_only', 'off', false)",
      "begin; set local transaction_read_only = 0",
    ]) {
      const answers = await client.ask(say.query(sql));
      expect(errorOf(answers).get("C"), sql).toBe("42501");
      if (statusOf(answers) !== "I") await client.ask(say.query("rollback"));
    }
    const hidden = "select set_config('default_transaction_' || 'read_only', 'off', false)";
    expect(errorOf(await client.ask(say.query(hidden))).get("S")).toBe("FATAL");
    for (const parameter of [
      ["default_transaction_read_only", "off"],
      ["options", "-c default_transaction_read_only=off"],
      ["options", "-c transaction_read_only=off"],
    ] as const)
      expect(errorOf((await clientOf(gateway, [parameter])).greeting).get("S"), String(parameter)).toBe("FATAL");
    expect(await count("t")).toBe("2");
  });

  test("lets reads and its own resets through", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW, { readOnly: true }));
    for (const sql of [
      "begin read only",
      "commit",
      "set default_transaction_read_only = on",
      "reset all",
      "discard all",
    ])
      expect(types(await client.ask(say.query(sql))), sql).toBe("CZ");
    expect(errorOf(await client.ask(say.query("insert into t values (9, 'x')"))).get("C")).toBe("25006");
    expect(rowsOf(await client.ask(say.query("select count(*) from t")))).toEqual(["2"]);
  });
});

describe("row Q8: what is too long, or not carried", () => {
  test("a statement that is too long is refused, never forwarded unread, and the session goes on", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { client } = await clientOf(gateway);
    const long = `select ${"1 + ".repeat(600_000)}1; delete from t`;
    expect(long.length).toBeGreaterThan(1_048_576);
    for (const bytes of [
      say.query(long),
      say.extended(long),
      say.query(`/*${"x".repeat(9_437_184)}*/ delete from t`),
    ]) {
      const answers = await client.ask(bytes);
      expect([types(answers), errorOf(answers).get("C")]).toEqual(["EZ", "54000"]);
    }
    expect(gateway.records().map((r) => r.op.verdict)).toEqual(["deny", "deny", "deny"]);
    expect(rowsOf(await client.ask(say.query("select count(*) from t")))).toEqual(["2"]);
  });

  test("a statement that is only too long to be read is denied unless a policy allows just that", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(({ complete }) => (complete ? ALLOW : DENY));
    const { client } = await clientOf(gateway);
    const long = `/*${"x".repeat(300_000)}*/ select 1`;
    expect(errorOf(await client.ask(say.query(long))).get("C")).toBe("42501");
    gateway.policy = () => ALLOW;
    expect(rowsOf(await client.ask(say.query(long)))).toEqual(["1"]);
  });

  test("a Bind of any length goes by, judged by its statement", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(deniesKinds("delete"));
    const { client } = await clientOf(gateway);
    const value = "y".repeat(5_000_000);
    const answers = await client.ask(
      say.parse("i", "insert into log values ($1)") + say.bind("", "i", [value]) + say.execute() + say.sync,
    );
    expect(types(answers)).toBe("12CZ");
    expect(await server?.psql("select length(x) from log")).toBe("5000000");
    expect(
      types(
        await client.ask(
          say.parse("", "delete from log where x = $1") + say.bind("", "", [value]) + say.execute() + say.sync,
        ),
      ),
    ).toBe("EZ");
    expect(types(await client.ask(say.bind("", "none", [value]) + say.execute() + say.sync))).toBe("EZ");
    expect(types(await client.ask(say.bind("p", "i", ["short"]) + say.execute("p") + say.sync))).toBe("2CZ");
    expect(await count("log")).toBe("2");
  });

  test("FunctionCall is refused", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    const answers = await client.ask(message("F", "\0\0\x04\xc7\0\0\0\0\0\0"));
    expect([types(answers), errorOf(answers).get("C")]).toEqual(["EZ", "0A000"]);
    expect(rowsOf(await client.ask(say.query("select 1")))).toEqual(["1"]);
  });

  test("text that is no UTF-8 is refused", async (context) => {
    requirePostgres(context);
    const { client } = await clientOf(await gatewayOf(() => ALLOW));
    expect(types(await client.ask(message("Q", "select '\xff'\0")))).toBe("EZ");
    expect(types(await client.ask(message("P", "\0select '\xc0\x80'\0\0\0") + say.sync))).toBe("EZ");
  });
});

describe("a session", () => {
  test("tells what it does in the record, without passwords", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { client } = await clientOf(gateway);
    await client.ask(say.query("create role r1 password 'hunter2-planted'"));
    await client.ask(say.extended("select b from t where a = $1 and b = $2", ["1", "one"]));
    await client.ask(say.query("drop role r1"));
    expect(JSON.stringify(gateway.records())).not.toContain("hunter2");
    const [created, selected] = gateway.records();
    expect(created?.op.action).toBe("credential");
    expect(selected?.sql).toMatchObject({
      text: "select b from t where a = $1 and b = $2",
      parameters: ["1", "one"],
      user: "postgres",
      database: "postgres",
    });
    expect(selected?.end).toMatchObject({ status: "SELECT 1", bytesUp: expect.any(Number), masked: 0 });
    expect(selected?.end?.bytesDown).toBeGreaterThan(20);
  });

  test("cancels its own statement with a key of ours, and with no other", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    for (const minor of [0, 2]) {
      const { client, greeting } = await clientOf(gateway, [], minor);
      const key = readKeyData(greeting.find((a) => a.type === "K")?.body ?? "");
      expect(key?.key.length).toBe(minor === 0 ? 4 : 32);
      const running = client.ask(say.query("select pg_sleep(20)"));
      const sleeping = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(20)'";
      await eventually(async () => (await server?.psql(sleeping)) === "1");
      const cancel = async (pid: number, secret: string): Promise<void> => {
        const { client: other } = await connectRaw(gateway.port);
        other.write(cancelText(pid, secret));
        await closedOf(other);
      };
      await cancel(key?.pid ?? 0, "x".repeat(key?.key.length ?? 4));
      await cancel((key?.pid ?? 0) ^ 1, key?.key ?? "");
      await cancel(key?.pid ?? 0, key?.key ?? "");
      expect(errorOf(await running).get("C")).toBe("57014");
    }
    expect(gateway.records().filter((r) => r.op.decision.includes("cancel_unknown")).length).toBe(4);
  });

  test("hears notifications of others, and is not thrown out for its silence", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW, { limits: { idleMs: 300 } });
    const listening = await clientOf(gateway);
    const silent = await clientOf(gateway);
    await listening.client.ask(say.query("listen chan"));
    const gone = await silent.client.ask("", 1, "E");
    expect(errorOf(gone).get("C")).toBe("57P05");
    await new Promise((resolve) => setTimeout(resolve, 600));
    await server?.psql("notify chan, 'hello'");
    const heard = await listening.client.ask("", 1, "A");
    expect(heard[0]?.body).toContain("chan\0hello\0");
  });

  test("ends what a new policy refuses, and goes on with what it allows", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const running = await clientOf(gateway);
    const idle = await clientOf(gateway);
    const slow = running.client.ask(say.query("select pg_sleep(20)"));
    await eventually(() => gateway.records().length === 1);
    gateway.policy = ({ action }) => (action === "connect" ? ALLOW : DENY);
    gateway.revise();
    expect(errorOf(await slow).get("C")).toBe("57P01");
    expect(errorOf(await idle.client.ask(say.query("select 1"))).get("C")).toBe("42501");
    expect(gateway.records()[0]?.end?.status).toBe("revoked");
  });

  test("drains when its transaction has ended", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { client } = await clientOf(gateway);
    const other = await clientOf(gateway);
    await client.ask(say.query("begin"));
    const drained = gateway.drain();
    expect(errorOf(await other.client.ask("", 1, "E")).get("C")).toBe("57P01");
    expect(types(await client.ask(say.query("insert into t values (7, 'x')")))).toBe("CZ");
    const last = await client.ask(say.query("commit"), 2);
    expect([types(last), errorOf(last).get("C")]).toEqual(["CZE", "57P01"]);
    await drained;
    expect(await count("t")).toBe("3");
  });

  test("speaks 3.2, and tells a client that asks for more what it has", async (context) => {
    requirePostgres(context);
    const gateway = await gatewayOf(() => ALLOW);
    const { greeting } = await clientOf(gateway, [["_pq_.compression", "zstd"]], 9_999);
    expect(greeting[0]?.type).toBe("v");
    expect(greeting[0]?.body).toBe("\0\x03\0\x02\0\0\0\x01_pq_.compression\0");
    expect(statusOf(greeting)).toBe("I");
  });
});

async function connectRaw(port: number): Promise<{ client: WireClient }> {
  const { connect } = await import("node:net");
  const client = new WireClient(connect({ port, host: "127.0.0.1" }));
  clients.push(client);
  return { client };
}

function closedOf(client: WireClient): Promise<void> {
  return new Promise((resolve) => {
    if (client.closed) resolve();
    else client.socket.once("close", () => resolve());
  });
}

async function eventually(is: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await is())) {
    if (Date.now() > end) throw new Error("not seen in time");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
