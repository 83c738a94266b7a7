/** Attacks on the protocol itself against a real PostgreSQL: what is judged is what runs, nothing grows without a bound, and the next session works. */
import net from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { int16, int32, message } from "#sidecar/lanes/postgres/codec/text.ts";
import { type PostgresGateway, readsOnly, startPostgresGateway } from "./postgres-gateway.ts";
import { type PostgresServer, postgresBin, requirePostgres, startPostgres } from "./postgres-server.ts";
import { type Answer, errorOf, say, WireClient } from "./postgres-wire.ts";

let server: PostgresServer | null = null;
let gateway: PostgresGateway | null = null;
const clients: WireClient[] = [];

beforeAll(async () => {
  const bin = postgresBin();
  if (bin === null) return;
  server = await startPostgres(bin, {
    hba: ["host all all 127.0.0.1/32 trust"],
    sql: `
      create table t (a int, b text); insert into t values (1, 'one'); create table log (x text);
      create function writes(text) returns boolean language plpgsql as $$ begin insert into log values ($1); return true; end $$;
      create domain writing as text check (writes(value));
      create type mood as enum ('well');
    `,
  });
  gateway = await startPostgresGateway({ upstream: server.port, policy: readsOnly });
});
/** Whatever was tried, others are served, and nothing was written. */
afterEach(async () => {
  for (const client of clients.splice(0)) client.end();
  if (gateway === null) return;
  if (gateway.faults.length > 0) throw gateway.faults[0];
  const { client } = await WireClient.connect(gateway.port);
  const served = types(await client.ask(say.query("select 1")));
  client.end();
  const written = await server?.psql("select (select count(*) from t) || '/' || (select count(*) from log)");
  if (served !== "TDCZ" || written !== "1/0") throw new Error(`afterwards: ${served}, ${written}`);
});
afterAll(async () => {
  await gateway?.close();
  await server?.close();
});

async function session(): Promise<WireClient> {
  const { client } = await WireClient.connect(gateway?.port ?? 0);
  clients.push(client);
  return client;
}

const types = (answers: readonly Answer[]): string => answers.map((a) => a.type).join("");
const rows = (answers: readonly Answer[]): string[] =>
  answers.filter((a) => a.type === "D").map((a) => a.body.slice(6));
const oid = async (type: string): Promise<number> => Number(await server?.psql(`select '${type}'::regtype::oid`));

describe("a parameter", () => {
  test("whose type is somebody's own runs that type's code: it is no read, whatever the text says", async (context) => {
    requirePostgres(context);
    for (const type of ["writing", "writing[]", "mood", "t"]) {
      const client = await session();
      const value = type === "writing[]" ? "{x}" : type === "t" ? "(1,x)" : "well";
      const batch =
        say.parse("", "select $1", [await oid(type)]) + say.bind("", "", [value]) + say.execute() + say.sync;
      expect(errorOf(await client.ask(batch)).get("C")).toBe("42501");
      const named =
        say.parse("n", "select $1", [await oid(type)]) +
        say.bind("p", "n", [value]) +
        say.describe("P", "p") +
        say.sync;
      expect(errorOf(await client.ask(named)).get("C")).toBe("42501");
    }
  });

  test("of one of the server's own types is a read's", async (context) => {
    requirePostgres(context);
    const client = await session();
    const batch =
      say.parse("", "select $1, $2", [23, 3802]) + say.bind("", "", ["7", "[1]"]) + say.execute() + say.sync;
    expect(types(await client.ask(batch))).toBe("12DCZ");
  });

  test("with a length that lies, or that is not there, reaches no statement", async (context) => {
    requirePostgres(context);
    const bodies = [
      int16(0) + int16(1) + int32(1000) + "x" + int16(0),
      int16(0) + int16(1) + int32(-2) + int16(0),
      int16(0) + int16(65_535) + int16(0),
      int16(2) + int16(0) + int16(0) + int16(1) + int32(1) + "x" + int16(0),
      int16(0) + int16(1) + int32(1) + "x" + int16(9),
      `${int16(0)}${int16(1)}${int32(1)}x${int16(0)}Q${int32(17)}delete from t\0`,
      "",
    ];
    for (const body of bodies)
      for (const acting of [say.execute() + say.sync, say.describe("P", "") + say.sync]) {
        const client = await session();
        const answers = await client.ask(say.parse("", "select $1::text") + message("B", `\0\0${body}`) + acting);
        expect(answers.some((a) => a.type === "C")).toBe(false);
        expect(answers.some((a) => a.type === "E")).toBe(true);
      }
  });
});

describe("what a name stands for", () => {
  test("between Describe and Execute is what was bound, whatever is parsed or closed in between", async (context) => {
    requirePostgres(context);
    const client = await session();
    const denied = await client.ask(
      say.parse("", "select a from t") +
        say.bind("", "") +
        say.describe("P", "") +
        say.parse("", "delete from t returning a") +
        say.execute() +
        say.sync,
    );
    expect(errorOf(denied).get("C")).toBe("42501");
    const swapped = await client.ask(
      say.parse("s", "select a from t") +
        say.bind("p", "s") +
        say.close("S", "s") +
        say.parse("s", "select b from t") +
        say.execute("p") +
        say.sync,
    );
    expect(rows(swapped)).toEqual(["1"]);
    const closed = await client.ask(say.bind("p", "s") + say.close("P", "p") + say.execute("p") + say.sync);
    expect(errorOf(closed).get("C")).toBe("34000");
    const again = await client.ask(say.bind("p", "s") + say.bind("p", "s") + say.execute("p") + say.sync);
    expect(["3one", "", "one"].some((row) => rows(again).includes(row)) || errorOf(again).get("C") === "42P03").toBe(
      true,
    );
  });

  test("behind an error within a pipeline is what it was before", async (context) => {
    requirePostgres(context);
    const client = await session();
    await client.ask(say.parse("s", "select a from t") + say.sync);
    const batch =
      say.parse("x", "select 1/0") +
      say.bind("", "x") +
      say.execute() +
      say.close("S", "s") +
      say.parse("s", "select 'other'") +
      say.bind("", "s") +
      say.execute() +
      say.sync;
    const next = say.bind("", "s") + say.execute() + say.sync;
    const answers = await client.ask(batch + next, 2);
    expect(errorOf(answers).get("C")).toBe("22012");
    expect(rows(answers)).toEqual(["1"]);
  });

  test("is bounded in number: the one too many is refused, and the session goes on", async (context) => {
    requirePostgres(context);
    const client = await session();
    let refused = "";
    for (let i = 0; refused === "" && i < 6; i++) {
      const batch = Array.from({ length: 1_000 }, (_, n) => say.parse(`s${i}_${n}`, "select 1")).join("");
      refused = errorOf(await client.ask(batch + say.sync)).get("C") ?? "";
    }
    expect(refused).toBe("54000");
    const portals = Array.from({ length: 1_100 }, (_, n) => say.bind(`p${n}`, "s0_1")).join("");
    expect(errorOf(await client.ask(portals + say.sync)).get("C")).toBe("54000");
    expect(types(await client.ask(say.query("select 1")))).toBe("TDCZ");
  });
});

describe("messages", () => {
  test("Sync, as often as one likes, waits when too many are unanswered", async (context) => {
    requirePostgres(context);
    const client = await session();
    const answers = await client.ask(say.sync.repeat(50_000), 50_000);
    expect(types(answers)).toBe("Z".repeat(50_000));
  });

  test("of a COPY that is none are ignored, as the server ignores them", async (context) => {
    requirePostgres(context);
    const client = await session();
    const answers = await client.ask(
      say.copyData("1\tx\n") +
        say.copyDone +
        say.copyFail("x") +
        say.copyData("x".repeat(200_000)) +
        say.query("select 1"),
    );
    expect(types(answers)).toBe("TDCZ");
  });

  test("behind a Terminate reach nobody", async (context) => {
    requirePostgres(context);
    const client = await session();
    client.write(message("X", "") + say.query("select pg_sleep(0)") + say.query("delete from t"));
    expect(await client.ask("")).toEqual([]);
  });

  test.each([
    ["a length of nothing", `Q${int32(0)}`],
    ["a length below itself", `Q${int32(3)}`],
    ["a negative length", `Q${int32(-5)}delete from t\0`],
    ["a length beyond all", `P${int32(0x7fffffff)}`],
    ["a Sync with something in it", `S${int32(5)}x`],
    ["a Query that ends in its middle", message("Q", "select 1\0; delete from t\0")],
    ["a Parse with a second text", message("P", `\0select 1\0delete from t\0${int16(0)}`)],
    ["a Parse with fewer types than it says", message("P", `\0select 1\0${int16(9)}`)],
    ["a Describe of neither", message("D", "X\0")],
    ["an unknown type", message("!", "")],
    ["a password, long after", message("p", "x\0")],
    ["a startup, long after", int32(8) + int32(80_877_103)],
  ])("that are malformed end the session: %s", async (_, bytes) => {
    if (server === null) return;
    const client = await session();
    client.write(bytes);
    const answers = await client.ask(say.sync + say.query("select 1"), 9);
    expect(answers.some((a) => a.type === "D")).toBe(false);
  });
});

test.each([
  ["nothing", int32(0)],
  ["too short", int32(7) + "xxx"],
  ["larger than any", int32(0x7fffffff) + int32(196_608)],
  ["negative", int32(-1) + int32(196_608)],
  ["10 KiB of parameters", int32(10_248) + int32(196_608) + "user\0" + "x".repeat(10_235)],
  ["SSLRequest, again and again", (int32(8) + int32(80_877_103)).repeat(50)],
  ["a CancelRequest that is long", int32(80_000) + int32(80_877_102) + "x".repeat(79_992)],
  ["without an end", int32(40) + int32(196_608) + "user\0postgres\0".padEnd(32, "x")],
])("a startup message that is odd is turned away: %s", async (_, bytes) => {
  if (gateway === null) return;
  const socket = net.connect({ port: gateway.port, host: "127.0.0.1" });
  const client = new WireClient(socket);
  clients.push(client);
  client.write(bytes);
  socket.end();
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
});
