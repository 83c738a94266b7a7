import { expect, test } from "vitest";
import { coverReport, type KnownPod, renderCover } from "./cover-report.ts";
import type { CoveredBoot } from "./coverage.ts";

const NOW = Date.parse("2026-01-02T00:00:00Z");
const times = { nowMs: NOW, aliveMs: 90_000, sinceMs: NOW - 7_200_000 };
const pod = (over: Partial<KnownPod> = {}): KnownPod => ({
  namespace: "team",
  name: "a",
  uid: "u-a",
  createdMs: NOW - 3_600_000,
  running: true,
  endedMs: NOW - 3_600_000,
  injected: true,
  wanted: true,
  ...over,
});
const boot = (over: Partial<CoveredBoot> = {}): CoveredBoot => ({
  boot: "aaaaaaaaaaaa",
  pod: "team/a",
  uid: "u-a",
  firstAt: NOW - 3_590_000,
  seenAt: NOW - 1_000,
  firstSeq: 1,
  lastSeq: 10,
  missing: 0,
  end: "running",
  ...over,
});

const holesOf = (pods: readonly KnownPod[], boots: readonly CoveredBoot[]): string[] =>
  coverReport(pods, boots, times).lines.flatMap(({ hole }) => (hole === "" ? [] : [hole]));

test("a pod whose sidecar gives signs of life, and one that ended with its last line, have no hole", () => {
  const ended = boot({ boot: "bbbbbbbbbbbb", pod: "team/b", uid: "u-b", end: "stopped", seenAt: NOW - 1e6 });
  const report = coverReport([pod(), pod({ name: "b", uid: "u-b", running: false })], [boot(), ended], times);
  expect(report.holes).toBe(0);
  expect(renderCover(report)).toMatch(/team\/a +aaaaaaaaaaaa .* running +1 +10 +ok\n[\s\S]*ok: no hole\n$/);
});

test.each<[string, readonly KnownPod[], readonly CoveredBoot[], RegExp | null]>([
  ["lines that never came", [pod()], [boot({ missing: 3 })], /3 lines never came/],
  ["an end that never came", [], [boot({ end: "missing" })], /last line never came/],
  ["one that was accepted", [], [boot({ end: "accepted" })], null],
  ["a pod without a gateway where one is wanted", [pod({ injected: false })], [], /without a gateway/],
  ["one where none is wanted", [pod({ injected: false, wanted: false })], [], null],
  ["a pod of which nothing arrived", [pod()], [], /nothing of it ever arrived/],
  ["one that ended, of which nothing arrived", [pod({ running: false })], [], /nothing of it is on record/],
  ["one that ended before the time that was asked for", [pod({ running: false, endedMs: NOW - 1e7 })], [], null],
  ["one that has just begun", [pod({ createdMs: NOW - 5_000 })], [], null],
  [
    "a pod of the same name that is another",
    [pod({ uid: "u-2" })],
    [boot({ end: "stopped" })],
    /nothing of it ever arrived/,
  ],
  [
    "a pod that runs on without a sidecar",
    [pod()],
    [boot({ end: "stopped", seenAt: NOW - 600_000 })],
    /silent since 2026-01-01 23:50/,
  ],
])("%s", (_what, pods, boots, hole) => {
  const found = holesOf(pods, boots);
  expect(found).toHaveLength(hole === null ? 0 : 1);
  expect(found.join()).toMatch(hole ?? /^$/);
});
