/**
 * Pods as the API server knows them beside what the record covers: each pod's life, its sidecars' first and last lines, and every hole.
 * Pure. What it cannot know: a pod that came and went while neither the API server remembers it nor any record of it arrived.
 */
import { escapeAndCut } from "#core/escape.ts";
import type { CoveredBoot } from "./coverage.ts";
import { renderRows } from "./table.ts";

export interface KnownPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly createdMs: number;
  readonly running: boolean;
  /** Of one that does not run, as far as that is known; else its creation. */
  readonly endedMs: number;
  /** It has a gateway. */
  readonly injected: boolean;
  /** Its namespace or its label wants one. */
  readonly wanted: boolean;
}

export interface CoverLine {
  readonly pod: string;
  readonly boot: string;
  readonly from: string;
  readonly to: string;
  readonly first: number;
  readonly last: number;
  /** "" where there is none. */
  readonly hole: string;
}

export interface CoverReport {
  readonly lines: readonly CoverLine[];
  readonly holes: number;
}

/** A sidecar sends its first lines with its first second; an API server and a collector may be busy. */
const GRACE_MS = 60_000;

export interface CoverTimes {
  readonly nowMs: number;
  readonly aliveMs: number;
  /** Since when the collector was asked. */
  readonly sinceMs: number;
}

export function coverReport(pods: readonly KnownPod[], boots: readonly CoveredBoot[], times: CoverTimes): CoverReport {
  const lines: CoverLine[] = boots.map((boot) => lineOf(boot));
  for (const pod of pods) {
    const name = `${pod.namespace}/${pod.name}`;
    const own = boots.filter((boot) => (boot.uid === "" ? boot.pod === name : boot.uid === pod.uid));
    const hole = holeOf(pod, own, times);
    if (hole !== "")
      lines.push({
        pod: name,
        boot: "-",
        from: timeText(pod.createdMs),
        to: pod.running ? "running" : "ended",
        first: 0,
        last: 0,
        hole,
      });
  }
  lines.sort((a, b) => (a.pod === b.pod ? a.from.localeCompare(b.from) : a.pod.localeCompare(b.pod)));
  return { lines, holes: lines.filter(({ hole }) => hole !== "").length };
}

function lineOf({ boot, pod, firstAt, seenAt, firstSeq, lastSeq, missing, end }: CoveredBoot): CoverLine {
  const holes = [
    ...(missing > 0 ? [`${missing} lines never came`] : []),
    ...(end === "missing" ? ["its last line never came (sidegate audit accept, if that is known)"] : []),
  ];
  const to = end === "running" ? "running" : `${timeText(seenAt)} ${end}`;
  return { pod, boot, from: timeText(firstAt), to, first: firstSeq, last: lastSeq, hole: holes.join("; ") };
}

function holeOf(pod: KnownPod, own: readonly CoveredBoot[], { nowMs, aliveMs, sinceMs }: CoverTimes): string {
  if (!pod.injected) return pod.wanted && pod.running ? "runs without a gateway: nothing of it is recorded" : "";
  const age = nowMs - pod.createdMs;
  if (own.length === 0) {
    // The collector was not asked for what ended before.
    if (age <= GRACE_MS || (!pod.running && pod.endedMs < sinceMs)) return "";
    return pod.running
      ? "nothing of it ever arrived"
      : "nothing of it is on record: none arrived, or retention removed it";
  }
  if (!pod.running || own.some(({ end }) => end === "running")) return "";
  const last = Math.max(...own.map(({ seenAt }) => seenAt));
  return nowMs - last > aliveMs + GRACE_MS ? `runs, and has been silent since ${timeText(last)}` : "";
}

export function renderCover({ lines, holes }: CoverReport): string {
  const rows = lines.map((line) => [
    escapeAndCut(line.pod, 60),
    line.boot,
    line.from,
    line.to,
    line.boot === "-" ? "" : String(line.first),
    line.boot === "-" ? "" : String(line.last),
    line.hole === "" ? "ok" : `HOLE: ${line.hole}`,
  ]);
  const verdict = holes === 0 ? "ok: no hole\n" : `${holes} hole${holes === 1 ? "" : "s"}\n`;
  return renderRows([["POD", "SIDECAR", "FROM", "TO", "FIRST", "LAST", ""], ...rows]) + verdict;
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}
