/** A collector's store in memory or in a file, filled by a real recorder through the real ingest. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createRecorder, newBoot } from "#audit/recorder.ts";
import { Spool } from "#audit/spool.ts";
import type { Recorder, Workload } from "#contract/record.ts";
import { createSigner, type Signer } from "../../src/collector/checkpoint.ts";
import { createIngest, type Finding, type Ingest, type Sender } from "../../src/collector/ingest.ts";
import type { RecordStore } from "../../src/collector/store/port.ts";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { committed, MemoryDisk, type TestClock, testClock, WORKLOAD } from "./record.ts";

export const LOCAL: Sender = { subject: "local", claims: null };

export function newSigner(): Signer {
  return createSigner(generateKeyPairSync("ed25519").privateKey);
}

export interface Collected {
  readonly store: RecordStore;
  readonly signer: Signer;
  readonly clock: TestClock;
  readonly ingest: Ingest;
  readonly findings: { readonly finding: Finding; readonly boot: string; readonly seq: number }[];
}

export async function collecting(store: RecordStore, signer = newSigner()): Promise<Collected> {
  await store.setPublicKey(signer.publicPem);
  const clock = testClock();
  const findings: { finding: Finding; boot: string; seq: number }[] = [];
  const onFinding = (finding: Finding, boot: string, seq: number): void => void findings.push({ finding, boot, seq });
  return { store, signer, clock, findings, ingest: createIngest({ store, signer, clock, onFinding }) };
}

/** What one boot writes, as bytes of its spool. `each` is called between commits. */
export async function bootOf(
  write: (recorder: Recorder, commit: () => Promise<void>) => Promise<void> | void,
  workload: Workload = WORKLOAD,
): Promise<{ readonly boot: string; readonly lines: Buffer }> {
  const disk = new MemoryDisk();
  const clock = testClock();
  const spool = new Spool({ directory: "/s", maxBytes: 1 << 26, segmentBytes: 1 << 26, disk, clock });
  const recorder = createRecorder({
    spool,
    boot: newBoot(randomBytes),
    workload,
    version: "0.0.0",
    clock,
    random: randomBytes,
    lag: null,
    confirm: "spool",
    confirmMs: 1_000,
  });
  await write(recorder, async () => void (await committed(recorder)));
  await committed(recorder);
  return { boot: recorder.boot, lines: Buffer.from(disk.text()) };
}

/** A SQLite store in a folder of its own; `remove` takes both away. */
export function temporaryStore(): {
  readonly store: RecordStore;
  readonly file: string;
  readonly remove: () => Promise<void>;
} {
  const folder = mkdtempSync(path.join(tmpdir(), "collected-"));
  const file = path.join(folder, "audit.db");
  const store = openSqlite(file, "write");
  return {
    store,
    file,
    remove: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
