/** What retention takes away, what it must not, and that whatever is left is as provable as before. */
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { genesis, linkParts } from "#audit/chain.ts";
import { type Collected, collecting, temporaryStore } from "../../test/support/collected.ts";
import { WORKLOAD } from "../../test/support/record.ts";
import { acceptEnd } from "./accept.ts";
import { recordAct } from "./act.ts";
import { coverageOf } from "./coverage.ts";
import type { Sender } from "./ingest.ts";
import { checkProof, makeProof } from "./proof.ts";
import { KEEP_ALL, type RetentionRules, readRetention, retain } from "./retention.ts";
import { verifyStore } from "./verify.ts";

const DAY = 86_400_000;
const removes: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const remove of removes.splice(0)) await remove();
});

interface World extends Collected {
  readonly file: string;
}

async function world(): Promise<World> {
  const { store, file, remove } = temporaryStore();
  removes.push(remove);
  const collected = await collecting(store);
  return { ...collected, file };
}

let boots = 0;

/** A whole boot of some commits, a day after each other by the sender's clock; our clock goes along, and is put back. */
async function boot(w: World, namespace: string, pod: string, commits: number, ended = true): Promise<string> {
  const name = `boot${String(boots++).padStart(8, "0")}`;
  const workload = { ...WORKLOAD, namespace, pod, uid: `uid-${pod}` };
  const sender: Sender = { subject: pod, claims: { namespace, pod, uid: workload.uid } };
  const start = w.clock.now;
  let seq = 0;
  let chain = genesis(name);
  const commit = async (...kinds: readonly object[]): Promise<void> => {
    const cores = kinds.map((members) => `${JSON.stringify({ seq: ++seq, t: w.clock.now, ...members })}\n`).join("");
    chain = linkParts(chain, Buffer.from(cores));
    const lines = Buffer.from(`${cores}{"c":${seq},"h":"${chain}"}\n`);
    expect(await w.ingest({ boot: name, lines, gap: false, sender })).toMatchObject({ kind: "acknowledged", seq });
    w.clock.now += DAY;
  };
  await commit({ k: "boot", boot: name, workload });
  const padding = "x".repeat(500);
  for (let i = 0; i < commits; i++) await commit({ k: "op", verdict: "allow", padding }, { k: "end", op: seq + 1 });
  if (ended) await commit({ k: "stop", why: "done" });
  w.clock.now = start;
  return name;
}

/** Further commits, of so many lines each. */
async function goesOn(w: World, name: string, commits = 1, lines = 1): Promise<void> {
  const row = await w.store.boot(name);
  const [namespace = "", pod = ""] = (row?.pod ?? "").split("/");
  const sender: Sender = { subject: pod, claims: { namespace, pod, uid: `uid-${pod}` } };
  let { lastSeq: seq, chain } = row ?? { lastSeq: 0, chain: "" };
  const text: string[] = [];
  for (let n = 0; n < commits; n++) {
    const cores = Array.from({ length: lines }, () => `{"seq":${++seq},"t":${w.clock.now},"k":"note"}\n`).join("");
    chain = linkParts(chain, Buffer.from(cores));
    text.push(cores, `{"c":${seq},"h":"${chain}"}\n`);
  }
  const before = w.findings.length;
  const said = await w.ingest({ boot: name, lines: Buffer.from(text.join("")), gap: false, sender });
  expect(said).toEqual({ kind: "acknowledged", seq });
  expect(w.findings.slice(before)).toEqual([]);
  const report = await verifyStore({ ...w, nowMs: w.clock.now, aliveMs: 90_000, publicKey: null, expect: null });
  expect(report.findings).toEqual([]);
  const [covered] = (await coverageOf(w.store, null, { sinceMs: 0, nowMs: w.clock.now, aliveMs: 90_000 })).filter(
    ({ boot }) => boot === name,
  );
  expect(covered).toMatchObject({ missing: 0, end: "running", lastSeq: seq });
}

const rules = (over: Partial<RetentionRules>): RetentionRules => ({ ...KEEP_ALL, ...over });
const verify = (w: World, nowMs = w.clock.now + 1e9) =>
  verifyStore({ store: w.store, nowMs, aliveMs: 1, publicKey: null, expect: null });

async function proven(w: World, nowMs?: number): Promise<void> {
  const report = await verify(w, nowMs);
  expect(report.findings).toEqual([]);
  const rows = await w.store.scan(0, 10_000);
  const step = Math.ceil(rows.length / 10);
  for (const { row } of rows.filter((_, n) => n % step === 0)) {
    const proof = await makeProof(w.store, row.boot, row.seq);
    expect(proof === null ? "none" : checkProof(proof, w.signer.publicPem)).toBe(null);
  }
}

describe("by age", () => {
  test("a namespace's own limit decides; what is under legal hold stays; the rest is proven as before, and the act says what went", async () => {
    const w = await world();
    const old = await boot(w, "team", "a", 3);
    const held = await boot(w, "court", "b", 3);
    const longer = await boot(w, "bank", "c", 3);
    w.clock.now += 100 * DAY;
    const young = await boot(w, "team", "d", 3);
    const before = (await w.store.log()).size;
    const removed = await retain(
      w,
      rules({ days: 30, namespaces: new Map([["bank", 365]]), legalHolds: new Set(["court"]) }),
    );
    expect(removed).toEqual({ age: 8, size: 0, overBytes: 0 });
    const boots = (await w.store.boots()).map(({ boot: name }) => name);
    expect(boots).not.toContain(old);
    expect(boots).toEqual(expect.arrayContaining([held, longer, young]));
    expect((await w.store.log()).size).toBe(before + 1);
    const [act] = await w.store.find({ kinds: ["act"], limit: 5 });
    expect(JSON.parse(Buffer.from(act?.core ?? []).toString())).toMatchObject({
      act: "remove",
      by: "retention",
      reason: "age",
      count: 8,
      boots: [{ boot: old, pod: "team/a", count: 8 }],
    });
    expect(await verify(w)).toMatchObject({ ok: true, removed: 8 });
    await proven(w);
    expect(
      await retain(w, rules({ days: 30, legalHolds: new Set(["court"]), namespaces: new Map([["bank", 365]]) })),
    ).toEqual({ age: 0, size: 0, overBytes: 0 });
  });

  test("a boot that goes on loses whole commits from its beginning, and its chain goes on from there", async () => {
    const w = await world();
    const name = await boot(w, "team", "a", 9, false);
    await w.store.seen(name, w.clock.now + 35 * DAY);
    w.clock.now += 35 * DAY;
    expect(await retain(w, rules({ days: 30 }))).toEqual({ age: 9, size: 0, overBytes: 0 });
    expect(await w.store.boot(name)).toMatchObject({ baseSeq: 9, lastSeq: 19 });
    const seenAt = w.clock.now;
    await proven(w, seenAt);
    w.clock.now += 2 * DAY;
    expect(await retain(w, rules({ days: 30 }))).toEqual({ age: 4, size: 0, overBytes: 0 });
    await proven(w, seenAt);
  });

  test("nothing is removed by a rule that nobody made, nor because a sender's clock says that it is old", async () => {
    const w = await world();
    await boot(w, "team", "a", 3);
    expect(await retain(w, KEEP_ALL)).toEqual({ age: 0, size: 0, overBytes: 0 });
    const name = await boot(w, "team", "b", 3);
    const db = new DatabaseSync(w.file);
    db.prepare("UPDATE records SET t = 1 WHERE boot = (SELECT id FROM boots WHERE boot = ?)").run(name);
    db.close();
    expect(await retain(w, rules({ days: 1 }))).toEqual({ age: 0, size: 0, overBytes: 0 });
  });

  test("a rule that cannot be read is refused whole", () => {
    expect(readRetention('{"days":30,"namespaces":{"a":{"days":0}},"legalHolds":["b"]}')).toEqual({
      days: 30,
      maxBytes: 0,
      namespaces: new Map([["a", 0]]),
      legalHolds: new Set(["b"]),
    });
    for (const wrong of ["", "[]", '{"days":-1}', '{"day":1}', '{"namespaces":{"a":1}}', '{"legalHolds":"b"}'])
      expect(() => readRetention(wrong), wrong).toThrow(/retention|JSON/);
  });
});

test("whatever goes, in whatever order, the rest stays provable, and what goes without an act is found", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ team: fc.integer({ min: 0, max: 2 }), commits: fc.integer({ min: 0, max: 3 }) }), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 3 }),
      async (boots, order) => {
        const w = await world();
        for (const [n, { team, commits }] of boots.entries()) await boot(w, `team-${team}`, `p${n}`, commits);
        w.clock.now += 100 * DAY;
        for (const team of order) {
          await retain(w, rules({ namespaces: new Map([[`team-${team}`, 30]]) }));
          await boot(w, "later", `l${team}${w.clock.now}`, 1);
        }
        await proven(w);
        const db = new DatabaseSync(w.file);
        const { n: trees } = db.prepare("SELECT count(*) AS n FROM removed").get() as { n: number };
        db.exec("UPDATE removed SET hash = zeroblob(32) WHERE idx = (SELECT min(idx) FROM removed)");
        expect((await verify(w)).findings.some((f) => f.kind === "tree")).toBe(trees > 0);
        db.close();
      },
    ),
    { numRuns: 12 },
  );
});

test("lines that somebody took away with their leaf kept, as retention would, are found for want of an act", async () => {
  const w = await world();
  const name = await boot(w, "team", "a", 3);
  const at = (await w.store.commits(name))[1];
  const db = new DatabaseSync(w.file);
  const through = at?.lastSeq ?? 0;
  for (const row of db.prepare("SELECT idx, leaf FROM records WHERE seq <= ?").all(through))
    db.prepare("INSERT INTO removed VALUES (?,0,?)").run(row["idx"] ?? 0, row["leaf"] ?? null);
  for (const table of ["records", "details"]) db.prepare(`DELETE FROM ${table} WHERE seq <= ?`).run(through);
  db.prepare("DELETE FROM commits WHERE last_seq <= ?").run(through);
  db.prepare("UPDATE boots SET base_seq = ?, base_chain = ?").run(through, at?.hash ?? "");
  db.close();
  const { findings } = await verify(w);
  expect(findings.map((f) => f.kind)).toEqual(["removal", "removal"]);
  expect(findings[1]).toMatchObject({ boot: name, lastSeq: through });
});

test("a store over its bound loses its oldest lines, as few as are enough, and gives the space back", async () => {
  const w = await world();
  for (let n = 0; n < 12; n++) {
    await boot(w, n === 0 ? "court" : "team", `p${n}`, 20);
    w.clock.now += 40 * DAY;
  }
  const before = await w.store.usage();
  const maxBytes = Math.round(before.liveBytes * 0.7);
  const removed = await retain(w, rules({ maxBytes, legalHolds: new Set(["court"]) }));
  expect(removed.size).toBeGreaterThan(0);
  const after = await w.store.usage();
  expect(after.liveBytes).toBeLessThanOrEqual(maxBytes);
  expect(removed.overBytes).toBe(0);
  expect(after.fileBytes).toBeLessThan(before.fileBytes);
  const pods = (await w.store.boots()).map(({ pod }) => pod);
  expect(pods).toContain("court/p0");
  expect(pods).toContain("team/p11");
  expect(pods).not.toContain("team/p1");
  await proven(w);
});

describe("a store that stays over its bound", () => {
  test("for what may not be removed keeps the newest of everybody, says so, and takes the next batch of those who run", async () => {
    const w = await world();
    await boot(w, "court", "held", 200);
    const running = await boot(w, "team", "a", 20, false);
    w.clock.now = ((await w.store.boot(running))?.seenAt ?? 0) + 60_000;
    const removed = await retain(w, rules({ maxBytes: 1, legalHolds: new Set(["court"]) }));
    expect(removed.size).toBeGreaterThan(0);
    expect(removed.overBytes).toBeGreaterThan(0);
    const left = await w.store.boot(running);
    expect(left).toMatchObject({ lastSeq: 41 });
    expect(left?.baseSeq).toBeLessThan(41);
    await goesOn(w, running);
  });

  test("forgets no sidecar that may still run, also where all of its lines are old enough", async () => {
    const w = await world();
    const quiet = await boot(w, "team", "a", 1, false);
    w.clock.now = ((await w.store.boot(quiet))?.seenAt ?? 0) + 3_600_000;
    await retain(w, rules({ days: 1 / 48 }));
    expect(await w.store.boot(quiet)).toMatchObject({ baseSeq: 3, lastSeq: 3 });
    await goesOn(w, quiet);
    w.clock.now += 3 * DAY;
    await retain(w, rules({ days: 1 }));
    expect(await w.store.boot(quiet)).toBe(null);
    await proven(w);
  });

  test("does not count what a reader keeps of the write-ahead log", async () => {
    const w = await world();
    for (let n = 0; n < 6; n++) {
      await boot(w, "team", `p${n}`, 20);
      w.clock.now += 40 * DAY;
    }
    const measured = await w.store.usage();
    Object.assign(w.store, { usage: async () => await Promise.resolve({ ...measured, bytes: measured.bytes * 10 }) });
    expect(await retain(w, rules({ maxBytes: measured.liveBytes }))).toEqual({ age: 0, size: 0, overBytes: 0 });
  });
});

test("a boot longer than one act's lines goes in several acts, each a transaction of its own", async () => {
  const w = await world();
  const name = await boot(w, "team", "a", 0, false);
  await goesOn(w, name, 30, 400);
  w.clock.now += 100 * DAY;
  let pauses = 0;
  const removed = await retain(w, rules({ days: 30 }), async () => void (await Promise.resolve(pauses++)));
  expect(removed).toEqual({ age: 12_001, size: 0, overBytes: 0 });
  const acts = await w.store.find({ kinds: ["act"], limit: 9 });
  const counts = acts.map(({ core }) => (JSON.parse(Buffer.from(core).toString()) as { count: number }).count);
  expect(counts.toReversed()).toEqual([4_801, 4_800, 2_400]);
  expect(pauses).toBeGreaterThanOrEqual(3);
  expect(await w.store.boot(name)).toBe(null);
  expect((await verify(w)).findings).toEqual([]);
});

test("an act has nobody's number or time but ours, and one with a key is recorded once", async () => {
  const w = await world();
  const first = await recordAct(w, "freeze", { seq: 99, t: 1, k: "op", act: "x", by: "ada" }, { key: "freeze/1" });
  expect(await recordAct(w, "freeze", { by: "ada" }, { key: "freeze/1" })).toBe(first);
  const found = await w.store.find({ kinds: ["act"], limit: 5 });
  expect(found.map(({ core }) => JSON.parse(Buffer.from(core).toString()) as object)).toEqual([
    { seq: 1, t: w.clock.now, k: "act", act: "freeze", by: "ada" },
  ]);
  await proven(w);
});

test("a killed sidecar's end is accepted by name and reason; what comes later is a finding again", async () => {
  const w = await world();
  const name = await boot(w, "team", "a", 2, false);
  expect((await verify(w)).findings).toMatchObject([{ kind: "tail", boot: name }]);
  const request = { boot: name, by: "ada", reason: "the node burned", aliveMs: 90_000 };
  expect(await acceptEnd(w, request)).toMatchObject({ kind: "refused" });
  w.clock.now += 10 * DAY;
  expect(await acceptEnd(w, { ...request, boot: "controlplane" })).toMatchObject({ kind: "refused" });
  expect(await acceptEnd(w, { ...request, boot: "nobody000000" })).toMatchObject({ kind: "refused" });
  expect(await acceptEnd(w, request)).toEqual({ kind: "accepted", through: 5 });
  expect(await verify(w)).toMatchObject({ ok: true, accepted: 1 });
  // The act covers what was there then: not one line more.
  const db = new DatabaseSync(w.file);
  db.exec("UPDATE records SET core = replace(core, '\"through\":5', '\"through\":4') WHERE kind = 'act'");
  db.close();
  expect((await verify(w)).findings.map((f) => f.kind)).toEqual(expect.arrayContaining(["record", "tail"]));
});
