/**
 * Row Q9 of the threat model on a real server: an agent with a driver reads masked rows, and none of the ways around a mask gives it a
 * confidential value, in a result, in a copy, in a message or by what fails.
 */
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MaskRule } from "#contract/decision.ts";
import { systemClock } from "#core/clock.ts";
import { createTokens } from "#mask/tokens.ts";
import { createRowMasker } from "#sidecar/lanes/postgres/mask/masker.ts";
import { requireThat } from "../support/require.ts";
import { ALLOW, type PostgresGateway, startPostgresGateway } from "./postgres-gateway.ts";
import { type PostgresServer, postgresBin, startPostgres } from "./postgres-server.ts";

const PASSWORD = "a-password-of-this-test";
const EMAILS = ["ada@confidential.example", "bob@confidential.example", "cyd@confidential.example"];
const MASKS: readonly MaskRule[] = Object.freeze([
  Object.freeze({ selector: "public.users.email", with: "token" }),
  Object.freeze({ selector: "public.users.born", with: "redact" }),
  Object.freeze({ selector: "public.phones.phone", with: "redact" }),
  Object.freeze({ selector: "public.phones.owner", with: "redact" }),
]);
const SETUP = `
create role app login password '${PASSWORD}';
create table users(id int primary key, name text, email text unique, born date, lowered text generated always as (lower(email)) stored);
create table users_old() inherits (users);
create view contacts as select id, email as contact from users;
create view names as select id, name from users;
create view rows_of as select to_json(u) as j from users u;
create table notes(id int, note text);
create table phones(id int, phone text, owner text unique);
insert into phones values (1,'+49 30 555 0100','ada'), (2,'+49 30 555 0200','bob');
create table guesses(email text);
insert into users values (1,'Ada','${EMAILS[0]}','1990-01-01'), (2,'Bob','${EMAILS[1]}','1991-01-01'), (3,'Cyd',null,null);
insert into users_old values (4,'Old','${EMAILS[2]}','1960-01-01');
insert into guesses values ('${EMAILS[0]}');
grant all on all tables in schema public to app; grant create on schema public to app;
analyze users;
`;

let server: PostgresServer | null = null;
let gateway: PostgresGateway | null = null;

beforeAll(async () => {
  const bin = postgresBin();
  if (bin === null) return;
  server = await startPostgres(bin, { sql: SETUP });
  const clock = systemClock;
  gateway = await startPostgresGateway({
    upstream: server.port,
    target: { upstream: { ca: server.caPem }, credential: "app" },
    credential: { name: "app", user: "app", password: PASSWORD },
    lane: { masker: createRowMasker({ tokens: createTokens(Buffer.alloc(32, 3)), clock }) },
    // Everything is allowed, so that the mask alone stands in the way.
    policy: (input) => ({ ...ALLOW, credential: "app", mask: input.action === "connect" ? [] : MASKS }),
  });
}, 120_000);

afterAll(async () => {
  await gateway?.close();
  await server?.close();
});

async function agent<T>(act: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    host: "127.0.0.1",
    port: gateway?.port ?? 0,
    user: "agent",
    password: "placeholder",
    database: "postgres",
  });
  client.on("error", () => {});
  await client.connect();
  try {
    return await act(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** Everything that came of a statement, as one text: rows, or each field of the error. */
async function heard(text: string, values?: unknown[]): Promise<string> {
  return agent(async (client) => {
    try {
      const result = await client.query({ text, rowMode: "array", ...(values === undefined ? {} : { values }) });
      return JSON.stringify(Array.isArray(result) ? result.map((each) => each.rows) : result.rows);
    } catch (error) {
      return `${JSON.stringify(error)} ${String(error)}`;
    }
  });
}

const confidential = /confidential|1990-01-01|1991-01-01|1960-01-01|\bada@|\bbob@/i;

test("rows come back masked, stable, under any alias; what is not confidential is untouched", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const rows = await agent(async (client) => {
    const simple = await client.query("select id, name, email as e, born from only users order by id");
    const extended = await client.query("select email from only users where id = $1", [1]);
    return { simple: simple.rows, extended: extended.rows };
  });
  expect(rows.simple.map(({ id, name, born }) => [id, name, born])).toEqual([
    [1, "Ada", null],
    [2, "Bob", null],
    [3, "Cyd", null],
  ]);
  expect(rows.simple[0].e).toMatch(/^tok_e_[0-9a-z]{16}$/);
  expect(rows.simple[2].e).toBeNull();
  expect(rows.simple[0].e.slice(-16)).toBe(rows.extended[0].email.slice(-16));
  expect(rows.simple[0].e).not.toBe(rows.simple[1].e);
  for (const text of [
    "table users",
    "select * from users_old",
    "select * from contacts",
    "select * from rows_of",
    "select lowered from users",
  ]) {
    const said = await heard(text);
    expect(said, text).not.toMatch(confidential);
    expect(said, text).toMatch(/^\[\[/);
  }
  expect(await heard("select name from names order by id limit 1")).toBe('[["Ada"]]');
});

test("Q9: no way around gives a confidential value", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  for (const text of [
    "select email::bytea from users",
    "select email || '' from users",
    "select replace(email, '@', '#') from users",
    "select json_agg(u) from users u",
    "select u from users u",
    "select u::text from users u",
    "select array_agg(email) from users",
    "select string_agg(email, ',') from users",
    "select email::int from users",
    "select * from (select email::int as x from users) y",
    "select 1/(case when email like 'ada%' then 0 else 1 end) from users",
    "select * from (select 1/(case when email like 'ada%' then 0 else 1 end) from users) y",
    "select id from users where email like 'ada%'",
    "select id from users order by email",
    "select email from users order by 1",
    "select u.id from users u join guesses g using (email)",
    "select id from users natural join guesses",
    "select email from users union select note from notes",
    "select email from users union all select 'x'",
    "select id from (select id, email as e from users) x where e > 'a'",
    "create table stolen as select email from users",
    "create temp table stolen as select * from users",
    "create view stolen as select email from users",
    "select email into stolen from users",
    "insert into notes select id, email from users",
    "with x as (insert into notes select id, email from users returning 1) select * from x",
    "with x as (update users set name = name returning email as e) insert into notes select 1, e from x",
    `insert into users values (9, 'x', '${EMAILS[0]}')`,
    `insert into users(id, email) values (9, '${EMAILS[0]}')`,
    `update users set email = '${EMAILS[0]}' where id = 2`,
    "insert into phones(id, owner) values (9, 'ada')",
    "copy users to stdout (null 'ada@confidential.example')",
    "update users set name = email",
    "update users set name = name where id = 1 returning email || ''",
    "insert into users(id, name) values (1, 'x')",
    "insert into users(id) values (null)",
    "select most_common_vals from pg_stats where tablename = 'users'",
    "select contact || '' from contacts",
    "explain analyze select id from users where email = 'x'",
    "do $$ begin raise notice '%', (select email from users limit 1); end $$",
    "begin; declare c cursor for select email || '' from users; fetch all from c",
    "prepare p as select upper(email) from users; execute p",
    "select query_to_xml('select email from users', true, true, '')",
    "alter table users rename to u2",
    "alter table users rename column email to e2",
  ]) {
    const said = await heard(text);
    expect(said, text).not.toMatch(confidential);
    // Not one of them was an oracle: each is refused by us, or fails in a way that tells no value.
    expect(said, text).not.toMatch(/division by zero/);
  }
  const left = await server?.psql("select count(*) from pg_class where relname = 'stolen'");
  expect(left).toBe("0");
  expect(await server?.psql("select count(*) from notes")).toBe("0");
});

test("a column that is redacted can be written, but not where other rows decide whether it may", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  expect(await heard("insert into phones(id, phone) values (3, '+49 30 555 0300') returning id, phone")).toBe(
    '[[3,"[masked]"]]',
  );
  expect(await heard("update phones set phone = $1 where id = 3 returning *", ["+49 30 555 0400"])).toBe(
    '[[3,"[masked]",null]]',
  );
  expect(await server?.psql("select phone from phones where id = 3")).toBe("+49 30 555 0400");
  expect(await heard("insert into phones values (4, 'x', 'new')")).toMatch(/whether it is accepted would tell/);
  expect(await heard("update users set email = 'x' where id = 1")).toMatch(/its token would tell/);
});

test("cursors, prepared statements and parameters give masked rows", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const said = await agent(async (client) => {
    await client.query("begin");
    await client.query("declare c cursor for select id, email from only users where id < 3 order by id");
    const fetched = await client.query("fetch all from c");
    await client.query("commit");
    await client.query("prepare p as select email from only users where id = 1");
    const executed = await client.query("execute p");
    return [...fetched.rows, ...executed.rows];
  });
  expect(JSON.stringify(said)).not.toMatch(confidential);
  expect(said.map((row: { email: string }) => row.email)).toEqual([
    expect.stringMatching(/^tok_email_/),
    expect.stringMatching(/^tok_email_/),
    expect.stringMatching(/^tok_email_/),
  ]);
});

test("each refusal leaves its session usable, and nothing broke on the way", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const rows = await agent(async (client) => {
    const refused = await client.query("select upper(email) from users").catch((error: unknown) => error);
    const after = await client.query("select 1 as one");
    return { refused: (refused as { code?: string }).code, after: after.rows };
  });
  expect(rows).toEqual({ refused: expect.stringMatching(/^[0-9A-Z]{5}$/), after: [{ one: 1 }] });
  expect(gateway?.faults).toEqual([]);
});
