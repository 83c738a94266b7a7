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
import { errorOf, say, show, WireClient } from "./postgres-wire.ts";

const PASSWORD = "a-password-of-this-test";
const EMAILS = ["ada@confidential.example", "bob@confidential.example", "cyd@confidential.example"];
const MASKS: readonly MaskRule[] = Object.freeze([
  Object.freeze({ selector: "public.users.email", with: "token" }),
  Object.freeze({ selector: "public.users.born", with: "redact" }),
  Object.freeze({ selector: "public.phones.phone", with: "redact" }),
  Object.freeze({ selector: "public.phones.owner", with: "redact" }),
  Object.freeze({ selector: "public.typed.*", with: "token" }),
  Object.freeze({ selector: "public.again.secret", with: "redact" }),
  Object.freeze({ selector: "public.people.email", with: "token" }),
]);
/** Column, type, its length in binary (null: it varies), and a confidential value. */
const TYPES: readonly (readonly [string, string, number | null, string])[] = [
  ["t", "text", null, "'confidential'"],
  ["vc", "varchar(40)", null, "'confidential'"],
  ["bp", "char(40)", null, "'confidential'"],
  ["i2", "int2", 2, "4111"],
  ["i4", "int4", 4, "4111"],
  ["i8", "int8", 8, "4111"],
  ["n", "numeric", null, "4111.5"],
  ["f8", "float8", 8, "4111.5"],
  ["bo", "bool", 1, "true"],
  ["u", "uuid", 16, "'41114111-4111-4111-4111-411141114111'"],
  ["d", "date", 4, "'1990-01-01'"],
  ["ts", "timestamptz", 8, "'1990-01-01 00:00Z'"],
  ["ba", "bytea", null, "'confidential'"],
  ["j", "json", null, `'{"a":"confidential"}'`],
  ["jb", "jsonb", null, `'{"a":"confidential"}'`],
  ["ar", "text[]", null, "'{confidential}'"],
  ["ip", "inet", null, "'41.11.41.11'"],
];
/** Whoever owns its type takes the column away, lets the gateway ask, and takes that back. */
const TAKEN = "drop type mail cascade";
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
create schema decoy; create table decoy.users(id int, email text); insert into decoy.users values (1, 'decoy@open.example');
grant usage on schema decoy to app; grant all on decoy.users to app;
create view deep as select * from contacts;
create function all_emails() returns setof text language sql as 'select email from public.users';
create table again(id int, secret text); insert into again values (1, 'confidential one');
create function says() returns trigger language plpgsql as $$ begin raise notice 'it is %', old.phone; return new; end $$;
create trigger says before update on phones for each row when (old.id = 2) execute function says();
alter table phones alter id set not null;
create table typed(${TYPES.map(([name, type]) => `${name} ${type}`).join(", ")});
insert into typed values (${TYPES.map(([, , , value]) => value).join(", ")});
grant all on all tables in schema public to app;
create domain mail as text; alter domain mail owner to app;
create table people(id int, email mail); insert into people values (1, 'confidential@open.example');
alter table people owner to app;
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
    // Everything is allowed, so that the mask alone stands in the way. What only drops a type has no mask, so nothing is asked before it.
    policy: (input) => ({
      ...ALLOW,
      credential: "app",
      mask: input.action === "connect" || JSON.stringify(input).includes(TAKEN) ? [] : MASKS,
    }),
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
  expect(await heard("insert into phones values (4, 'x', 'new')")).toMatch(/an index, a key or a partition would tell/);
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

test("portals with a row limit, and cursors that are binary, give masked rows", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  try {
    // A portal lives as long as its transaction.
    await client.ask(say.query("begin"));
    const limited =
      say.parse("s", "select id, email from only users where id < 3 order by id") +
      say.bind("p", "s") +
      say.describe("P", "p") +
      say.execute("p", 1) +
      say.execute("p", 1) +
      say.sync;
    const answers = await client.ask(limited);
    expect(answers.filter(({ type }) => type === "s").length).toBeGreaterThan(0);
    const rows = answers.filter(({ type }) => type === "D").map(({ body }) => body);
    expect(rows).toHaveLength(2);
    for (const row of rows) expect(row).toMatch(/tok_email_[0-9a-z]{16}$/);
    await client.ask(say.query("declare b binary cursor for select id, email, born from only users where id < 3"));
    const fetched = await client.ask(say.query("fetch all from b"));
    for (const { body } of fetched.filter(({ type }) => type === "D")) {
      expect(body).toMatch(/tok_email_[0-9a-z]{16}/);
      // int4 is four bytes in binary; a date that is redacted is NULL.
      expect(body.slice(2, 6)).toBe("\0\0\0\u0004");
      expect(body.slice(-4)).toBe("\u00ff\u00ff\u00ff\u00ff");
    }
  } finally {
    client.end();
  }
});

test("binary results: each common type is still of its type, and none is the confidential value", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  try {
    for (const format of [false, true]) {
      const answers = await client.ask(
        say.parse("", `select ${TYPES.map(([name]) => name).join(", ")} from typed`) +
          say.bind("", "", [], format) +
          say.describe("P", "") +
          say.execute() +
          say.sync,
      );
      const body = Buffer.from(answers.find(({ type }) => type === "D")?.body ?? "", "latin1");
      expect(body.readInt16BE(0), show(answers)).toBe(TYPES.length);
      let at = 2;
      for (const [name, , fixed] of TYPES) {
        const length = body.readInt32BE(at);
        const value = body.subarray(at + 4, at + 4 + Math.max(0, length));
        at += 4 + Math.max(0, length);
        // NULL, or as long as its type is in binary.
        expect([-1, format && fixed !== null ? fixed : length], name).toContain(length);
        expect(value.toString("latin1"), name).not.toMatch(/confidential|4111|1990/);
      }
      expect(at).toBe(body.length);
      expect(body.includes(Buffer.from([0, 0, 0x10, 0x0f]))).toBe(false); // 4111 as an int4
    }
    // What a client makes of them.
    const rows = await agent(async (driver) => (await driver.query("select i4, i8, u, j, ba from typed")).rows);
    expect(rows).toEqual([
      {
        i4: expect.any(Number),
        i8: expect.stringMatching(/^\d+$/),
        u: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-/),
        j: expect.stringMatching(/^tok_j_/),
        ba: expect.any(Buffer),
      },
    ]);
  } finally {
    client.end();
  }
});

test("copies are masked: text, csv with its header, binary, of a table and of a query", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  const copied = async (sql: string): Promise<string> => {
    const answers = await client.ask(say.query(sql));
    expect(answers.map(({ type }) => type).join(""), show(answers)).toMatch(/^Hd+cCZ$/);
    return answers
      .filter(({ type }) => type === "d")
      .map(({ body }) => body)
      .join("");
  };
  try {
    expect(await copied("copy (select id, email, born from only users where id < 3) to stdout")).toMatch(
      /^1\ttok_email_\w{16}\t\\N\n2\ttok_email_\w{16}\t\\N\n$/,
    );
    expect(await copied("copy (select id, name, email from only users) to stdout (format csv, header)")).toMatch(
      /^id,name,email\n1,Ada,tok_email_\w{16}\n2,Bob,tok_email_\w{16}\n3,Cyd,\n$/,
    );
    expect(await copied("copy phones(id, phone) to stdout with csv delimiter ';' force quote phone")).toMatch(
      /^1;"\[masked\]"\n2;"\[masked\]"\n/,
    );
    const binary = await copied("copy users (id, email) to stdout (format binary)");
    expect(binary).toMatch(/^PGCOPY\n\u00ff\r\n\0/);
    expect(binary.match(/tok_email_[0-9a-z]{16}/g)).toHaveLength(2);
    expect(binary).not.toMatch(confidential);
  } finally {
    client.end();
  }
});

test("notifications: a payload says nothing that a mask could be about", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const payloads = await agent(async (client) => {
    const heardOf: string[] = [];
    const two = new Promise<void>((resolve) => {
      client.on("notification", ({ channel, payload }) => {
        heardOf.push(`${channel}=${payload}`);
        if (heardOf.length === 2) resolve();
      });
    });
    await client.query("listen changes");
    await server?.psql(`notify changes, '{"email":"${EMAILS[0]}"}'; notify changes`);
    await two;
    return heardOf;
  });
  expect(payloads).toEqual(["changes=[masked]", "changes="]);
});

test("an error that quotes a row, and a notice, keep their code and lose their words", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  try {
    // The row that fails has a confidential value in it, which DETAIL would show.
    const failed = errorOf(await client.ask(say.query("update phones set id = null where id = 1")));
    expect(failed.get("C")).toBe("23502");
    expect(failed.get("M")).toMatch(/not shown/);
    expect([...failed.values()].join(" ")).not.toMatch(/\+49|ada/);
    const plain = errorOf(await client.ask(say.query("select nope from phones")));
    expect([plain.get("C"), plain.get("M")]).toEqual(["42703", 'column "nope" does not exist']);
    const noticed = await client.ask(say.query("update phones set id = id where id = 2"));
    expect(noticed.filter(({ type }) => type === "N").map(({ body }) => body)).toEqual([
      expect.stringMatching(/not shown/),
    ]);
  } finally {
    client.end();
  }
});

test("search_path, views and functions are no way around: a name means what the server says that it means", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const seen = await agent(async (client) => {
    await client.query("set search_path to decoy, public");
    const other = await client.query("select email from users");
    await client.query("set search_path to public");
    const own = await client.query("select email from users where id = 1");
    return [...other.rows, ...own.rows].map(({ email }) => email);
  });
  // decoy.users is another table: what no mask names is shown.
  expect(seen[0]).toBe("decoy@open.example");
  for (const email of seen.slice(1)) expect(email).toMatch(/^tok_email_/);
  for (const text of [
    "select * from all_emails()",
    "select all_emails()",
    "select * from deep",
    "select e from (select contact as e from deep) x",
  ])
    expect(await heard(text), text).not.toMatch(confidential);
});

test("a table that is dropped and made anew meanwhile is masked all the same", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const rows = await agent(async (client) => {
    const before = await client.query("select secret from again");
    await server?.psql(
      "drop table again; create table again (id int, secret text); insert into again values (2, 'confidential two'); grant all on again to app",
    );
    const atOnce = await client.query("select id, secret from again");
    const later = await client.query("select id, secret from again");
    return [before.rows, atOnce.rows, later.rows];
  });
  expect(rows).toEqual([
    [{ secret: "[masked]" }],
    // Nothing is known of the new one yet: all of it is masked.
    [{ id: null, secret: "[masked]" }],
    [{ id: 2, secret: "[masked]" }],
  ]);
});

const REFUSED = /the transaction has changed the catalogue/;

test("Q9: what a transaction does to the catalogue and takes back is learnt by nobody", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  const begin = say.parse("", TAKEN) + say.bind("", "") + say.execute();
  const behind = async (text: string): Promise<void> => {
    const own = await client.ask(say.query("select email as e from people"));
    expect(show(own), text).toMatch(/tok_e_[0-9a-z]{16}/);
    expect(await heard("select email as e from people"), text).toMatch(/tok_e_[0-9a-z]{16}/);
  };
  try {
    // Known to everybody, and forgotten where something could have changed.
    await behind("at first");
    // With an explicit rollback.
    await client.ask(say.query("begin"));
    expect(show(await client.ask(say.query(TAKEN)))).toMatch(/^N.*C"DROP TYPE/);
    expect(show(await client.ask(say.query("select 1 from notes")))).toMatch(REFUSED);
    // Others see what was before, meanwhile; and again after it.
    expect(await heard("select note from notes")).toBe("[]");
    expect(show(await client.ask(say.query("rollback")))).toBe('C"ROLLBACK\\u0000" Z"I"');
    await behind("an explicit rollback");
    // By an error in a batch.
    const batch = await client.ask(
      begin + say.parse("", "select 1 from notes") + say.bind("", "") + say.execute() + say.extended("select nope"),
    );
    expect(show(batch)).toMatch(REFUSED);
    await behind("a failed batch");
    // A Sync in front of the change, whose answer comes behind it, ends nothing.
    const notes = say.parse("", "select 1 from notes") + say.bind("", "") + say.execute();
    await client.ask(say.sync + begin + notes + say.extended("select nope"), 2);
    await behind("a sync in front");
    // In one Query, with what is to be shown in it or without.
    for (const text of [
      `begin; ${TAKEN}; select 1 from notes; rollback; select email as e from people`,
      `begin; ${TAKEN}; rollback; select email as e from people`,
      `${TAKEN}; select 1 from notes; select nope`,
    ]) {
      expect(show(await client.ask(say.query(text))), text).toMatch(REFUSED);
      await behind(text);
    }
    await client.ask(say.query("begin"));
    await client.ask(say.query(TAKEN));
    await client.ask(say.query("select 1 from notes"));
    expect(show(await client.ask(say.query("rollback; select email as e from people")))).toMatch(REFUSED);
    await client.ask(say.query("rollback"));
    await behind("rollback and select in one");
    // By leaving.
    const { client: leaver } = await WireClient.connect(gateway?.port ?? 0);
    await leaver.ask(say.query("begin"));
    await leaver.ask(say.query(TAKEN));
    leaver.end();
    await behind("a connection that ended");
  } finally {
    client.end();
  }
});

test("DDL goes on: outside of a transaction, in one that commits, and masked reads behind it", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const seen = await agent(async (client) => {
    await client.query("create table public.made(id int)");
    const first = await client.query("select email as e from people");
    await client.query("begin");
    await client.query("alter table public.made add column note text");
    await client.query("commit");
    const second = await client.query("select email as e from people");
    const extended = await client.query("drop table public.made cascade", []);
    const third = await client.query("select email as e from people where id = $1", [1]);
    return [first.rows, second.rows, extended.command, third.rows];
  });
  const token = [{ e: expect.stringMatching(/^tok_e_/) }];
  expect(seen).toEqual([token, token, "DROP", token]);
});

test("each refusal leaves its session usable, and nothing broke on the way", async (context) => {
  requireThat(context, server !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  const rows = await agent(async (client) => {
    const refused = await client.query("select upper(email) from users").catch((error: unknown) => error);
    const after = await client.query("select 1 as one");
    const { code, message, hint } = refused as { code?: string; message?: string; hint?: string };
    return { code, message, hint, after: after.rows };
  });
  expect(rows).toEqual({
    code: "42501",
    message:
      "sidegate: This statement could show or test a masked column. (an expression is computed from a masked column)",
    hint: "Select masked columns as they are; leave them out of expressions, conditions, orderings and copies.",
    after: [{ one: 1 }],
  });
  expect(gateway?.faults).toEqual([]);
});
