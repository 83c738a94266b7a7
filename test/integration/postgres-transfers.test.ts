/**
 * Large transfers through the whole gateway, and what they cost it: the sidecar grows by what it reads at a time, not by what passes, be
 * it masked or not, and whoever does not read or is not read from is waited for. At full size (ten million rows, a gigabyte):
 * `SIDEGATE_ROWS=10000000`, or `npm run bench -- postgres-bulk`.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/sidecar.ts";
import { MemoryWatch } from "../support/sidecar-memory.ts";
import { postgresBin, requirePostgres } from "./postgres-server.ts";
import { lines, TransferBench, type TransferName, type Transferred, transfer } from "./postgres-transfers.ts";

const ROWS = Number(process.env["SIDEGATE_ROWS"] ?? 200_000);
const LIMIT_MIB = 64;
/** Of one transfer, at full size on a busy machine. */
const LIMIT_MS = 1_800_000;
/** What a client that does not read may cost: what lies in buffers between the two legs. */
const STALLED_MIB = 40;
/** Enough to fill every buffer of the kernel's on the way: rows of a kibibyte and more. */
const STALLED_ROWS = 40_000;
const STALLED_NOTE = 1_100;

let bench: TransferBench | null = null;

beforeAll(async () => {
  const bin = postgresBin();
  if (bin !== null) bench = await TransferBench.start(bin, ROWS);
}, LIMIT_MS);
afterAll(async () => {
  await bench?.close();
});

function started(): TransferBench {
  if (bench === null) throw new Error("not started");
  return bench;
}

/** What passed and what it cost, for whoever reads the log; held to the limit. */
async function passed(name: TransferName): Promise<Transferred> {
  const done = await transfer(started(), name);
  console.log(
    `${name}: ${done.mib.toFixed(0)} MiB, ${done.seconds.toFixed(1)} s, ${done.cpuUsPerRow.toFixed(2)} µs CPU a row, +${done.growthMib.toFixed(1)} MiB`,
  );
  expect(done.rows).toBe(ROWS);
  expect(done.growthMib).toBeLessThanOrEqual(LIMIT_MIB);
  return done;
}

/** `email`: how long all of them are. A value has a tab or a line feed behind it, or its length in front, and a row their number. */
async function expectedBytes(name: TransferName, email: string): Promise<number> {
  const framing = name.startsWith("copy") ? 3 : 14;
  const total = `select sum(length(id::text)) + ${email} + sum(length(note)) + ${framing} * count(*) from plain`;
  return Number(await started().server.psql(total));
}

describe(`${ROWS} rows`, () => {
  test.for(["copy-out", "select"] as const)("%s", { timeout: LIMIT_MS }, async (name, context) => {
    requirePostgres(context);
    const done = await passed(name);
    expect(done.bytes).toBe(await expectedBytes(name, "sum(length(email))"));
    expect(done.first).toContain("user1@confidential.example");
  });

  test.for(["copy-out masked", "select masked"] as const)("%s", { timeout: LIMIT_MS }, async (name, context) => {
    requirePostgres(context);
    const done = await passed(name);
    expect(done.bytes).toBe(await expectedBytes(name, `${ROWS}::bigint * 26`));
    expect(done.first).toMatch(/tok_email_[0-9a-z]{16}/);
    expect(done.first).not.toContain("confidential");
  });

  test("copy-in", { timeout: LIMIT_MS }, async (context) => {
    requirePostgres(context);
    const { tag } = await passed("copy-in");
    expect(tag).toBe(`COPY ${ROWS}`);
    const { server } = started();
    expect(await server.psql("select count(*), sum(length(email)) from sink")).toBe(
      await server.psql(
        "select count(*) + 10, sum(length(email)) + (select sum(length(email)) from plain where id <= 10) from plain",
      ),
    );
  });
});

describe("back-pressure", () => {
  const waitsFor = (event: string): Promise<void> =>
    eventually(
      async () =>
        Number(
          await started().server.psql(
            `select count(*) from pg_stat_activity where usename = 'agent' and state = 'active' and wait_event = '${event}'`,
          ),
        ) === 1,
      () => `a backend that waits for ${event}`,
    );

  test.for(["plain", "people"])(
    "a client that does not read makes the server wait, not the sidecar grow: %s",
    async (table, context) => {
      requirePostgres(context);
      const own = started();
      const client = await own.client();
      await client.run(`select id, email, note from ${table} limit 10`);
      const memory = new MemoryWatch(own.gateway.sidecarPid);
      try {
        const all = client.run(
          `select id, email, repeat('n', ${STALLED_NOTE}) from (select * from ${table} limit 1000) t, generate_series(1, ${STALLED_ROWS / 1_000})`,
        );
        client.socket.pause();
        await waitsFor("ClientWrite");
        expect(memory.growthMib()).toBeLessThanOrEqual(STALLED_MIB);
        // Others are served meanwhile.
        const other = await own.client();
        expect((await other.run("select 1")).rows).toBe(1);
        other.end();
        client.socket.resume();
        expect((await all).rows).toBe(STALLED_ROWS);
      } finally {
        memory.end();
        client.end();
      }
    },
  );

  test("a server that does not take rows makes the client wait", async (context) => {
    requirePostgres(context);
    const own = started();
    await own.server.psql(`
      create table slow (id int, email text, note text); grant all on slow to agent;
      create function waits() returns trigger language plpgsql as
        $$ begin if new.id = 1000 then lock table gate; end if; return new; end $$;
      create table gate (); grant all on gate to agent;
      create trigger waits before insert on slow for each row execute function waits()`);
    const holder = await own.client();
    const client = await own.client();
    const memory = new MemoryWatch(own.gateway.sidecarPid);
    try {
      await holder.run("begin; lock table gate");
      const all = client.run("copy slow from stdin", lines(1, STALLED_ROWS, STALLED_NOTE));
      await waitsFor("relation");
      await eventually(
        () => client.socket.writableNeedDrain,
        () => "a client that has to wait",
      );
      expect(memory.growthMib()).toBeLessThanOrEqual(STALLED_MIB);
      await holder.run("commit");
      expect((await all).tag).toBe(`COPY ${STALLED_ROWS}`);
    } finally {
      memory.end();
      holder.end();
      client.end();
    }
  });
});
