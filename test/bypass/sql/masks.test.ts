/**
 * Row Q9 of the threat model as an attacker plays it: whatever is asked about a masked column, no answer holds its value, and a guess
 * that is right is answered like one that is wrong. A real client, the real lane, a real server; everything but the mask is allowed.
 */
import { Client, type QueryArrayConfig } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { MaskRule } from "#contract/decision.ts";
import { systemClock } from "#core/clock.ts";
import { createTokens } from "#mask/tokens.ts";
import { createRowMasker } from "#sidecar/lanes/postgres/mask/masker.ts";
import { type PostgresServer, postgresBinaries, startPostgres } from "../../../tools/postgres/server.ts";
import { ALLOW, type PostgresGateway, startPostgresGateway } from "../../integration/postgres-gateway.ts";
import { say, WireClient } from "../../integration/postgres-wire.ts";
import { requireThat } from "../../support/require.ts";
import { corpus } from "./corpus.ts";
import { connect } from "./support/session.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

const APP = { user: "app", password: "as-the-secret-of-masks-says" };
const RIGHT = "ada@confidential.example";
const OTHER = "bob@confidential.example";
const WRONG = "eve@confidential.invalid";
/** In plain, in hexadecimal (bytea), backwards, in parts; years of birth that nothing else here says. */
const CONFIDENTIAL = /confidential|6164614063|laitnedifnoc|\bada@|\bbob@|1917|1923/i;
const MASKS: readonly MaskRule[] = Object.freeze([
  Object.freeze({ selector: "public.users.email", with: "token" }),
  Object.freeze({ selector: "public.users.born", with: "redact" }),
  ...[
    "people.email",
    "older.email",
    "typed.email",
    "typed.bits",
    "typed.tags",
    "told.email",
    "living.email",
    "ordered.email",
    "told_at_once.email",
  ].map((column) => Object.freeze({ selector: `public.${column}`, with: "redact" })),
]);
const SHOP = `
CREATE ROLE ${APP.user} LOGIN PASSWORD '${APP.password}';
CREATE TABLE users (id int PRIMARY KEY, name text, email text UNIQUE, born date, lowered text GENERATED ALWAYS AS (lower(email)) STORED);
CREATE VIEW contacts AS SELECT id, email AS contact FROM users;
CREATE VIEW rows_of AS SELECT to_json(u) AS j FROM users u;
CREATE TABLE notes (id int, note text);
CREATE TABLE guesses (email text);
CREATE TABLE referring (email text REFERENCES users (email));
CREATE TABLE people (id int, email text) PARTITION BY LIST (id);
CREATE TABLE people_1 PARTITION OF people FOR VALUES IN (1);
CREATE TABLE older (id int, email text);
CREATE TABLE younger (age int) INHERITS (older);
CREATE DOMAIN mail AS text CHECK (value <> 'nobody');
CREATE TABLE typed (id int, email mail, bits bytea, tags text[]);
CREATE VIEW outer_contacts AS SELECT id, contact AS c FROM contacts;
CREATE MATERIALIZED VIEW kept AS SELECT id, email AS e FROM users;
CREATE FUNCTION reads_users() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT email FROM public.users';
CREATE VIEW by_function AS SELECT r AS said FROM reads_users() r;
CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE NOTICE 'seen %', NEW.email; RAISE EXCEPTION 'refused %', NEW.email USING ERRCODE = coalesce(NEW.name, '23000'); END $f$;
CREATE TABLE told (id int PRIMARY KEY, name text, email text);
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON told DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tells();
CREATE TABLE lands (id int PRIMARY KEY);
CREATE TABLE living (land int NOT NULL REFERENCES lands ON DELETE SET NULL, email text);
INSERT INTO lands VALUES (1); INSERT INTO living VALUES (1, '${OTHER}');
CREATE TABLE ordered (id int, email text); CREATE INDEX ON ordered (email, id); INSERT INTO ordered VALUES (1, '${OTHER}'), (2, '${RIGHT}');
CREATE TABLE told_at_once (id int PRIMARY KEY, name text, email text);
CREATE TRIGGER at_once BEFORE UPDATE ON told_at_once FOR EACH ROW EXECUTE FUNCTION tells();
INSERT INTO told VALUES (1, '23000', '${OTHER}'), (2, '42501', '${OTHER}'); INSERT INTO told_at_once SELECT * FROM told;
INSERT INTO people VALUES (1, '${OTHER}'), (1, '${RIGHT}'); INSERT INTO younger VALUES (1, '${OTHER}', 5);
INSERT INTO typed VALUES (1, '${RIGHT}', 'bob@confidential', '{bob@confidential}');
GRANT ALL ON SCHEMA public TO ${APP.user}; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${APP.user};
INSERT INTO users VALUES (1, 'Ada', '${RIGHT}', '1917-01-01'), (2, 'Bob', '${OTHER}', '1923-01-01'), (3, 'Cyd', NULL, NULL);
INSERT INTO notes VALUES (1, 'a note');
INSERT INTO referring VALUES ('${RIGHT}'); REFRESH MATERIALIZED VIEW kept;
ALTER TABLE users OWNER TO ${APP.user}; ALTER TABLE notes OWNER TO ${APP.user}; ALTER TABLE guesses OWNER TO ${APP.user};
ALTER VIEW contacts OWNER TO ${APP.user}; ALTER VIEW rows_of OWNER TO ${APP.user}; ALTER TABLE referring OWNER TO ${APP.user};
ANALYZE`;
let server: PostgresServer | undefined;
let owner: Client | undefined;
let gateway: PostgresGateway | undefined;

beforeAll(async () => {
  if (postgresBinaries() === null) return;
  server = await startPostgres(["autovacuum = off"]);
  owner = await connect(server, "owner");
  await renew();
  gateway = await startPostgresGateway({
    upstream: server.port,
    target: { protocol: "postgres", credential: "app", insecureCredential: true, private: true },
    credential: { name: "app", ...APP },
    lane: { masker: createRowMasker({ tokens: createTokens(Buffer.alloc(32, 3)), clock: systemClock }) },
    policy: (input) => ({ ...ALLOW, credential: "app", mask: input.action === "connect" ? [] : MASKS }),
  });
});
afterAll(async () => {
  await gateway?.close();
  await owner?.end();
  await server?.stop();
});
beforeEach((context) => requireThat(context, server !== undefined, "no PostgreSQL server: apt-get install postgresql"));

/** A new world, so that no attempt is seen in another's answer. */
async function renew(): Promise<void> {
  await owner!.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  if ((await owner!.query("SELECT FROM pg_roles WHERE rolname = $1", [APP.user])).rows.length > 0)
    await owner!.query(`DROP OWNED BY ${APP.user}; DROP ROLE ${APP.user}`);
  await owner!.query(SHOP);
}

/** All that an agent hears: rows, row counts, each field of an error or a notice. Ids of records and tokens are left out. */
async function heard(sql: string, extended: boolean): Promise<string> {
  const client = new Client({
    host: "127.0.0.1",
    port: gateway!.port,
    user: "whoever",
    database: "postgres",
    statement_timeout: 20_000,
  });
  const said: unknown[] = [];
  client.on("error", () => undefined);
  client.on("notice", (notice) => said.push([notice.severity, notice.message, notice.detail, notice.hint]));
  await client.connect();
  // The extended protocol takes one statement at a time.
  for (const text of extended ? sql.split("; ") : [sql]) {
    try {
      const query = { text, rowMode: "array", ...(extended ? { values: [], queryMode: "extended" } : {}) };
      const result = await client.query(query as QueryArrayConfig);
      for (const each of Array.isArray(result) ? result : [result]) said.push([each.command, each.rowCount, each.rows]);
    } catch (fault) {
      said.push({ ...(fault as object), message: (fault as Error).message });
    }
  }
  await client.end().catch(() => undefined);
  return JSON.stringify(said)
    .replaceAll(/event test-\d+/g, "event")
    .replaceAll(/"length":\d+/g, '"length":0');
}

/** node-pg has no COPY. */
async function copied(sql: string, rows: string): Promise<string> {
  const { client } = await WireClient.connect(gateway!.port, [["user", "whoever"]]);
  let answers = await client.ask(say.query(sql), 1, "GZ");
  if (answers.at(-1)?.type === "G") answers = [...answers, ...(await client.ask(say.copyData(rows) + say.copyDone))];
  client.end();
  return answers
    .map(({ type, body }) => type + body)
    .join("\n")
    .replaceAll(/event test-\d+/g, "event");
}

const told = async (sql: string, guess: string, extended: boolean): Promise<string> => {
  const text = sql.replaceAll("GUESS", guess);
  return text.startsWith("COPY") ? copied(text, `99\t${guess}\n`) : heard(text, extended);
};

describe.each(["plain", "oracle"] as const)("Q9: %s", (kind) => {
  test("no answer holds a confidential value, and no guess is told to be right", async () => {
    const rows = corpus("mask-ways.md").filter((row) => row.expected === kind);
    expect(rows.length).toBeGreaterThan(40);
    const leaked: string[] = [];
    for (const { sql } of rows)
      for (const extended of [false, true]) {
        const answers: string[] = [];
        for (const guess of kind === "oracle" ? [RIGHT, WRONG] : [RIGHT]) {
          const before = await changes();
          // What the agent itself said is no secret of somebody's.
          answers.push((await told(sql, guess, extended)).replaceAll(guess, "GUESS"));
          if ((await changes()) === before) continue;
          await renew();
          // Whoever sees a table first that is newer than what was learnt sees it masked whole.
          await heard("SELECT id FROM users", false);
        }
        if (answers.some((answer) => CONFIDENTIAL.test(answer))) leaked.push(`shown: ${sql}: ${answers[0]}`);
        if (new Set(answers).size > 1) leaked.push(`told: ${sql}: ${answers.join(" / ")}`);
      }
    expect(leaked).toEqual([]);
    expect(gateway?.faults).toEqual([]);
  });
});

test("Q9: without the mask the same ways show it, and tell a right guess from a wrong one", async () => {
  await renew();
  const client = new Client({ host: "127.0.0.1", port: server!.port, ...APP, database: "postgres" });
  client.on("error", () => undefined);
  await client.connect();
  const rows = corpus("mask-ways.md").filter(
    (row) => !row.sql.startsWith("COPY") && !/CREATE|ALTER|DELETE|INSERT|UPDATE|MERGE/.test(row.sql),
  );
  let shown = 0;
  for (const { sql } of rows) {
    const answers = await Promise.all(
      [RIGHT, WRONG].map(async (guess) =>
        JSON.stringify(
          await client.query(sql.replaceAll("GUESS", guess)).catch((fault: unknown) => String(fault)),
        ).replaceAll(guess, "GUESS"),
      ),
    );
    if (CONFIDENTIAL.test(answers[0] ?? "") || answers[0] !== answers[1]) shown++;
    await client.query("ROLLBACK").catch(() => undefined);
  }
  await client.end();
  expect(shown).toBeGreaterThan(rows.length / 2);
});

/** Whether anything was made or written since. */
async function changes(): Promise<string> {
  const { rows } = await owner!.query<{ at: string }>("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS at");
  return rows[0]!.at;
}
