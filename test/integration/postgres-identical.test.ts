/** The same statements, direct and through the sidecar: the same bytes come back, however the messages are cut. */
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readNotice } from "#sidecar/lanes/postgres/codec/backend.ts";
import { type PostgresGateway, startPostgresGateway, startSplitter } from "./postgres-gateway.ts";
import { MIX, SETUP } from "./postgres-mix.ts";
import { freePort, type PostgresServer, postgresBin, requirePostgres, startPostgres } from "./postgres-server.ts";
import { type Answer, WireClient } from "./postgres-wire.ts";

/** Answers that are the same for both: an error of ours lacks what names the server's source. */
function comparable(answers: readonly Answer[], ours: boolean): string[] {
  return answers.map(({ type, body }) => {
    if (type !== "E" || !ours) return type + body;
    const fields = [...(readNotice(body) ?? [])].filter(([letter]) => !"FLR".includes(letter));
    return `E${JSON.stringify(fields)}`;
  });
}

async function run(port: number, database: string, steps = MIX): Promise<Map<string, string[]>> {
  const { client } = await WireClient.connect(port, [["database", database]]);
  const all = new Map<string, string[]>();
  for (const step of steps) {
    let answers = await client.ask(step.bytes, step.readies ?? 1, step.copy === undefined ? "Z" : "GZ");
    if (step.copy !== undefined) answers = [...answers, ...(await client.ask(step.copy))];
    all.set(step.name, comparable(answers, step.ours === true));
  }
  client.end();
  return all;
}

describe("PostgreSQL 15", () => {
  let server: PostgresServer | null = null;
  let gateway: PostgresGateway | null = null;
  beforeAll(async () => {
    const bin = postgresBin();
    if (bin === null) return;
    server = await startPostgres(bin, { hba: ["host all all 127.0.0.1/32 trust"] });
    await server.psql("create database model");
    await server.psql(SETUP, "model");
    gateway = await startPostgresGateway({ upstream: server.port });
  });
  afterAll(async () => {
    await gateway?.close();
    await server?.close();
  });

  let count = 0;
  /** A copy of the same database: its tables have the same OIDs, so rows and their descriptions can be compared. */
  async function fresh(): Promise<string> {
    const name = `copy${++count}`;
    await server?.psql(`create database ${name} template model`);
    return name;
  }
  const direct = async (): Promise<Map<string, string[]>> => run(server?.port ?? 0, await fresh());

  test("answers the same through the sidecar as directly", async (context) => {
    requirePostgres(context);
    const expected = await direct();
    const seen = await run(gateway?.port ?? 0, await fresh());
    for (const [name, answers] of expected) expect(seen.get(name), name).toEqual(answers);
    expect(gateway?.faults).toEqual([]);
    expect(gateway?.records().filter((r) => r.end === null)).toEqual([]);
  });

  test("answers the same when both directions come in random pieces", async (context) => {
    requirePostgres(context);
    const expected = await direct();
    for (const seed of [1, 2, 3]) {
      const splitter = await startSplitter(gateway?.port ?? 0, seed);
      const seen = await run(splitter.port, await fresh());
      await splitter.close();
      for (const [name, answers] of expected) expect(seen.get(name), `${name}, seed ${seed}`).toEqual(answers);
    }
    expect(gateway?.faults).toEqual([]);
  });
});

describe("PGlite 18", () => {
  /** Its socket server waits for a CopyInResponse's data in one piece, and has no pipelining of Queries. */
  const NOT = new Set([
    "copy in",
    "copy in, failed by the client",
    "copy in, failed by the server",
    "copy in, extended",
  ]);
  const steps = MIX.filter((step) => !NOT.has(step.name));
  const ends: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });

  test("answers the same through the sidecar as directly", async () => {
    const model = await PGlite.create();
    await model.exec(SETUP);
    const serve = async (db: PGlite): Promise<number> => {
      const port = await freePort();
      const server = new PGLiteSocketServer({ db, port, host: "127.0.0.1" });
      await server.start();
      ends.push(
        () => db.close(),
        () => server.stop(),
      );
      return port;
    };
    // A copy has the same OIDs.
    const copy = (await model.clone()) as PGlite;
    const expected = await run(await serve(model), "postgres", steps);
    const gateway = await startPostgresGateway({ upstream: await serve(copy) });
    ends.push(() => gateway.close());
    const seen = await run(gateway.port, "postgres", steps);
    for (const [name, answers] of expected) expect(seen.get(name), name).toEqual(answers);
    expect(gateway.faults).toEqual([]);
  });
});
