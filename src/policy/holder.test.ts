import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import type { BundleSource, LoadedPolicy } from "#contract/policy-port.ts";
import { compileTexts, OPA_TIMEOUT_MS, operation, pack, TEST_TRUST } from "../../test/support/policy-texts.ts";
import { type BundleParts, makeRunKey } from "./assemble.ts";
import { type BundleState, type HolderOptions, type RunningHolder, startPolicyHolder } from "./holder.ts";
import type { BundleFault } from "./refusal.ts";
import { createFolderState } from "./state-folder.ts";

let allows: BundleParts;
let denies: BundleParts;
beforeAll(async () => {
  allows = (await compileTexts({ policies: { a: 'allow if input.action == "read"' } })).parts;
  denies = (
    await compileTexts({ policies: { a: 'deny contains {"code": "no", "message": "No."} if input.action == "read"' } })
  ).parts;
}, OPA_TIMEOUT_MS);

/** A source that gives what the test offers, and waits otherwise. */
class Offers implements BundleSource {
  #queue: (Uint8Array | Error)[] = [];
  #wake: (() => void) | null = null;
  #count = 0;
  readonly asked: (string | null)[] = [];

  offer(what: Uint8Array | Error): void {
    this.#queue.push(what);
    this.#wake?.();
  }

  async next(etag: string | null, signal: AbortSignal): Promise<{ etag: string; archive: Uint8Array }> {
    this.asked.push(etag);
    while (this.#queue.length === 0) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#wake = resolve;
      signal.addEventListener("abort", () => reject(signal.reason as Error));
      signal.throwIfAborted();
      await promise;
    }
    const next = this.#queue.shift();
    if (next instanceof Error || next === undefined) throw next ?? new Error("empty");
    return { etag: `e${++this.#count}`, archive: next };
  }
}

type Said = { loaded?: LoadedPolicy; from?: string; refused?: BundleFault; unreachable?: number };

class Log {
  readonly said: Said[] = [];
  #waiting: { count: number; resolve: () => void }[] = [];
  add(entry: Said): void {
    this.said.push(entry);
    for (const { count, resolve } of this.#waiting) if (this.said.length >= count) resolve();
    this.#waiting = this.#waiting.filter(({ count }) => this.said.length < count);
  }
  /** Resolves when so many things have been said. */
  async until(count: number): Promise<Said> {
    if (this.said.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push({ count, resolve });
      await promise;
    }
    return this.said[count - 1] ?? {};
  }
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function start(
  source: BundleSource,
  options: Partial<HolderOptions> = {},
): { holder: RunningHolder; log: Log; slept: number[] } {
  const log = new Log();
  const slept: number[] = [];
  const holder = startPolicyHolder({
    source,
    trust: TEST_TRUST,
    load: { pod: {}, warmUps: 0 },
    state: null,
    clock: { wallMs: () => 1_000, elapsedMs: () => 0 },
    sleep: async (ms) => void slept.push(ms),
    events: {
      loaded: (loaded, from) => log.add({ loaded, from }),
      refused: (refused) => log.add({ refused }),
      unreachable: (_fault, unreachable) => log.add({ unreachable }),
    },
    ...options,
  });
  cleanups.push(() => holder.stop());
  return { holder, log, slept };
}

async function stateFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-state-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test("without a bundle there is no policy; the first one is in force when the holder is ready", async () => {
  const source = new Offers();
  const { holder } = start(source);
  expect(holder.current).toBeNull();
  source.offer(pack(allows));
  await holder.ready;
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "allow" });
});

test("a newer bundle takes the place of the old one, and listeners are told", async () => {
  const source = new Offers();
  const { holder, log } = start(source);
  const told: string[] = [];
  holder.onChange((loaded) => told.push(loaded.revision));
  source.offer(pack(allows, 1));
  await log.until(1);
  source.offer(pack(denies, 2));
  await log.until(2);
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "deny", code: "no" });
  expect(told).toHaveLength(2);
  expect(source.asked.slice(0, 3)).toEqual([null, "e1", "e2"].slice(0, source.asked.length));
});

test("E3: a wrong signature, another scope, a damaged archive and an older sequence are refused, and the last good one serves on", async () => {
  const source = new Offers();
  const { holder, log } = start(source, { trust: { keys: TEST_TRUST.keys, scope: "test" } });
  source.offer(pack(allows, 5));
  await log.until(1);
  const bad: [Uint8Array, string][] = [
    [pack(denies, 6, "other"), "bundle_scope"],
    [pack(denies, 4), "bundle_older"],
    [pack(denies, 5), "bundle_older"],
    [Buffer.from("garbage"), "bundle_malformed"],
    [pack({ ...denies, wasm: Buffer.from("none") }, 7), "bundle_wasm"],
  ];
  for (const [i, [archive, code]] of bad.entries()) {
    source.offer(archive);
    expect((await log.until(2 + i)).refused).toMatchObject({ code });
    expect(holder.current?.decide(operation())).toMatchObject({ effect: "allow" });
  }
  source.offer(pack(denies, 6));
  await log.until(2 + bad.length);
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "deny" });
});

test("E3: a bundle signed with another key is refused", async () => {
  const source = new Offers();
  const { holder, log } = start(source, { trust: { keys: [makeRunKey().trusted], scope: "test" } });
  source.offer(pack(allows));
  expect((await log.until(1)).refused).toMatchObject({ code: "bundle_signature" });
  await holder.ready;
  expect(holder.current).toBeNull();
});

test("a source that cannot be reached is tried again, later and later, and the holder becomes ready without a policy", async () => {
  const source = new Offers();
  const { holder, log, slept } = start(source);
  for (let n = 0; n < 10; n++) source.offer(new Error("unreachable"));
  await holder.ready;
  expect(holder.current).toBeNull();
  source.offer(pack(allows));
  expect((await log.until(11)).loaded).toBeDefined();
  expect(slept).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("after a restart the last good bundle serves at once, while the source is away", async () => {
  const folder = await stateFolder();
  const first = new Offers();
  const before = start(first, { state: createFolderState(folder) });
  first.offer(pack(allows, 5));
  await before.log.until(1);
  await before.holder.stop();

  const { holder, log } = start(new Offers(), { state: createFolderState(folder) });
  expect(await log.until(1)).toMatchObject({ from: "state" });
  await holder.ready;
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "allow" });
});

test("E3: over a restart too an older bundle is refused, also where the kept archive is gone or was swapped", async () => {
  const folder = await stateFolder();
  const first = new Offers();
  const before = start(first, { state: createFolderState(folder) });
  first.offer(pack(allows, 5));
  await before.log.until(1);
  await before.holder.stop();

  await writeFile(path.join(folder, "bundle.tar.gz"), pack(denies, 4));
  const source = new Offers();
  const { holder, log } = start(source, { state: createFolderState(folder) });
  expect((await log.until(1)).refused).toMatchObject({ code: "bundle_older" });
  source.offer(pack(denies, 4));
  expect((await log.until(2)).refused).toMatchObject({ code: "bundle_older" });
  expect(holder.current).toBeNull();
  source.offer(pack(denies, 6));
  expect((await log.until(3)).loaded).toMatchObject({ sequence: 6 });
});

test("a damaged row of sequences is a fault at start, not a new beginning", async () => {
  const folder = await stateFolder();
  const state = createFolderState(folder);
  state.save({ sequence: 5, revision: "r" }, pack(allows, 5));
  await writeFile(path.join(folder, "bundle.row.json"), '{"sequence":"5"}');
  expect(() => start(new Offers(), { state })).toThrow("damaged");
});

test("a bundle whose place in the row cannot be kept is not put in force, and is asked for again", async () => {
  const source = new Offers();
  const state: BundleState = {
    load: () => null,
    save: () => {
      throw new Error("no space left");
    },
  };
  const { holder, log } = start(source, { state });
  source.offer(pack(allows));
  expect((await log.until(1)).unreachable).toBe(250);
  expect(holder.current).toBeNull();
  source.offer(new Error("stop"));
  await log.until(2);
  expect(source.asked[1]).toBeNull();
});

test("the same bundle again changes nothing", async () => {
  const source = new Offers();
  const { holder, log } = start(source);
  source.offer(pack(allows, 1));
  await log.until(1);
  const policy = holder.current;
  source.offer(pack(allows, 1));
  source.offer(pack(denies, 2));
  await log.until(2);
  expect(log.said.map((entry) => entry.loaded?.sequence)).toEqual([1, 2]);
  expect(policy).not.toBeNull();
});

test("what is kept is readable by nobody else", async () => {
  const folder = await stateFolder();
  createFolderState(folder).save({ sequence: 1, revision: "r" }, Buffer.from("x"));
  expect(JSON.parse(await readFile(path.join(folder, "bundle.row.json"), "utf8"))).toEqual({
    sequence: 1,
    revision: "r",
  });
  const { mode } = await import("node:fs/promises").then(({ stat }) => stat(path.join(folder, "bundle.tar.gz")));
  expect(mode & 0o077).toBe(0);
});

test("observation ends by itself at its date, and everybody is told, though no newer bundle comes", async () => {
  const source = new Offers();
  let now = 1_000;
  let wake = (): void => undefined;
  const { holder, log } = start(source, {
    clock: { wallMs: () => now, elapsedMs: () => 0 },
    sleep: (_ms, signal) =>
      new Promise((resolve) => {
        wake = resolve;
        signal.addEventListener("abort", () => resolve());
      }),
  });
  const told: string[] = [];
  holder.onChange((loaded) => told.push(loaded.settings.mode));
  source.offer(pack(observing(denies, 61_000)));
  await log.until(1);
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "allow", would: { effect: "deny" } });
  now = 60_999;
  wake();
  await holder.ready;
  expect(told).toEqual(["observe"]);
  now = 61_000;
  wake();
  expect((await log.until(2)).from).toBe("date");
  expect(told).toEqual(["observe", "enforce"]);
  expect(holder.current?.decide(operation())).toMatchObject({ effect: "deny", would: null });
});

test("a bundle whose observation is over enforces from the start, also one that was kept over a restart", async () => {
  const state = createFolderState(await stateFolder());
  const until = async (wallMs: number, offer: Uint8Array | null): Promise<string> => {
    const source = new Offers();
    const clock = { wallMs: () => wallMs, elapsedMs: () => 0 };
    const { holder, log } = start(source, { state, clock, sleep: () => new Promise(() => undefined) });
    if (offer !== null) source.offer(offer);
    await log.until(1);
    return holder.current?.settings.mode ?? "";
  };
  expect(await until(1_000, pack(observing(denies, 61_000)))).toBe("observe");
  expect(await until(61_000, null)).toBe("enforce");
});

function observing(parts: BundleParts, observeUntilMs: number): BundleParts {
  const settings = { ...parts.metadata.settings, mode: "observe" as const, observeUntilMs };
  return { ...parts, metadata: { ...parts.metadata, settings } };
}
