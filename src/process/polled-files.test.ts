import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { pollFiles } from "./polled-files.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function setUp() {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-polled-"));
  folders.push(folder);
  const file = path.join(folder, "value");
  writeFileSync(file, "1");
  const taken: number[] = [];
  const faults: string[] = [];
  const accepts = { max: 10 };
  const polled = pollFiles({
    paths: [file],
    parse([text = ""]) {
      if (!/^\d+$/.test(text)) throw new TypeError("no number");
      return Number(text);
    },
    everyMs: 0,
    onChange(value) {
      if (value > accepts.max) throw new RangeError("too large");
      taken.push(value);
    },
    onFault: (fault) => void faults.push(String(fault)),
  });
  return { polled, taken, faults, accepts, write: (text: string) => writeFileSync(file, text) };
}

test("what changed is taken over once; what does not fit is told, and the last good one serves on", () => {
  const { polled, taken, faults, write } = setUp();
  expect(polled.poll()).toBe(false);
  write("2");
  expect([polled.poll(), polled.poll(), polled.current]).toEqual([true, false, 2]);
  write("x");
  expect([polled.poll(), polled.current]).toEqual([false, 2]);
  expect([taken, faults]).toEqual([[2], ["TypeError: no number"]]);
});

test("who cannot take a value over ends nothing: it is told, the last good one serves on, and it is tried again", () => {
  const { polled, taken, faults, accepts, write } = setUp();
  write("11");
  expect([polled.poll(), polled.current]).toEqual([false, 1]);
  expect(faults).toEqual(["RangeError: too large"]);
  accepts.max = 20;
  expect([polled.poll(), polled.current]).toEqual([true, 11]);
  expect(taken).toEqual([11]);
});
