/** Builders for tests of the record: a workload, an operation, a disk that can fail, a sink that remembers. */
import { randomBytes } from "node:crypto";
import type { Disk } from "#audit/disk.ts";
import { createRecorder, newBoot, type RecorderOptions } from "#audit/recorder.ts";
import { Spool, type SpoolOptions } from "#audit/spool.ts";
import type { Batch, OpEntry, Recorder, RecordSink, Workload } from "#contract/record.ts";
import type { Clock } from "#core/clock.ts";

export const WORKLOAD: Workload = {
  cluster: "local",
  namespace: "team",
  pod: "agent-1",
  uid: "u-1",
  serviceAccount: "default",
  owner: "",
  creator: "alice",
  node: "",
  labels: {},
  tier: "enforced",
  open: [],
};

export function op(over: Partial<OpEntry> = {}): OpEntry {
  return {
    session: 0,
    phase: "ask",
    parent: null,
    protocol: "http",
    action: "read",
    complete: true,
    preamble: '"v":1,"target":{"name":"billing","host":"billing.example","port":443,"labels":{}},"run":null',
    facts: '"http":{"method":"GET","scheme":"https","host":"billing.example","path":"/v1/invoices/7"}',
    detail: '"agent":"curl"',
    verdict: "allow",
    decision: '"effect":"allow","code":""',
    revision: "r1",
    traceparent: null,
    body: null,
    ...over,
  };
}

export interface TestClock extends Clock {
  now: number;
}

export function testClock(): TestClock {
  const clock = { now: 1_767_225_600_000, wallMs: () => clock.now, elapsedMs: () => clock.now };
  return clock;
}

/** Files in memory. `fail` is asked before each write: an error is thrown, a number writes only so many bytes and then throws. */
export class MemoryDisk implements Disk {
  readonly files = new Map<string, Buffer>();
  readonly #open = new Map<number, string>();
  #next = 3;
  fail: (length: number) => Error | number | null = () => null;
  truncates = true;
  capacity = 2 ** 40;
  writes = 0;

  makeDirectory(): void {}
  openAppend(path: string): number {
    if (!this.files.has(path)) this.files.set(path, Buffer.alloc(0));
    this.#open.set(this.#next, path);
    return this.#next++;
  }
  write(fd: number, bytes: Uint8Array, offset: number, length: number): number {
    this.writes++;
    const path = this.#open.get(fd) ?? "";
    const fault = this.fail(length);
    if (fault instanceof Error) throw fault;
    const taken = fault === null ? length : Math.min(fault, length);
    this.files.set(
      path,
      Buffer.concat([this.files.get(path) ?? Buffer.alloc(0), bytes.subarray(offset, offset + taken)]),
    );
    return taken;
  }
  truncate(fd: number, length: number): void {
    if (!this.truncates) throw new Error("cannot truncate");
    const path = this.#open.get(fd) ?? "";
    this.files.set(path, (this.files.get(path) ?? Buffer.alloc(0)).subarray(0, length));
  }
  close(fd: number): void {
    this.#open.delete(fd);
  }
  read(path: string, into: Uint8Array, position: number): number {
    const file = this.files.get(path);
    if (file === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    return file.subarray(position).copy(into);
  }
  size(path: string): number {
    return this.files.get(path)?.length ?? 0;
  }
  volume(): number {
    return this.capacity;
  }
  list(directory: string): readonly string[] {
    return [...this.files.keys()]
      .filter((p) => p.startsWith(`${directory}/`))
      .map((p) => p.slice(directory.length + 1));
  }
  remove(path: string): void {
    this.files.delete(path);
  }
  /** Everything on the disk, as text. */
  text(): string {
    return [...this.files.keys()]
      .sort()
      .map((p) => (this.files.get(p) ?? Buffer.alloc(0)).toString("utf8"))
      .join("");
  }
}

export interface Bench {
  readonly disk: MemoryDisk;
  readonly clock: TestClock;
  readonly spool: Spool;
  readonly recorder: Recorder;
}

export function recorderOn(
  disk: MemoryDisk,
  over: Partial<RecorderOptions> = {},
  spoolOver: Partial<SpoolOptions> = {},
): Bench {
  const clock = testClock();
  const spool = new Spool({
    directory: "/spool",
    maxBytes: 1 << 20,
    segmentBytes: 64 * 1024,
    disk,
    clock,
    ...spoolOver,
  });
  const recorder = createRecorder({
    spool,
    boot: newBoot(randomBytes),
    workload: WORKLOAD,
    version: "0.0.0",
    clock,
    random: randomBytes,
    lag: null,
    confirm: "spool",
    confirmMs: 1_000,
    ...over,
  });
  return { disk, clock, spool, recorder };
}

/** What the gate says about all lines so far. */
export function committed(recorder: Recorder): Promise<boolean> {
  return new Promise((resolve) => recorder.gate.committed(resolve));
}

/** Takes batches as a collector would, in memory; `down` lets it fail. */
export class MemorySink implements RecordSink {
  readonly batches: Batch[] = [];
  readonly stored = new Map<string, number>();
  down = false;
  /** Answers less than it should, once for each entry. */
  readonly answers: number[] = [];

  async send(batch: Batch): Promise<number> {
    if (this.down) throw new Error("the collector is away");
    const answer = this.answers.shift();
    if (answer !== undefined) return await Promise.resolve(answer);
    const has = this.stored.get(batch.boot) ?? 0;
    if (batch.firstSeq > has + 1 && !batch.gap) return has;
    if (batch.lines.length > 0) this.batches.push({ ...batch, lines: Uint8Array.from(batch.lines) });
    this.stored.set(batch.boot, Math.max(has, batch.lastSeq));
    return Math.max(has, batch.lastSeq);
  }
  async close(): Promise<void> {
    await Promise.resolve();
  }
  text(boot: string): string {
    return this.batches
      .filter((b) => b.boot === boot)
      .map((b) => Buffer.from(b.lines).toString("utf8"))
      .join("");
  }
}
