/**
 * Killing any process loses nothing of the record: a writer killed in the middle of a thousand operations, and a collector
 * killed again and again meanwhile. Every operation that was let through is on record, once.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { type VerifyReport, verifyStore } from "../../src/collector/verify.ts";
import type { FromWriter } from "./audit-writer.ts";

const children = new Set<ChildProcess>();
let folder = "";
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
  rmSync(folder, { recursive: true, force: true });
});

function makeFolder(): void {
  folder = mkdtempSync(path.join(tmpdir(), "audit-crash-"));
}
const at = (name: string): string => path.join(folder, name);

function start(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const child = fork(new URL(script, import.meta.url), [...args], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { PATH: process.env["PATH"], ...env },
    execArgv: [],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

async function collector(): Promise<ChildProcess> {
  const child = start("../../cmd/collector.ts", [], {
    SIDEGATE_AUDIT_DB: at("audit.db"),
    SIDEGATE_COLLECTOR_SOCKET: at("collector.sock"),
  });
  const [ready] = (await Promise.race([once(child, "message"), once(child, "exit")])) as unknown[];
  expect(ready).toEqual({ kind: "ready" });
  return child;
}

class Writer {
  readonly child: ChildProcess;
  #forwarded = 0;
  #drained = false;
  #waiting: (() => void)[] = [];

  constructor(count: number, paced = "") {
    this.child = start("./audit-writer.ts", [at("spool"), at("collector.sock"), at("forwarded"), String(count), paced]);
    this.child.setMaxListeners(0);
    this.child.on("message", (message: FromWriter) => {
      if ("forwarded" in message) this.#forwarded = message.forwarded;
      else this.#drained = message.drained;
      for (const look of this.#waiting.splice(0)) look();
    });
  }

  async forwarded(count: number): Promise<void> {
    while (this.#forwarded < count) await this.#more();
  }
  async drained(): Promise<void> {
    while (!this.#drained) await this.#more();
  }
  goOn(): void {
    this.child.send("go on");
  }
  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.child.once("exit", (code, signal) => reject(new Error(`the writer ended: ${code ?? signal}`)));
    });
  }
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

interface Outcome {
  readonly forwarded: readonly string[];
  /** Ids of operations in the store, each as often as it stands there. */
  readonly recorded: readonly string[];
  readonly report: VerifyReport;
}

async function outcome(): Promise<Outcome> {
  const store = openSqlite(at("audit.db"), "read");
  try {
    const found = await store.find({ limit: 100_000 });
    const report = await verifyStore({
      store,
      nowMs: Date.now() + 3_600_000,
      aliveMs: 1,
      publicKey: null,
      expect: null,
    });
    const text = existsSync(at("forwarded")) ? readFileSync(at("forwarded"), "utf8") : "";
    // The file's own last line may be torn by the kill.
    const forwarded = text
      .slice(0, text.lastIndexOf("\n") + 1)
      .split("\n")
      .filter((id) => id !== "");
    return { forwarded, recorded: found.map((f) => `${f.boot}-${f.seq}`), report };
  } finally {
    await store.close();
  }
}

function expectOnce({ forwarded, recorded }: Outcome): void {
  const on = new Set(recorded);
  expect(recorded).toHaveLength(on.size);
  expect(forwarded.filter((id) => !on.has(id))).toEqual([]);
}

test.each([150, 450, 850])(
  "kill -9 of the writer after %i of 1,000 operations: each that went on is on record, once",
  async (after) => {
    makeFolder();
    const taking = await collector();
    const first = new Writer(1_000, "paced");
    for (let done = 100; done < after; done += 100) {
      await first.forwarded(done);
      first.goOn();
    }
    await first.forwarded(after);
    await kill(first.child);
    const second = new Writer(0); // the restarted sidecar ships what the killed one left
    await second.drained();
    await spoolEmpty();
    await kill(taking);
    const result = await outcome();
    expect(result.forwarded.length).toBeGreaterThanOrEqual(after);
    expectOnce(result);
    // The killed boot's missing end is named; nothing else is wrong.
    expect(new Set(result.report.findings.map((f) => f.kind))).toEqual(new Set(["tail"]));
  },
);

test("kill -9 of the collector, again and again: each of 1,000 operations is on record, once", async () => {
  makeFolder();
  let taking = await collector();
  const only = new Writer(1_000, "paced");
  for (let done = 100; done < 1_000; done += 100) {
    await only.forwarded(done);
    // Half of the operations find no collector at all.
    if (done % 200 === 0) taking = await collector();
    else await kill(taking);
    only.goOn();
  }
  taking = await collector();
  await only.drained();
  await kill(taking);
  const result = await outcome();
  expect(result.forwarded).toHaveLength(1_000);
  expect(result.recorded).toHaveLength(1_000);
  expectOnce(result);
  expect(result.report.findings).toEqual([]);
  expect(readdirSync(at("spool"))).toEqual([]);
});

test("both killed in the middle: a new pair brings everything together", async () => {
  makeFolder();
  const taking = await collector();
  const first = new Writer(1_000, "paced");
  await first.forwarded(100);
  first.goOn();
  await kill(taking);
  await first.forwarded(200);
  first.goOn();
  await first.forwarded(250);
  await kill(first.child);
  const again = await collector();
  const second = new Writer(50);
  await second.drained();
  await spoolEmpty();
  await kill(again);
  const result = await outcome();
  expectOnce(result);
  expect(result.forwarded.length).toBeGreaterThanOrEqual(300);
});

/** Old boots are shipped in the background; nothing tells when. */
async function spoolEmpty(): Promise<void> {
  while (readdirSync(at("spool")).some((name) => name.endsWith(".ndjson"))) await new Promise((r) => setTimeout(r, 5));
}
