import { expect, test, vi } from "vitest";
import { fakeKube } from "../../test/support/kube.ts";
import { electLeader } from "./leader.ts";
import { KubeError } from "./port.ts";

const LEASE = { namespace: "sidegate", name: "controller" };

/** All replicas on one fake clock. */
function setUp() {
  vi.useFakeTimers();
  const kube = fakeKube();
  const clock = { wallMs: () => Date.now(), elapsedMs: () => performance.now() };
  const leading: string[] = [];
  const start = (identity: string, through = kube) => {
    const abort = new AbortController();
    const done = electLeader({
      kube: through,
      lease: LEASE,
      identity,
      clock,
      lead(signal) {
        leading.push(`${identity} leads`);
        signal.addEventListener("abort", () => leading.push(`${identity} stops`));
      },
      onFault: () => undefined,
      signal: abort.signal,
      durationMs: 10_000,
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          setTimeout(resolve, ms);
          signal.addEventListener("abort", () => resolve(), { once: true });
        }),
    });
    return { abort, done };
  };
  return { kube, leading, start };
}

test("one leads; it ends, and the other follows at once", async () => {
  const { leading, start } = setUp();
  const one = start("one");
  await vi.advanceTimersByTimeAsync(100);
  const two = start("two");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(leading).toEqual(["one leads"]);
  one.abort.abort();
  await one.done;
  await vi.advanceTimersByTimeAsync(4_000);
  expect(leading).toEqual(["one leads", "one stops", "two leads"]);
  two.abort.abort();
  await two.done;
  vi.useRealTimers();
});

test("who cannot renew stops before anybody else begins", async () => {
  const { kube, leading, start } = setUp();
  let cut = false;
  const cutOff: typeof kube = {
    ...kube,
    get: (resource, name) => (cut ? Promise.reject(new KubeError(0, "", "unreachable")) : kube.get(resource, name)),
  };
  const one = start("one", cutOff);
  await vi.advanceTimersByTimeAsync(100);
  const two = start("two");
  await vi.advanceTimersByTimeAsync(100);
  cut = true;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(leading).toEqual(["one leads", "one stops", "two leads"]);
  for (const { abort, done } of [one, two]) {
    abort.abort();
    await done;
  }
  vi.useRealTimers();
});
