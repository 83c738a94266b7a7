/**
 * What a collector in a cluster does beside taking batches: measures its room, applies retention, verifies the whole record now and
 * then, answers readers, takes acts, and tells all of it as metrics. Each round is bounded, runs alone, and a fault of one ends none.
 */

import { setImmediate as turn } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { VERSION } from "#contract/version.ts";
import type { Kube } from "#kube/port.ts";
import { fillControlMetrics } from "#process/control-metrics.ts";
import type { Registry } from "#process/metrics.ts";
import { register } from "#process/register-metrics.ts";
import { type ActOptions, recordAct } from "./act.ts";
import { acceptedEnds } from "./coverage.ts";
import type { Finding } from "./ingest.ts";
import type { SenderLimits } from "./limits.ts";
import { COLLECTOR_METRICS } from "./metrics.ts";
import { createReadApi, type ReadApi } from "./read-api.ts";
import { ReadLog } from "./read-log.ts";
import { ReadingFault, ReadThread } from "./read-worker.ts";
import { createReaders } from "./readers.ts";
import { type RetentionRules, retain } from "./retention.ts";
import { Room } from "./room.ts";
import { Rounds } from "./rounds.ts";
import type { ClusterDoor, HttpResponse, ServerOptions } from "./server.ts";
import { Turns } from "./turns.ts";
import { ALIVE_MS, type VerifyReport } from "./verify.ts";

export interface ClusterOptions {
  /** Asked about readers. Null: nobody reads over the network. */
  readonly kube: Kube | null;
  readonly actor: (authorization: string | null) => Promise<string | null>;
  readonly retention: () => RetentionRules;
  /** Bytes that the store may have; 0: what the volume gives. */
  readonly maxBytes: number;
  /** How often retention runs, and the whole record is verified; 0: never. */
  readonly retainEveryMs: number;
  readonly verifyEveryMs: number;
  readonly limits?: SenderLimits;
  readonly registry: Registry;
  /** Starts a thread that answers long readings (read-worker.ts). */
  readonly thread: () => Worker;
  /** When the serving certificate ends, in wall milliseconds. */
  readonly certificateEndsMs: () => number;
  /** Bytes that a volume has left; for tests. */
  readonly available?: (folder: string) => number;
}

export interface ClusterWork {
  readonly door: ClusterDoor;
  readonly answered: NonNullable<ServerOptions["answered"]>;
  room(): boolean;
  stored(records: number, newestMs: number): void;
  found(finding: Finding): void;
  reloaded(what: "certificate" | "keys" | "retention", outcome: "taken" | "refused"): void;
  timed<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface Base extends ActOptions {
  readonly database: string;
  readonly onError: (fault: Error) => void;
}

const MEASURE_EVERY_MS = 5_000;
/** Of so many bytes that came, at least one measure: a volume must not fill up between two of them. */
const MEASURE_EVERY_BYTES = 1024 * 1024;
const COUNT_EVERY_MS = 30_000;
const READINGS_EVERY_MS = 30_000;
const MAX_VERIFY_MS = 3 * 3_600_000;

const Act = Type.Object(
  {
    key: Type.String({ minLength: 1, maxLength: 200 }),
    act: Type.String({ pattern: "^[a-z][a-z-]{0,40}$" }),
    members: Type.Record(Type.String(), Type.Unknown()),
  },
  { additionalProperties: false },
);
const act = Compile(Act);
/** Acts that are the collector's own: what they say, `verify` takes for granted. */
const OWN_ACTS = new Set(["remove", "erase", "accept", "read"]);

export async function startClusterWork(base: Base, options: ClusterOptions): Promise<ClusterWork> {
  const { store, clock, database, onError } = base;
  const metrics = register(options.registry, COLLECTOR_METRICS);
  fillControlMetrics(options.registry, { process: "collector", version: VERSION, startedMs: clock.wallMs() });
  const room = new Room({
    store,
    database,
    maxBytes: options.maxBytes,
    clock,
    ...(options.available === undefined ? {} : { available: options.available }),
  });
  let bytesSince = 0;
  const fault = (where: string, cause: unknown): void => {
    metrics.faults.with(where).add(1);
    onError(new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`));
  };
  const rounds = new Rounds(fault);
  await room.measure();

  const counts = { running: 0, missing: 0 };
  async function count(): Promise<void> {
    const accepted = await acceptedEnds(store);
    const now = clock.wallMs();
    let [running, missing] = [0, 0];
    for (const { boot, seenAt, stopped, lastSeq, subject } of await store.boots()) {
      if (stopped || subject === "collector") continue;
      if (now - seenAt < ALIVE_MS) running++;
      else if ((accepted.get(boot) ?? 0) < lastSeq) missing++;
    }
    Object.assign(counts, { running, missing });
    const gone = (await store.removed()).reduce((sum, { level }) => sum + 2 ** level, 0);
    metrics.kept.with().value = (await store.log()).size - gone;
    metrics.oldest.with().value = ((await store.oldest()) ?? 0) / 1000;
  }
  await count();

  async function applyRetention(): Promise<void> {
    const rules = options.retention();
    metrics.held.with().value = rules.legalHolds.size;
    const removed = await retain(base, rules, () => turn());
    metrics.removed.with("age").add(removed.age);
    metrics.removed.with("size").add(removed.size);
    metrics.retainedAt.with().value = clock.wallMs() / 1000;
    await room.measure();
    turns.retained(removed.age + removed.size);
    if (again) {
      again = false;
      rounds.soon("verify");
    }
    if (removed.overBytes > 0)
      throw new Error(
        `the store is ${removed.overBytes} bytes over its bound, and nothing more may go: legal holds, acts, or lines that are too young`,
      );
  }

  const log = new ReadLog(base, (cause) => fault("read log", cause));
  const reading = new ReadThread(options.thread);
  const verifying = new ReadThread(options.thread);
  /** A verification gave way. */
  let again = false;
  const turns = new Turns({
    pressing() {
      const { secondsLeft, usedBytes } = room.state;
      const { maxBytes } = options.retention();
      return secondsLeft * 1_000 < MAX_VERIFY_MS || (maxBytes > 0 && usedBytes > maxBytes);
    },
    interrupt: () => verifying.interrupt(),
  });
  async function verify(): Promise<void> {
    const question = { kind: "verify", publicKey: base.signer.publicPem, nowMs: clock.wallMs() } as const;
    const asked = verifying.ask(question, MAX_VERIFY_MS);
    turns.verifies(true);
    let report: VerifyReport;
    try {
      report = await asked;
    } catch (cause) {
      if (!(cause instanceof ReadingFault) || cause.code !== "yielded") throw cause;
      again = true;
      return;
    } finally {
      turns.verifies(false);
    }
    const tails = report.findings.filter(({ kind }) => kind === "tail").length;
    metrics.verified.with().value = report.ok ? 1 : 0;
    metrics.verifyFindings.with("tail").value = tails;
    metrics.verifyFindings.with("other").value = report.found - tails;
    metrics.verifiedAt.with().value = clock.wallMs() / 1000;
  }

  rounds.every(MEASURE_EVERY_MS, "room", async () => {
    await room.measure();
    turns.look();
  });
  rounds.every(COUNT_EVERY_MS, "count", count);
  // A verification holds one state of the store: what is removed beside it, the log keeps.
  rounds.everyAlone(options.retainEveryMs, "retention", applyRetention, () => turns.asked());
  rounds.every(READINGS_EVERY_MS, "read log", () => log.tellRepeats());
  rounds.everyAlone(options.verifyEveryMs, "verify", verify);

  options.registry.beforeReading(() => {
    const { usedBytes, limitBytes, full, secondsLeft } = room.state;
    metrics.ready.with().value = full ? 0 : 1;
    metrics.full.with().value = full ? 1 : 0;
    metrics.diskUsed.with().value = usedBytes;
    metrics.diskLimit.with().value = limitBytes;
    metrics.secondsLeft.with().value = secondsLeft;
    metrics.certificate.with().value = options.certificateEndsMs() / 1000;
    metrics.senders.with("running").value = counts.running;
    metrics.senders.with("missing").value = counts.missing;
  });

  const read: ReadApi =
    options.kube === null
      ? () => Promise.resolve({ outcome: "unknown", status: 404, body: { error: "nobody reads here" } })
      : createReadApi({ ...base, readers: createReaders(options.kube, clock), log, thread: reading });

  return {
    door: {
      actor: options.actor,
      act: (actor, text) => takeAct(base, actor, text),
      read,
      readAnswered: (outcome) => metrics.reads.with(outcome).add(1),
      metrics: () => options.registry.text(),
      ready: () => true,
    },
    answered(outcome, bytes) {
      metrics.batches.with(outcome).add(1);
      metrics.bytes.with().add(bytes);
      bytesSince += bytes;
      // Found out by the volume itself: no measure would have been in time.
      if (outcome === "full" || bytesSince >= MEASURE_EVERY_BYTES) {
        bytesSince = 0;
        rounds.soon("room");
      }
    },
    room: () => !room.state.full,
    stored(records, newestMs) {
      metrics.records.with().add(records);
      if (newestMs > 0) metrics.lag.with().observe(Math.max(0, clock.wallMs() - newestMs) / 1000);
    },
    reloaded: (what, outcome) => metrics.reloads.with(what, outcome).add(1),
    found: (finding) => metrics.findings.with(finding).add(1),
    async timed(work) {
      const start = clock.elapsedMs();
      try {
        return await work();
      } finally {
        metrics.store.with().observe((clock.elapsedMs() - start) / 1000);
      }
    },
    async close() {
      await Promise.all([reading.close(), verifying.close()]);
      await rounds.close();
      await log.close();
    },
  };
}

async function takeAct(options: ActOptions, actor: string, text: string): Promise<HttpResponse> {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    given = null;
  }
  if (!act.Check(given) || OWN_ACTS.has(given.act))
    return { status: 400, body: '{"error":"no act of the control plane"}' };
  const { key, act: what, members }: Static<typeof Act> = given;
  const seq = await recordAct(options, what, { ...members, actor }, { key });
  return { status: 200, body: `{"recorded":${seq}}` };
}
