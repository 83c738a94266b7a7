import { expect, test } from "vitest";
import { Folder } from "./fold.ts";

function folder(limits = { distinct: 5, windowMs: 60_000, flood: 100, kinds: 16 }) {
  const written: [number, number][] = [];
  const made = new Folder((op, count) => written.push([op, count]), limits);
  let seq = 0;
  /** One denial, as the judge does it: its line's seq, or the one it folded into. */
  const deny = (exact: string, nowMs: number, quiet = false, coarse = "target code") => {
    const folded = made.ask(exact, coarse, quiet, nowMs);
    if (folded.kind === "folded") return { ...folded };
    seq++;
    made.recorded(exact, coarse, seq, `boot-${seq}`, nowMs);
    return { kind: "record" as const, seq };
  };
  return { made, written, deny };
}

test("the sixth equal denial of a minute answers with the first one's instance and a Retry-After", () => {
  const { deny } = folder();
  for (let i = 0; i < 5; i++) expect(deny("a", i * 1000).kind).toBe("record");
  expect(deny("a", 10_000)).toEqual({ kind: "folded", seq: 1, event: "boot-1", retryAfterS: 50 });
});

test("another denial is not folded into it", () => {
  const { deny } = folder();
  for (let i = 0; i < 9; i++) deny("a", i);
  expect(deny("b", 10).kind).toBe("record");
});

test("after a minute the same denial is recorded again, and the count of what was folded is written", () => {
  const { deny, written } = folder();
  for (let i = 0; i < 25; i++) deny("a", 0);
  expect(deny("a", 60_000).kind).toBe("record");
  expect(written).toEqual([[1, 20]]);
});

test("a quiet denial is recorded once, then counted", () => {
  const { deny, made, written } = folder();
  expect(deny("t", 0, true).kind).toBe("record");
  for (let i = 0; i < 7; i++) expect(deny("t", 1, true).kind).toBe("folded");
  made.flush();
  made.flush();
  expect(written).toEqual([[1, 7]]);
});

test("N14: a flood of different denials costs a bounded number of lines, and none goes uncounted", () => {
  const { deny, made, written } = folder();
  let lines = 0;
  for (let i = 0; i < 100_000; i++) if (deny(`path ${i}`, i / 1000).kind === "record") lines++;
  made.flush();
  const counted = written.reduce((sum, [, count]) => sum + count, 0);
  expect(lines).toBeLessThanOrEqual(200);
  expect(lines + counted).toBe(100_000);
});
