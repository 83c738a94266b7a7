import { expect, test } from "vitest";
import { committed, MemoryDisk, op, recorderOn } from "../../test/support/record.ts";
import { readBatch } from "./batch.ts";
import { detailHash, genesis, linkParts } from "./chain.ts";
import { SpoolFull } from "./spool.ts";

const lines = (disk: MemoryDisk): string[] => disk.text().trimEnd().split("\n");
const cores = (disk: MemoryDisk): Record<string, unknown>[] =>
  lines(disk)
    .filter((l) => l.startsWith('{"seq":'))
    .map((l) => JSON.parse(l) as Record<string, unknown>);

test("the gate opens only after the line is on disk", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const seq = recorder.op(op());
  expect(recorder.gate.clean).toBe(false);
  expect(disk.text()).not.toContain('"k":"op"');
  expect(await committed(recorder)).toBe(true);
  expect(disk.text()).toContain(`{"seq":${seq},`);
  expect(recorder.gate.clean).toBe(true);
});

test("the same entry again is written the same, with a salt of its own; a changed copy of it is written as it is", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const entry = op();
  recorder.op(entry);
  recorder.op(entry);
  recorder.op({ ...entry, facts: '"http":{"method":"PUT"}', verdict: "deny" });
  await committed(recorder);
  const { commits } = readBatch(Buffer.from(disk.text()));
  const details = commits.flatMap((commit) => [...commit.details.values()]);
  expect(details.map((d) => d.text.includes("PUT"))).toEqual([false, false, true]);
  expect(details[1]?.text).toBe(details[0]?.text);
  expect(details[1]?.salt).not.toBe(details[0]?.salt);
  const ops = cores(disk).filter((c) => c["k"] === "op");
  expect(ops.map((c) => c["verdict"])).toEqual(["allow", "allow", "deny"]);
  expect(ops.map((c) => c["dh"])).toEqual(details.map((d) => detailHash(d.salt, d.text)));
});

test("an entry like another, but for its detail, is written as if it stood alone, its secrets too", async () => {
  const details = [
    '"rest":{"n":1}',
    '"rest":{"text":"password=hunter2-and-more"}',
    "no member",
    '"a":"line\nfeed"',
    `"x":"${"y".repeat(140_000)}"`,
  ];
  const facts = ['"http":{"path":"/a"}', '"http":{"path":"/?token=abcdefghij"}', '"plain":"pwd"'];
  const written = async (alike: boolean): Promise<unknown[]> => {
    const { recorder, disk } = recorderOn(new MemoryDisk());
    for (const fact of facts) {
      const first = { ...op(), facts: fact, detail: "" };
      recorder.op(first);
      for (const detail of details)
        recorder.op({ ...first, kept: undefined, detail, ...(alike ? { like: first } : {}) });
      // What is not like it after all is not taken for it.
      recorder.op({ ...first, kept: undefined, verdict: "deny", ...(alike ? { like: first } : {}) });
    }
    await committed(recorder);
    const { commits } = readBatch(Buffer.from(disk.text()));
    const texts = commits.flatMap((commit) => [...commit.details.values()]).map((d) => d.text);
    return [...texts, ...cores(disk).map(({ verdict, decision, pre }) => JSON.stringify({ verdict, decision, pre }))];
  };
  const alone = await written(false);
  expect(await written(true)).toEqual(alone);
  expect(alone.join("\n")).not.toContain("hunter2");
});

test("how long it took is written to the microsecond", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const took = [0, 0.0004, 0.007, 0.04, 0.5, 1, 1.2345, 12_345.678, -1];
  for (const ms of took) recorder.end({ op: 1, status: "200", ms, bytesUp: 0, bytesDown: 0, masked: 0, attempts: 1 });
  await committed(recorder);
  const ends = cores(disk).filter((c) => c["k"] === "end");
  expect(ends.map((c) => c["ms"])).toEqual([0, 0, 0.007, 0.04, 0.5, 1, 1.235, 12_345.678, 0]);
});

test("a thousand lines of one turn are one write and one commit", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const before = disk.writes;
  for (let i = 0; i < 300; i++) recorder.op(op());
  await committed(recorder);
  expect(disk.writes - before).toBe(1);
  expect(lines(disk).filter((l) => l.startsWith('{"c":'))).toHaveLength(2); // the boot line's, and this one
});

test("a clean gate answers at once", () => {
  const { recorder } = recorderOn(new MemoryDisk());
  const told: boolean[] = [];
  recorder.gate.committed((ok) => told.push(ok));
  expect(told).toEqual([true]);
});

test("numbers have no hole, and the chain links every commit to the boot's name", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const session = recorder.session({ client: "a:1", destination: "b:2", target: null, host: null, port: 2 });
  for (let i = 0; i < 20; i++) {
    const seq = recorder.op(op({ session }));
    recorder.end({ op: seq, status: "200", ms: 1.5, bytesUp: 1, bytesDown: 2, masked: 0, attempts: 1 });
    if (i % 3 === 0) await committed(recorder);
  }
  recorder.fold({ op: 3, count: 7, what: "billing not_allowed" });
  recorder.note("finding", '"what":"x"');
  recorder.closed(session, 1, 2, "client-left");
  await recorder.stop("drained");
  const { commits, complete } = readBatch(Buffer.from(disk.text()));
  expect(complete).toBe(true);
  let chain = genesis(recorder.boot);
  let seq = 0;
  for (const commit of commits) {
    expect(linkParts(chain, commit.coreBytes)).toBe(commit.hash);
    chain = commit.hash;
    for (const core of commit.cores) expect(core.seq).toBe(++seq);
    expect(commit.lastSeq).toBe(seq);
  }
  expect(cores(disk).map((c) => c["k"])).toContain("fold");
  expect(cores(disk).at(-1)).toMatchObject({ k: "stop", why: "drained" });
});

test("the core carries the salted hash of its detail, and nothing of the detail itself", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const seq = recorder.op(op({ facts: '"http":{"path":"/people/erika"}', detail: "" }));
  await committed(recorder);
  const [commit] = readBatch(Buffer.from(disk.text())).commits.slice(-1);
  const core = cores(disk).at(-1);
  const detail = commit?.details.get(seq);
  expect(JSON.stringify(core)).not.toContain("erika");
  expect(detail?.text).toBe('{"http":{"path":"/people/erika"}}');
  expect(detailHash(detail?.salt ?? "", detail?.text ?? "")).toBe(core?.["dh"]);
});

test("equal details have different hashes", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  for (let i = 0; i < 600; i++) recorder.op(op());
  await committed(recorder);
  const hashes = cores(disk).flatMap((c) => (c["k"] === "op" ? [c["dh"]] : []));
  expect(new Set(hashes).size).toBe(600);
});

test("a text with a line feed cannot forge a line", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  const forged = '"a":1}\n{"c":99,"h":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n{"d":1,"x":{"b":1';
  recorder.op(op({ facts: forged, preamble: forged, decision: forged }));
  recorder.note("n", forged);
  await committed(recorder);
  const { commits, complete } = readBatch(Buffer.from(disk.text()));
  expect(complete).toBe(true);
  expect(commits.map((c) => c.lastSeq)).toEqual([1, 3]);
  expect(commits.every((c) => c.strays === 0)).toBe(true);
  for (const line of lines(disk)) expect(() => JSON.parse(line) as unknown).not.toThrow();
});

test("a detail that is too long is left out, and its length said", async () => {
  const { recorder, disk } = recorderOn(new MemoryDisk());
  recorder.op(op({ facts: `"x":"${"y".repeat(200_000)}"`, detail: "" }));
  await committed(recorder);
  expect(disk.text()).toContain('"x":{"omitted":200006}');
});

test("a failing disk opens no gate, refuses, and loses no number when it is back", async () => {
  const { recorder, disk, clock } = recorderOn(new MemoryDisk());
  disk.fail = () => new Error("EIO");
  const first = recorder.op(op());
  expect(await committed(recorder)).toBe(false);
  expect(recorder.refuses(true)).toBe("audit_failed");
  expect(recorder.gate.clean).toBe(false);
  const tries = disk.writes;
  expect(await committed(recorder)).toBe(false);
  expect(disk.writes, "a failing disk is not tried in every turn").toBe(tries);
  disk.fail = () => null;
  clock.now += 100;
  const second = recorder.op(op());
  expect(await committed(recorder)).toBe(true);
  expect(second).toBe(first + 1);
  expect(recorder.refuses(true)).toBe(null);
  const { commits } = readBatch(Buffer.from(disk.text()));
  expect(commits.flatMap((c) => c.cores.map((l) => l.seq))).toEqual([1, 2, 3]);
});

test("a full disk in the middle of a write leaves whole commits only", async () => {
  for (const truncates of [true, false]) {
    const disk = new MemoryDisk();
    const { recorder, clock } = recorderOn(disk);
    disk.truncates = truncates;
    let calls = 0;
    disk.fail = () => (calls++ === 0 ? 20 : new Error("ENOSPC"));
    recorder.op(op());
    expect(await committed(recorder)).toBe(false);
    disk.fail = () => null;
    clock.now += 100;
    recorder.op(op());
    expect(await committed(recorder)).toBe(true);
    // Where the torn file could not be cut, another was begun.
    expect(disk.files.size).toBe(truncates ? 1 : 2);
    const last = [...disk.files.keys()].sort().at(-1) ?? "";
    const { commits, complete } = readBatch(disk.files.get(last) ?? Buffer.alloc(0));
    expect(complete).toBe(true);
    expect(commits.at(-1)?.lastSeq).toBe(3);
  }
});

test("a disk that stays away costs bounded memory, and the record says how many lines it lost", async () => {
  const { recorder, disk, clock } = recorderOn(new MemoryDisk(), {}, { maxBytes: 1 << 30 });
  disk.fail = () => new Error("EIO");
  const big = op({ detail: `"x":"${"y".repeat(120_000)}"` });
  let refused = 0;
  for (let i = 0; i < 100; i++) if (recorder.op(big) === 0) refused++;
  expect(refused).toBeGreaterThan(50);
  expect(await committed(recorder)).toBe(false);
  disk.fail = () => null;
  clock.now += 100;
  recorder.closed(0, 0, 0, "x"); // too much is kept to take even this
  await committed(recorder);
  recorder.closed(0, 0, 0, "y");
  expect(await committed(recorder)).toBe(true);
  expect(cores(disk).find((c) => c["note"] === "lost")).toMatchObject({ count: refused + 1 });
});

test("a full spool refuses everything, but still takes the outcome of what was permitted", async () => {
  const { recorder, spool, disk } = recorderOn(new MemoryDisk(), {}, { maxBytes: 4_000 });
  const seq = recorder.op(op());
  while (!spool.full) {
    recorder.op(op());
    await committed(recorder);
  }
  expect(recorder.refuses(true)).toBe("audit_full");
  expect(recorder.refuses(false)).toBe("audit_full");
  recorder.end({ op: seq, status: "200", ms: 1, bytesUp: 0, bytesDown: 0, masked: 0, attempts: 1 });
  expect(await committed(recorder)).toBe(true);
  expect(disk.text()).toContain('"k":"end"');
});

test("THREATS E7: a spool filled up with denials keeps room for outcomes, and says how many denials it left out", async () => {
  const { recorder, spool, disk } = recorderOn(new MemoryDisk(), {}, { maxBytes: 4_000, segmentBytes: 2_000 });
  const permitted = recorder.op(op());
  let left = 0;
  for (let i = 0; i < 5_000; i++) {
    if (recorder.op(op({ verdict: "deny" })) === 0) left++;
    await committed(recorder);
  }
  expect(recorder.refuses(true)).toBe("audit_full");
  expect(spool.usedBytes).toBeLessThan(6_000);
  recorder.end({ op: permitted, status: "200", ms: 1, bytesUp: 0, bytesDown: 0, masked: 0, attempts: 1 });
  expect(await committed(recorder)).toBe(true);
  expect(disk.text()).toContain('"k":"end"');
  spool.acknowledge(recorder.boot, spool.written, false);
  expect(recorder.refuses(false)).toBe(null);
  recorder.op(op({ verdict: "deny" }));
  await committed(recorder);
  expect(cores(disk).find((c) => c["note"] === "lost")).toMatchObject({ count: left });
});

test("beyond its reserve the spool takes nothing at all", () => {
  const { spool } = recorderOn(new MemoryDisk(), {}, { maxBytes: 1_000 });
  expect(() => spool.append(Buffer.alloc(2 << 20), 0, 2 << 20, 2, 3)).toThrow(SpoolFull);
});

test("THREATS E7: while the collector is behind, only reads go on", async () => {
  const { recorder, spool, clock } = recorderOn(new MemoryDisk(), { lag: { records: 10, ms: 30_000 } });
  for (let i = 0; i < 9; i++) recorder.op(op());
  await committed(recorder);
  expect(recorder.refuses(false)).toBe("audit_lag");
  expect(recorder.refuses(true)).toBe(null);
  spool.acknowledge(recorder.boot, 5, false);
  expect(recorder.refuses(false)).toBe(null);
  clock.now += 30_001;
  expect(recorder.refuses(false)).toBe("audit_lag");
  spool.acknowledge(recorder.boot, 10, false);
  expect(recorder.refuses(false)).toBe(null);
});

test("THREATS E7: in tier locked the gate waits until the collector has the record", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk(), { confirm: "collector" });
  const seq = recorder.op(op());
  const told: boolean[] = [];
  recorder.gate.committed((ok) => told.push(ok));
  await new Promise((resolve) => setImmediate(resolve));
  expect(spool.written).toBe(seq);
  expect(told).toEqual([]);
  expect(recorder.gate.clean).toBe(false);
  spool.acknowledge(recorder.boot, seq, false);
  expect(told).toEqual([true]);
  expect(recorder.gate.clean).toBe(true);
});

test("THREATS E7: a held operation waits for the collector, and not for ever", async () => {
  const { recorder, spool, clock } = recorderOn(new MemoryDisk(), { confirmMs: 1 });
  const first = recorder.op(op());
  const ref = setInterval(() => {}, 1_000); // the recorder's own timer keeps no process alive
  const late = new Promise<boolean>((resolve) => recorder.stored(first, resolve));
  clock.now += 10;
  expect(await late).toBe(false);
  clearInterval(ref);
  const second = recorder.op(op());
  await committed(recorder);
  spool.acknowledge(recorder.boot, second, false);
  const told: boolean[] = [];
  recorder.stored(second, (ok) => told.push(ok));
  recorder.stored(0, (ok) => told.push(ok));
  expect(told).toEqual([true, false]);
});
