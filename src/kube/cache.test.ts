import { afterEach, expect, test } from "vitest";
import { fakeKube } from "../../test/support/kube.ts";
import { startCache } from "./cache.ts";
import { RESOURCE } from "./resources.ts";

let abort = new AbortController();
afterEach(() => {
  abort.abort();
  abort = new AbortController();
});

const service = (name: string, value = "1", namespace = "a") => ({ metadata: { namespace, name, labels: { value } } });

function setUp(maxEntries = 10_000) {
  const kube = fakeKube();
  const heard: string[] = [];
  const faults: unknown[] = [];
  let told = (): void => undefined;
  const start = () =>
    startCache<string>({
      kube,
      resource: RESOURCE.service,
      project: ({ metadata }) => metadata.labels?.["value"] ?? null,
      onChange: (key, value) => {
        heard.push(`${key}=${value ?? "gone"}`);
        told();
      },
      onFault: (fault) => {
        faults.push(fault);
        told();
      },
      maxEntries,
      signal: abort.signal,
    });
  const until = async (enough: () => boolean): Promise<void> => {
    while (!enough())
      await new Promise<void>((resolve) => {
        told = resolve;
      });
  };
  return { kube, heard, faults, start, until };
}

test("everything that is there is listed, page by page, and what happens later is heard", async () => {
  const { kube, heard, start, until } = setUp();
  kube.seed(
    RESOURCE.service,
    Array.from({ length: 1_200 }, (_, n) => service(`s${n}`)),
  );
  const cache = start();
  await cache.synced;
  expect(cache.entries.size).toBe(1_200);
  expect(kube.calls.get("list services")).toBe(3);
  while ((kube.calls.get("watch services") ?? 0) === 0) await Promise.resolve();
  await kube.patch(RESOURCE.service, { namespace: "a", name: "s1" }, { metadata: { labels: { value: "2" } } });
  await kube.remove(RESOURCE.service, { namespace: "a", name: "s2" });
  await until(() => heard.includes("a/s2=gone"));
  expect([cache.get("a/s1"), cache.get("a/s2")]).toEqual(["2", undefined]);
});

test("what went away while nobody watched is noticed by the next listing", async () => {
  const { kube, heard, start, until } = setUp();
  kube.seed(RESOURCE.service, [service("stays"), service("goes")]);
  const cache = start();
  await cache.synced;
  while ((kube.calls.get("watch services") ?? 0) === 0) await Promise.resolve();
  kube.endWatches(true);
  await kube.remove(RESOURCE.service, { namespace: "a", name: "goes" });
  await until(() => heard.includes("a/goes=gone"));
  expect([...cache.entries.keys()]).toEqual(["a/stays"]);
});

test("more objects than the bound are a fault told once, not memory; the others go on, and there is room again later", async () => {
  const { kube, faults, heard, start, until } = setUp(3);
  kube.seed(
    RESOURCE.service,
    Array.from({ length: 9 }, (_, n) => service(`s${n}`)),
  );
  const cache = start();
  await cache.synced;
  expect(cache.entries.size).toBe(3);
  expect(faults.map(String)).toEqual([expect.stringContaining("more than 3 services")]);
  while ((kube.calls.get("watch services") ?? 0) === 0) await Promise.resolve();
  await kube.patch(RESOURCE.service, { namespace: "a", name: "s8" }, { metadata: { labels: { value: "2" } } });
  await kube.patch(RESOURCE.service, { namespace: "a", name: "s1" }, { metadata: { labels: { value: "2" } } });
  await until(() => heard.includes("a/s1=2"));
  expect(faults).toHaveLength(1);
  for (let n = 2; n < 8; n++) await kube.remove(RESOURCE.service, { namespace: "a", name: `s${n}` });
  await until(() => heard.includes("a/s2=gone"));
  kube.endWatches();
  await until(() => heard.includes("a/s8=2"));
  expect([...cache.entries.keys()].sort()).toEqual(["a/s0", "a/s1", "a/s8"]);
  expect(faults).toHaveLength(1);
});

test("with fair shares the namespace with the most is left out as a whole and named, whoever comes last; when it has fewer it is back", async () => {
  const kube = fakeKube();
  const left: string[][] = [];
  const faults: string[] = [];
  const of = (namespace: string, from: number, count: number) =>
    Array.from({ length: count }, (_, n) => service(`s${from + n}`, "1", namespace));
  kube.seed(RESOURCE.service, [...of("big", 0, 6), ...of("own", 0, 9)]);
  let told = (): void => undefined;
  const cache = startCache<string>({
    kube,
    resource: RESOURCE.service,
    project: ({ metadata }) => metadata.labels?.["value"] ?? null,
    onChange: () => told(),
    onFault: (fault) => void faults.push(String(fault)),
    maxEntries: 17,
    fair: {
      spared: "own",
      onLeftOut(namespaces) {
        left.push([...namespaces]);
        told();
      },
    },
    signal: abort.signal,
  });
  const until = async (enough: () => boolean): Promise<void> => {
    while (!enough())
      await new Promise<void>((resolve) => {
        told = resolve;
      });
  };
  await cache.synced;
  expect([cache.entries.size, left]).toEqual([15, []]);
  while ((kube.calls.get("watch services") ?? 0) === 0) await Promise.resolve();
  for (const one of of("small", 0, 3)) await kube.create(RESOURCE.service, one);
  await until(() => cache.get("small/s2") !== undefined);
  expect(left).toEqual([["big"]]);
  expect(faults).toEqual([expect.stringContaining("none of namespace big is seen")]);
  expect([...cache.entries.keys()].filter((key) => key.startsWith("big/"))).toEqual([]);
  // What it makes meanwhile is not kept, and what it takes away is found out by the next listing.
  for (const one of of("big", 6, 1)) await kube.create(RESOURCE.service, one);
  for (let n = 0; n < 2; n++) await kube.remove(RESOURCE.service, { namespace: "big", name: `s${n}` });
  kube.endWatches();
  await until(() => left.length === 2);
  expect(left[1]).toEqual([]);
  expect(cache.entries.size).toBe(17);
  expect(faults).toHaveLength(1);
});

test("a large object counts for many: it is the namespace with the most text that is left out, also when one of its objects grows", async () => {
  const kube = fakeKube();
  const left: string[][] = [];
  kube.seed(RESOURCE.service, [
    ...Array.from({ length: 4 }, (_, n) => service(`s${n}`, "1", "many")),
    service("one", "3", "large"),
  ]);
  let told = (): void => undefined;
  const cache = startCache<string>({
    kube,
    resource: RESOURCE.service,
    project: ({ metadata }) => metadata.labels?.["value"] ?? null,
    units: Number,
    onChange: () => told(),
    onFault: () => undefined,
    maxEntries: 8,
    fair: {
      spared: "",
      onLeftOut(namespaces) {
        left.push([...namespaces]);
        told();
      },
    },
    signal: abort.signal,
  });
  await cache.synced;
  while ((kube.calls.get("watch services") ?? 0) === 0) await Promise.resolve();
  expect([cache.entries.size, left]).toEqual([5, []]);
  const heard = new Promise<void>((resolve) => {
    told = () => {
      if (left.length > 0) resolve();
    };
  });
  await kube.patch(RESOURCE.service, { namespace: "large", name: "one" }, { metadata: { labels: { value: "5" } } });
  await heard;
  expect(left).toEqual([["large"]]);
  expect(cache.get("many/s3")).toBe("1");
});
