import { afterEach, expect, test } from "vitest";
import { committed, MemoryDisk, MemorySink, op, recorderOn } from "../../test/support/record.ts";
import { readBatch } from "./batch.ts";
import { type Shipper, type ShipperOptions, startShipper } from "./shipper.ts";
import type { Spool } from "./spool.ts";

const open: Shipper[] = [];
afterEach(async () => {
  for (const shipper of open.splice(0)) await shipper.close();
});

function ship(spool: Spool, sink: MemorySink, over: Partial<ShipperOptions> = {}): Shipper {
  const shipper = startShipper({ spool, sink, lingerMs: 1, backoffMs: [1, 4], aliveMs: 0, chance: () => 0.5, ...over });
  open.push(shipper);
  return shipper;
}

const seqs = (sink: MemorySink, boot: string): number[] =>
  readBatch(Buffer.from(sink.text(boot))).commits.flatMap((c) => c.cores.map((l) => l.seq));
const range = (to: number): number[] => Array.from({ length: to }, (_, i) => i + 1);

test("everything arrives once, in order, and leaves the disk", async () => {
  const { recorder, spool, disk } = recorderOn(new MemoryDisk(), {}, { segmentBytes: 8_000 });
  const sink = new MemorySink();
  const shipper = ship(spool, sink, { batchBytes: 5_000 });
  for (let i = 0; i < 200; i++) {
    recorder.op(op());
    if (i % 7 === 0) await committed(recorder);
  }
  await recorder.stop("done");
  expect(await shipper.drain(5_000)).toBe(true);
  expect(seqs(sink, recorder.boot)).toEqual(range(202));
  expect(sink.batches.length).toBeGreaterThan(5);
  spool.close();
  expect(disk.files.size).toBe(0);
});

test("after the collector was away, nothing is missing and trouble is told once", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk());
  const sink = new MemorySink();
  sink.down = true;
  const told: (string | null)[] = [];
  const back = new Promise<void>((resolve) => {
    const shipper = ship(spool, sink, {
      onTrouble: (cause) => {
        told.push(cause?.message ?? null);
        if (cause === null) resolve();
        else {
          recorder.op(op());
          setImmediate(() => setImmediate(() => (sink.down = false)));
        }
      },
    });
    void shipper.drain(5_000);
  });
  await back;
  expect(told).toEqual(["the collector is away", null]);
  expect(seqs(sink, recorder.boot)).toEqual(range(2));
});

test("what a killed sidecar left is shipped by the next one, without its torn end", async () => {
  const disk = new MemoryDisk();
  const first = recorderOn(disk);
  for (let i = 0; i < 30; i++) first.recorder.op(op());
  await committed(first.recorder);
  const [path] = [...disk.files.keys()];
  const whole = disk.files.get(path ?? "") ?? Buffer.alloc(0);
  // The kill came in the middle of a write: half a commit, and half a line.
  disk.files.set(
    path ?? "",
    Buffer.concat([whole, Buffer.from('{"seq":32,"t":1,"k":"op"}\n{"d":32,"salt":"abc","x":{"a"')]),
  );
  const second = recorderOn(disk);
  second.recorder.op(op());
  const sink = new MemorySink();
  const shipper = ship(second.spool, sink);
  await committed(second.recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  while (disk.files.size > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(seqs(sink, first.recorder.boot)).toEqual(range(31));
  expect(seqs(sink, second.recorder.boot)).toEqual(range(2));
  expect(disk.files.has(path ?? "")).toBe(false);
});

test("boots of other living processes are left alone", () => {
  const disk = new MemoryDisk();
  const theirs = recorderOn(disk);
  const mine = recorderOn(disk, {}, { foreign: (boot) => boot === theirs.recorder.boot });
  expect(mine.spool.boots()).toEqual([mine.recorder.boot]);
});

test("a collector that has less than we thought gets it again", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk());
  const sink = new MemorySink();
  const shipper = ship(spool, sink);
  recorder.op(op());
  await committed(recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  sink.stored.clear(); // its store is gone; our lines are still there
  sink.batches.length = 0;
  recorder.op(op());
  await committed(recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  expect(seqs(sink, recorder.boot)).toEqual(range(3));
  expect(sink.batches.some((b) => b.gap)).toBe(false);
});

test("where the older lines are gone too, it goes on with a hole that it says", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk(), {}, { segmentBytes: 1_000 });
  const sink = new MemorySink();
  const shipper = ship(spool, sink);
  for (let i = 0; i < 6; i++) {
    recorder.op(op());
    await committed(recorder);
  }
  expect(await shipper.drain(5_000)).toBe(true);
  sink.stored.clear();
  sink.batches.length = 0;
  recorder.op(op());
  await committed(recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  expect(sink.batches[0]?.gap).toBe(true);
  expect(seqs(sink, recorder.boot).at(-1)).toBe(8);
});

test("a commit longer than a batch still goes whole", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk(), {}, { maxBytes: 1 << 24, segmentBytes: 1 << 22 });
  const sink = new MemorySink();
  const shipper = ship(spool, sink, { batchBytes: 512 });
  for (let i = 0; i < 500; i++) recorder.op(op());
  await committed(recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  expect(seqs(sink, recorder.boot)).toEqual(range(501));
});

test("a spool file that somebody removed is a hole, not a standstill", async () => {
  const { recorder, spool, disk } = recorderOn(new MemoryDisk());
  recorder.op(op());
  await committed(recorder);
  disk.files.clear();
  const sink = new MemorySink();
  const shipper = ship(spool, sink);
  await shipper.drain(20);
  recorder.op(op());
  await committed(recorder);
  expect(await shipper.drain(5_000)).toBe(true);
  expect(sink.batches[0]).toMatchObject({ gap: true, firstSeq: 3 });
});

test("an idle sidecar says that it lives", async () => {
  const { spool } = recorderOn(new MemoryDisk());
  const sink = new MemorySink();
  const alive = new Promise<number>((resolve) => {
    const send = sink.send.bind(sink);
    sink.send = (batch) => {
      if (batch.lines.length === 0) resolve(batch.lastSeq);
      return send(batch);
    };
  });
  ship(spool, sink, { aliveMs: 5 });
  const ref = setInterval(() => {}, 1_000);
  expect(await alive).toBe(1);
  clearInterval(ref);
});

test("what comes while a batch is under way is collected, and not sent as fast as the collector answers", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk());
  const sink = new MemorySink();
  const arrived = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const slow = {
    send: async (batch: Parameters<MemorySink["send"]>[0]) => {
      arrived.resolve();
      await goOn.promise;
      return sink.send(batch);
    },
    close: () => sink.close(),
  };
  const shipper = startShipper({ spool, sink: slow, lingerMs: 3_600_000, aliveMs: 0 });
  open.push(shipper);
  await arrived.promise;
  for (let i = 0; i < 5; i++) {
    recorder.op(op());
    await committed(recorder);
  }
  goOn.resolve();
  while (sink.batches.length === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(sink.batches).toHaveLength(1);
  expect(await shipper.drain(5_000)).toBe(true);
  expect(sink.batches).toHaveLength(2);
  expect(seqs(sink, recorder.boot)).toEqual(range(6));
});

test("where many lines wait, nothing lingers", async () => {
  const { recorder, spool } = recorderOn(new MemoryDisk());
  const sink = new MemorySink();
  ship(spool, sink, { lingerMs: 3_600_000 });
  while (sink.batches.length === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 1_000; i++) {
    recorder.op(op());
    if (i % 50 === 0) await committed(recorder);
  }
  await committed(recorder);
  while (spool.written - spool.acknowledged >= 400) await new Promise((resolve) => setImmediate(resolve));
  expect(sink.batches.length).toBeLessThan(12);
});
