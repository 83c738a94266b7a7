import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makePlaces, removeRun } from "./places.ts";

let base: string;
beforeEach(() => {
  base = mkdtempSync(path.join(tmpdir(), "sidegate-places-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** No process has it: above what Linux gives. */
const NOBODY = 4_194_305;

test("a run that starts at the same time, and has not said who it is, keeps its folder; what killed runs left goes", () => {
  const at = (name: string): string => path.join(base, "runs", name);
  for (const name of ["starting", "left", "killed", "living"]) mkdirSync(at(name), { recursive: true });
  utimesSync(at("left"), 0, 0);
  writeFileSync(path.join(at("killed"), "pid"), String(NOBODY));
  writeFileSync(path.join(at("living"), "pid"), String(process.pid));
  const places = makePlaces(base, "mine", process.pid, null);
  expect(["starting", "left", "killed", "living", "mine"].filter((name) => existsSync(at(name)))).toEqual([
    "starting",
    "living",
    "mine",
  ]);
  removeRun(places);
  expect(existsSync(at("mine"))).toBe(false);
});
