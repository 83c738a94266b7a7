import { EventEmitter } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createDrain, drainOnSignals } from "./drain.ts";
import { createReadiness } from "./readiness.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const elapsedMs = (): number => Date.now();
const make = (progress?: (waiting: readonly string[]) => void) =>
  createDrain({ limitMs: 10_000, everyMs: 4_000, elapsedMs, ...(progress === undefined ? {} : { progress }) });

describe("a drain", () => {
  test("with nothing open ends at once", async () => {
    await expect(make().begin("SIGTERM")).resolves.toEqual({ why: "SIGTERM", unfinished: [], ms: 0 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("waits for what is open, and ends with the last", async () => {
    const drain = make();
    const [first, second] = [drain.hold("connection"), drain.hold("spool")];
    const end = drain.begin("SIGTERM");
    await vi.advanceTimersByTimeAsync(1_000);
    first.release();
    first.release(); // twice counts once
    await vi.advanceTimersByTimeAsync(1_000);
    second.release();
    await expect(end).resolves.toEqual({ why: "SIGTERM", unfinished: [], ms: 2_000 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("ends at its limit, and names what had not finished", async () => {
    const seen: (readonly string[])[] = [];
    const drain = make((waiting) => seen.push(waiting));
    drain.hold("connection");
    drain.hold("connection");
    drain.hold("spool");
    const end = drain.begin("SIGTERM");
    await vi.advanceTimersByTimeAsync(10_000);
    await expect(end).resolves.toEqual({ why: "SIGTERM", unfinished: ["connection (2)", "spool"], ms: 10_000 });
    expect(seen).toEqual([
      ["connection (2)", "spool"],
      ["connection (2)", "spool"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("tells everybody once, latecomers at once", async () => {
    const drain = make();
    const told: string[] = [];
    drain.onBegin((why) => told.push(`a ${why}`));
    drain.hold("x");
    void drain.begin("SIGTERM");
    void drain.begin("SIGINT");
    drain.onBegin((why) => told.push(`b ${why}`));
    expect(told).toEqual(["a SIGTERM", "b SIGTERM"]);
    expect(drain.begun).toBe(true);
    await vi.advanceTimersByTimeAsync(10_000);
  });

  test("sees what is opened while it goes on", async () => {
    const drain = make();
    const first = drain.hold("request");
    const end = drain.begin("SIGTERM");
    const second = drain.hold("upstream");
    first.release();
    second.release();
    await expect(end).resolves.toMatchObject({ unfinished: [] });
  });

  test("a hold ends with its block", async () => {
    const drain = make();
    {
      using hold = drain.hold("x");
      expect(hold).toBeDefined();
    }
    await expect(drain.begin("x")).resolves.toMatchObject({ unfinished: [] });
  });
});

test("the first signal drains, the second ends at once", async () => {
  const source = new EventEmitter();
  const drain = make();
  const now = vi.fn<() => void>();
  drain.hold("x");
  drainOnSignals(source, drain, now);
  source.emit("SIGTERM");
  expect(drain.begun).toBe(true);
  expect(now).not.toHaveBeenCalled();
  source.emit("SIGINT");
  expect(now).toHaveBeenCalledOnce();
  await vi.advanceTimersByTimeAsync(10_000);
});

describe("readiness", () => {
  test("is not there before all needs are named", () => {
    const readiness = createReadiness();
    expect(readiness.state()).toEqual({ ready: false, waiting: ["start"] });
    readiness.sealed();
    expect(readiness.state()).toEqual({ ready: true });
  });

  test("names what is waited for, also later", () => {
    const readiness = createReadiness();
    const bundle = readiness.need("bundle");
    const trust = readiness.need("trust files");
    readiness.sealed();
    expect(readiness.state()).toEqual({ ready: false, waiting: ["bundle", "trust files"] });
    bundle.release();
    trust.release();
    expect(readiness.state()).toEqual({ ready: true });
    readiness.need("spool");
    expect(readiness.state()).toEqual({ ready: false, waiting: ["spool"] });
  });

  test("does not come back once the process ends", () => {
    const readiness = createReadiness();
    readiness.sealed();
    readiness.end();
    expect(readiness.state()).toEqual({ ready: false, waiting: ["draining"] });
  });

  test("a long list is cut, and says so", () => {
    const readiness = createReadiness();
    readiness.sealed();
    for (let i = 0; i < 25; i++) readiness.need(`need ${i}`);
    const state = readiness.state();
    expect(state.ready ? [] : state.waiting.slice(-1)).toEqual(["and 5 more"]);
  });
});
