import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import * as fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { bootOf, type Collected, collecting, LOCAL, newSigner } from "../../test/support/collected.ts";
import { op } from "../../test/support/record.ts";
import { eraseDetails } from "./erase.ts";
import type { RecordStore } from "./store/port.ts";
import { openSqlite } from "./store/sqlite.ts";
import { type VerifyReport, verifyStore } from "./verify.ts";
import { renderReport } from "./verify-text.ts";

const folders: string[] = [];
const stores: RecordStore[] = [];
const raw: DatabaseSync[] = [];
afterEach(async () => {
  for (const db of raw.splice(0)) db.close();
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

interface Subject extends Collected {
  readonly file: string;
  readonly db: DatabaseSync;
  readonly boots: readonly string[];
}

/** Two whole boots, one operation erased. */
async function subject(): Promise<Subject> {
  const folder = mkdtempSync(path.join(tmpdir(), "verify-"));
  folders.push(folder);
  const file = path.join(folder, "audit.db");
  const store = openSqlite(file, "write");
  stores.push(store);
  const collected = await collecting(store);
  const boots: string[] = [];
  for (let n = 0; n < 2; n++) {
    const { boot, lines } = await bootOf(async (recorder, commit) => {
      const session = recorder.session({ client: "a:1", destination: "b:2", target: "t", host: "t.example", port: 2 });
      for (let i = 0; i < 4; i++) {
        const seq = recorder.op(op({ session, facts: `"http":{"path":"/people/erika/${i}"}` }));
        recorder.end({ op: seq, status: "200", ms: 1, bytesUp: 1, bytesDown: 1, masked: 0, attempts: 1 });
        if (i % 2 === 0) await commit();
      }
      recorder.closed(session, 1, 1, "client-left");
      await recorder.stop("done");
    });
    expect(await collected.ingest({ boot, lines, gap: false, sender: LOCAL })).toMatchObject({ kind: "acknowledged" });
    boots.push(boot);
  }
  await eraseDetails(collected, { records: [{ boot: boots[0] ?? "", seq: 3 }], by: "erika", reason: "asked for it" });
  const db = new DatabaseSync(file);
  raw.push(db);
  return { ...collected, file, db, boots };
}

const verify = (s: Subject, over: object = {}): Promise<VerifyReport> =>
  verifyStore({ store: s.store, nowMs: s.clock.now + 1e9, aliveMs: 1, publicKey: null, expect: null, ...over });

function flipped(value: SQLOutputValue, at: number): SQLOutputValue {
  if (typeof value === "number") return value + 1;
  const bytes = Buffer.from(typeof value === "string" ? value : (value as Uint8Array));
  if (bytes.length === 0) return typeof value === "string" ? "x" : Buffer.from("x");
  const i = at % bytes.length;
  bytes[i] = (bytes[i] ?? 0) ^ 1;
  return typeof value === "string" && bytes.toString("utf8").length > 0 ? bytes.toString("utf8") : bytes;
}

test("a whole record is green, and an erased detail is counted, not missed", async () => {
  const s = await subject();
  const report = await verify(s);
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ ok: true, boots: 3, erased: 1, running: 0 });
  expect(renderReport(report)).toContain("ok: nothing was changed, nothing is missing\n");
});

test("an erased detail is nowhere in the store's files", async () => {
  const s = await subject();
  const all = (): string =>
    readdirSync(path.dirname(s.file))
      .map((f) => readFileSync(path.join(path.dirname(s.file), f)).toString("latin1"))
      .join("");
  expect(all()).toContain("/people/erika/1");
  expect(all()).toContain("asked for it");
  // /people/erika/0 of the first boot is erased, that of the second still there.
  expect(all().split('{"http":{"path":"/people/erika/0"}').length - 1).toBe(1);
});

// Every column of every table that holds evidence; `boot` of a row is its place.
const PLACES: readonly (readonly [table: string, column: string, names: boolean])[] = [
  ...["t", "kind", "session", "op", "verdict", "protocol", "target", "host", "code", "core", "leaf"].map(
    (column) => ["records", column, true] as const,
  ),
  ["records", "seq", false],
  ["details", "salt", true],
  ["details", "text", true],
  ["details", "seq", false],
  ["erased", "seq", false],
  ["commits", "hash", false],
  ["commits", "last_seq", false],
  ["boots", "last_seq", false],
  ["boots", "chain", false],
  ["boots", "pod", false],
  ["log", "size", false],
  ["log", "peaks", false],
  ["checkpoints", "root", false],
  ["checkpoints", "signature", false],
  ["checkpoints", "at", false],
];

test("a flipped byte in any record, at any position, is found, and named where it lies in one record", async () => {
  const s = await subject();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PLACES), fc.nat(), fc.nat(), async ([table, column, names], row, at) => {
      const rows = s.db.prepare(`SELECT * FROM ${table} WHERE ${column} IS NOT NULL ORDER BY 1, 2`).all();
      const chosen = rows[row % rows.length] ?? {};
      const keys = Object.keys(chosen).filter(
        (k) =>
          k === "idx" ||
          (table !== "records" && k === "boot") ||
          k === "seq" ||
          k === "id" ||
          k === "size" ||
          k === "last_seq",
      );
      const where = keys.map((k) => `${k} IS ?`).join(" AND ");
      const old = chosen[column] ?? null;
      s.db.exec("SAVEPOINT flip");
      try {
        s.db
          .prepare(`UPDATE OR REPLACE ${table} SET ${column} = ? WHERE ${where}`)
          .run(flipped(old, at), ...keys.map((k) => chosen[k] ?? null));
        // Seen by this connection only: nothing to clean up but a rollback.
        const report = await verifyStore({
          store: viewOf(s.db, s),
          nowMs: s.clock.now + 1e9,
          aliveMs: 1,
          publicKey: null,
          expect: null,
        });
        expect(report.ok, `${table}.${column}`).toBe(false);
        if (!names) return;
        const boot = s.db.prepare("SELECT boot FROM boots WHERE id = ?").get(chosen["boot"] ?? 0)?.["boot"];
        const named = report.findings.some((f) => f.boot === boot && f.seq === chosen["seq"]);
        if (!named)
          throw new Error(
            `${table}.${column} of ${String(boot)}-${String(chosen["seq"])}: ${JSON.stringify(report.findings)}`,
          );
      } finally {
        s.db.exec("ROLLBACK TO flip; RELEASE flip");
      }
    }),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 150) },
  );
}, 60_000);

test("a record changed together with its leaf is still found: by the chain and by the signed tree", async () => {
  const s = await subject();
  s.db.exec(
    'UPDATE records SET verdict = \'deny\', core = replace(core, \'"verdict":"allow"\', \'"verdict":"deny"\') WHERE idx = 2',
  );
  const { rowOf } = await import("./rows.ts");
  const core = s.db.prepare("SELECT core FROM records WHERE idx = 2").get()?.["core"];
  const { row } = rowOf("x", { seq: 3, bytes: Buffer.from(String(core)) });
  s.db.prepare("UPDATE records SET leaf = ? WHERE idx = 2").run(row.leaf);
  const report = await verify(s);
  expect(new Set(report.findings.map((f) => f.kind))).toEqual(new Set(["tree", "chain"]));
  expect(report.findings.find((f) => f.kind === "chain")).toMatchObject({ boot: s.boots[0], seq: 2, lastSeq: 4 });
});

test("a removed record, a removed boot and a removed detail are found", async () => {
  for (const sql of [
    "DELETE FROM records WHERE idx = 5",
    "DELETE FROM records WHERE idx = (SELECT max(idx) FROM records)",
    "DELETE FROM records WHERE boot = 2; DELETE FROM commits WHERE boot = 2; DELETE FROM boots WHERE id = 2",
    "DELETE FROM records WHERE boot = 2",
    "DELETE FROM details WHERE rowid IS NULL OR seq = 5",
    "DELETE FROM checkpoints",
    "DELETE FROM meta",
  ].map((text) => text.replace("rowid IS NULL OR ", ""))) {
    const s = await subject();
    s.db.exec(sql);
    expect((await verify(s)).ok, sql).toBe(false);
  }
});

test("a detail that is gone without an act of erasure is a finding", async () => {
  const s = await subject();
  s.db.exec("DELETE FROM details WHERE boot = 2 AND seq = 3; INSERT INTO erased VALUES (2, 3)");
  expect((await verify(s)).findings).toEqual([expect.objectContaining({ kind: "detail", boot: s.boots[1], seq: 3 })]);
});

test("a key that is none is a finding, not a fault", async () => {
  const s = await subject();
  expect((await verify(s, { publicKey: "nonsense" })).findings[0]?.kind).toBe("signature");
});

test("a log cut off and signed anew with another key, or rolled back as a whole, is found by what was kept elsewhere", async () => {
  const s = await subject();
  const kept = (await verify(s)).checkpoint ?? "";
  const [size, root = ""] = kept.split(":");
  const expected = { size: Number(size), root };
  expect(await verify(s, { expect: expected })).toMatchObject({ ok: true });
  expect((await verify(s, { publicKey: newSigner().publicPem })).findings[0]?.kind).toBe("signature");
  // Everything after the first boot is taken away without a trace.
  const other = await subject();
  expect((await verify(other, { expect: expected })).findings[0]?.kind).toBe("tree");
});

test("THREATS E7: what has no end is named: the connection, the operation, the sidecar itself", async () => {
  const s = await subject();
  const { boot, lines } = await bootOf((recorder) => {
    const session = recorder.session({ client: "a:1", destination: "b:2", target: "t", host: "t.example", port: 2 });
    recorder.op(op({ session }));
    recorder.op(op({ session, verdict: "deny" }));
  });
  await s.ingest({ boot, lines, gap: false, sender: LOCAL });
  const report = await verify(s);
  expect(report.findings.map((f) => [f.kind, f.boot, f.seq, f.message])).toEqual([
    ["tail", boot, 4, "the sidecar ended without its last line"],
    ["tail", boot, 2, "the connection has no end on record"],
    ["tail", boot, 3, "the operation has no outcome on record"],
  ]);
  expect(renderReport(report)).toContain(
    `FINDING  tail ${boot}-3: the operation has no outcome on record\n3 findings\n`,
  );
});

test("thousands of open ends are counted, and the report stays short", async () => {
  const s = await subject();
  const { boot, lines } = await bootOf((recorder) => {
    for (let i = 0; i < 3_000; i++) recorder.op(op());
  });
  await s.ingest({ boot, lines, gap: false, sender: LOCAL });
  const report = await verify(s);
  expect(report.findings.length).toBeLessThan(30);
  expect(report.findings.at(-1)).toMatchObject({ boot, seq: 22, lastSeq: 3_001 });
});

test("an erasure is an act on record: who, why, which", async () => {
  const s = await subject();
  const [act] = await s.store.find({ kinds: ["act"], limit: 1 });
  expect(JSON.parse(Buffer.from(act?.core ?? []).toString())).toMatchObject({
    k: "act",
    act: "erase",
    by: "erika",
    reason: "asked for it",
    records: [`${s.boots[0]}-3`],
  });
  const again = await eraseDetails(s, {
    records: [
      { boot: s.boots[0] ?? "", seq: 3 },
      { boot: "nobody000000", seq: 1 },
    ],
    by: "x",
    reason: "y",
  });
  expect(again).toEqual({ erased: 0, without: 2 });
  expect((await verify(s)).ok).toBe(true);
});

/** The store as one uncommitted connection sees it. */
function viewOf(db: DatabaseSync, s: Subject): RecordStore {
  const { store } = s;
  const Store = store.constructor as new (db: DatabaseSync) => RecordStore;
  return new Store(db);
}
