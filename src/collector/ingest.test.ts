import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { bootOf, type Collected, collecting, LOCAL } from "../../test/support/collected.ts";
import { op, WORKLOAD } from "../../test/support/record.ts";
import { toEvent } from "./event.ts";
import { createIngest } from "./ingest.ts";
import type { RecordStore } from "./store/port.ts";
import { openSqlite } from "./store/sqlite.ts";
import { verifyStore } from "./verify.ts";

const folders: string[] = [];
const stores: RecordStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

async function fresh(): Promise<Collected> {
  const folder = mkdtempSync(path.join(tmpdir(), "ingest-"));
  folders.push(folder);
  const store = openSqlite(path.join(folder, "audit.db"), "write");
  stores.push(store);
  return await collecting(store);
}

const send = (
  c: Collected,
  boot: string,
  lines: Uint8Array,
  gap = false,
  sender = LOCAL,
): ReturnType<Collected["ingest"]> => c.ingest({ boot, lines, gap, sender });

const verify = (c: Collected): ReturnType<typeof verifyStore> =>
  verifyStore({ store: c.store, nowMs: c.clock.now + 1e9, aliveMs: 1, publicKey: c.signer.publicPem, expect: null });

/** Six commits: the boot line, four operations, the stop. */
const six = (): ReturnType<typeof bootOf> =>
  bootOf(async (recorder, commit) => {
    await commit();
    for (let i = 0; i < 4; i++) {
      recorder.op(op({ verdict: "deny" }));
      await commit();
    }
    await recorder.stop("done");
  });

function commitsOf(lines: Buffer): Buffer[] {
  const parts = lines.toString("utf8").split(/(?<=\n)(?=\{"seq":)/);
  const commits: string[] = [];
  for (const part of parts) {
    if (commits.length === 0 || commits.at(-1)?.includes('{"c":') === true) commits.push(part);
    else commits[commits.length - 1] += part;
  }
  return commits.map((c) => Buffer.from(c));
}

test("acknowledges what it stored, and stores it once however often it comes", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  const commits = commitsOf(lines);
  expect(commits).toHaveLength(6);
  const upTo = (n: number): Buffer => Buffer.concat(commits.slice(0, n));
  expect(await send(c, boot, upTo(2))).toEqual({ kind: "acknowledged", seq: 2 });
  expect(await send(c, boot, upTo(2))).toEqual({ kind: "acknowledged", seq: 2 });
  expect(await send(c, boot, upTo(6))).toEqual({ kind: "acknowledged", seq: 6 });
  expect(await send(c, boot, upTo(3))).toEqual({ kind: "acknowledged", seq: 6 });
  expect((await c.store.log()).size).toBe(6);
  expect(await verify(c)).toMatchObject({ ok: true, records: 6 });
});

test("batches of several boots, sent at once and mixed, stand once each", async () => {
  const c = await fresh();
  const boots = await Promise.all([six(), six(), six()]);
  const sent: Promise<unknown>[] = [];
  for (let n = 1; n <= 6; n++)
    for (const { boot, lines } of boots) sent.push(send(c, boot, Buffer.concat(commitsOf(lines).slice(0, n))));
  await Promise.all(sent);
  expect(await verify(c)).toMatchObject({ ok: true, records: 18, boots: 3 });
});

test("two collectors on one store do not lose each other's records", async () => {
  const c = await fresh();
  const { store, signer, clock } = c;
  const other = createIngest({ store, signer, clock });
  const boots = await Promise.all([six(), six(), six(), six()]);
  const answers = await Promise.all(
    boots.map(({ boot, lines }, i) => (i % 2 === 0 ? c.ingest : other)({ boot, lines, gap: false, sender: LOCAL })),
  );
  expect(answers).toEqual(boots.map(() => ({ kind: "acknowledged", seq: 6 })));
  expect(await verify(c)).toMatchObject({ ok: true, records: 24 });
});

test("a hole is not acknowledged until the sender says that the lines are gone, and is then a finding", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  const commits = commitsOf(lines);
  const late = Buffer.concat(commits.slice(3));
  expect(await send(c, boot, commits[0] ?? late)).toEqual({ kind: "acknowledged", seq: 1 });
  expect(await send(c, boot, late)).toEqual({ kind: "acknowledged", seq: 1 });
  expect(await send(c, boot, late, true)).toEqual({ kind: "acknowledged", seq: 6 });
  expect(c.findings).toEqual([{ finding: "gap", boot, seq: 4 }]);
  const report = await verify(c);
  expect(report.findings).toEqual([expect.objectContaining({ kind: "gap", boot, seq: 2, lastSeq: 3 })]);
});

test("a line that was changed on its way is stored, told, and named by verify", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  const forged = Buffer.from(lines.toString("utf8").replace('"verdict":"deny"', '"verdict":"none"'));
  expect(await send(c, boot, forged)).toEqual({ kind: "acknowledged", seq: 6 });
  expect(c.findings).toEqual([{ finding: "chain", boot, seq: 2 }]);
  const report = await verify(c);
  expect(report.findings.map((f) => [f.kind, f.seq])).toEqual([["chain", 2]]);
});

test("a forged detail is told, and named by verify", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  const forged = Buffer.from(lines.toString("utf8").replace("/v1/invoices/7", "/v1/invoices/8"));
  await send(c, boot, forged);
  expect(c.findings).toEqual([{ finding: "detail", boot, seq: 2 }]);
  expect((await verify(c)).findings.map((f) => [f.kind, f.seq])).toEqual([["detail", 2]]);
});

test("nobody adds to another's boot, to a pod that is not theirs, or to the collector's own chain", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  const [first] = commitsOf(lines);
  const pod = { subject: "pod-a", claims: { namespace: WORKLOAD.namespace, pod: WORKLOAD.pod, uid: WORKLOAD.uid } };
  const liar = { subject: "pod-b", claims: { namespace: "team", pod: "agent-2", uid: "u-2" } };
  expect(await send(c, boot, lines, false, liar)).toMatchObject({ kind: "refused", status: 403 });
  expect((await c.store.log()).size).toBe(0);
  expect(await send(c, boot, first ?? lines, false, pod)).toEqual({ kind: "acknowledged", seq: 1 });
  expect(await send(c, boot, lines, false, liar)).toMatchObject({ kind: "refused", status: 403 });
  expect(await send(c, boot, lines, false, LOCAL)).toMatchObject({ kind: "refused", status: 403 });
  expect(await send(c, "controlplane", lines)).toMatchObject({ kind: "refused", status: 403 });
  expect(await send(c, "zzzzzzzzzzzz", lines)).toMatchObject({ kind: "refused", status: 403 });
  expect(await send(c, boot, lines, false, pod)).toEqual({ kind: "acknowledged", seq: 6 });
});

test("hostile numbers, shapes and bytes are kept without making later questions fail", async () => {
  const c = await fresh();
  const boot = "hostile00000";
  const lines = [
    `{"seq":1,"t":1e300,"k":"boot","boot":"${boot}","workload":[]}`,
    '{"seq":2,"t":9007199254740993,"k":"op","s":1e17,"op":-1,"verdict":{"x":1},"pre":null,"decision":7,"dh":5}',
    '{"seq":3,"k":"fold","op":2,"count":1e18}',
    '{"seq":4,"k":"op","t":"x","pre":{"target":{"host":["a"]}},',
    '{"seq":5}',
    '{"seq":5,"k":"op"}',
    '{"seq":999999999999999,"k":"op"}',
    `{"seq":6,"k":"op","x":${"[".repeat(5_000)}${"]".repeat(5_000)}}`,
    '{"seq":7,"k":"end","op":2,"status":7,"ms":"x"}',
  ];
  const batch = Buffer.concat([
    Buffer.from(`${lines.join("\n")}\n`),
    Buffer.from([0x7b, 0x22, 0x73, 0x65, 0x71, 0x22, 0x3a, 0x38, 0x2c, 0xff, 0xfe, 0x00, 0x0a]), // {"seq":8,<no UTF-8>
    Buffer.from(`what is this\n{"c":8,"h":"${"a".repeat(43)}"}\n`),
  ]);
  expect(await send(c, boot, batch)).toEqual({ kind: "acknowledged", seq: 8 });
  const found = await c.store.find({ kinds: ["boot", "op", "fold", "malformed", "end"], limit: 100 });
  expect(found.length).toBeGreaterThanOrEqual(7);
  for (const f of found) expect(() => JSON.stringify(toEvent(f))).not.toThrow();
  const report = await verify(c);
  expect(report.ok).toBe(false);
  expect(report.findings.map((f) => f.kind)).toContain("fault");
});

test("a store that fails acknowledges nothing, and takes the batch when it works again", async () => {
  const c = await fresh();
  const { boot, lines } = await six();
  let full = true;
  const failing: RecordStore = Object.assign(Object.create(c.store) as RecordStore, {
    append: (change: Parameters<RecordStore["append"]>[0]) =>
      full ? Promise.reject(new Error("database or disk is full")) : c.store.append(change),
    boot: (name: string) => c.store.boot(name),
    log: () => c.store.log(),
  });
  const ingest = createIngest({ store: failing, signer: c.signer, clock: c.clock });
  await expect(ingest({ boot, lines, gap: false, sender: LOCAL })).rejects.toThrow("disk is full");
  full = false;
  expect(await ingest({ boot, lines, gap: false, sender: LOCAL })).toEqual({ kind: "acknowledged", seq: 6 });
});

test("a sign of life keeps a boot running", async () => {
  const c = await fresh();
  const { boot, lines } = await bootOf(() => {});
  await send(c, boot, lines);
  c.clock.now += 60_000;
  await send(c, boot, new Uint8Array(0));
  const check = (aliveMs: number): ReturnType<typeof verifyStore> =>
    verifyStore({ store: c.store, nowMs: c.clock.now + 30_000, aliveMs, publicKey: null, expect: null });
  expect(await check(90_000)).toMatchObject({ ok: true, running: 1 });
  expect((await check(10_000)).findings).toEqual([expect.objectContaining({ kind: "tail", boot, seq: 1 })]);
});
