/** `audit.onFull`: what a namespace that must go on does without a record, and what no namespace may. */
import { expect, test } from "vitest";
import { committed, MemoryDisk, op, recorderOn } from "../../test/support/record.ts";
import type { SpooledRecorder } from "./recorder.ts";

const END = { status: "200", ms: 1, bytesUp: 0, bytesDown: 0, masked: 0, attempts: 1 } as const;

async function fill(bench: ReturnType<typeof recorderOn>): Promise<void> {
  for (let n = 0; n < 1_000 && !bench.spool.full; n++) {
    bench.recorder.op(op());
    await committed(bench.recorder);
  }
}

test("allow: operations go on without a line, the spool takes not one byte more, and how many it were is on record afterwards", async () => {
  let allow = false;
  const bench = recorderOn(new MemoryDisk(), { letGo: () => allow }, { maxBytes: 4_000, segmentBytes: 1_000 });
  const { recorder, spool, disk } = bench;
  await fill(bench);
  expect(recorder.refuses(true)).toBe("audit_full");
  allow = true;
  expect(recorder.refuses(false)).toBe(null);
  const used = spool.usedBytes;
  for (let n = 0; n < 5_000; n++) {
    const session = recorder.session({ client: "c", destination: "d", target: null, host: null, port: 1 });
    const seq = recorder.op(op());
    expect([session, seq]).toEqual([0, -1]);
    recorder.end({ op: seq, ...END });
    recorder.closed(session, 1, 1, "client-left");
    expect(recorder.gate.clean).toBe(true);
  }
  expect(await committed(recorder)).toBe(true);
  expect(spool.usedBytes).toBe(used);
  expect((recorder as SpooledRecorder).unrecorded).toBe(5_000);
  // A held operation is never let go: it waits for the collector, and cannot have it.
  expect(await new Promise((resolve) => recorder.stored(-1, resolve))).toBe(false);
  spool.acknowledge(recorder.boot, spool.written, false);
  expect(recorder.op(op())).toBeGreaterThan(0);
  await committed(recorder);
  expect(disk.text()).toMatch(/"note":"lost","count":15000/);
});

test("allow: a collector that lags holds nobody up, and the lines are still written", async () => {
  const { recorder } = recorderOn(new MemoryDisk(), { lag: { records: 3, ms: 30_000 }, letGo: () => true });
  for (let n = 0; n < 5; n++) expect(recorder.op(op())).toBeGreaterThan(0);
  await committed(recorder);
  expect(recorder.refuses(false)).toBe(null);
});

test("allow is not for a disk that fails: nobody knows then what was written", async () => {
  const disk = new MemoryDisk();
  const { recorder } = recorderOn(disk, { letGo: () => true });
  disk.fail = () => new Error("the disk is broken");
  recorder.op(op());
  expect(await committed(recorder)).toBe(false);
  expect(recorder.refuses(true)).toBe("audit_failed");
});

test("a collector that cannot be reached is named as the reason", async () => {
  let away = false;
  const bench = recorderOn(
    new MemoryDisk(),
    { lag: { records: 3, ms: 30_000 }, unavailable: () => away },
    { maxBytes: 4_000 },
  );
  for (let n = 0; n < 4; n++) bench.recorder.op(op());
  await committed(bench.recorder);
  expect(bench.recorder.refuses(false)).toBe("audit_lag");
  away = true;
  expect(bench.recorder.refuses(false)).toBe("audit_unavailable");
  expect(bench.recorder.refuses(true)).toBe(null);
  await fill(bench);
  expect(bench.recorder.refuses(true)).toBe("audit_unavailable");
  away = false;
  expect(bench.recorder.refuses(true)).toBe("audit_full");
});
