import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { firstMemoryFolder, isMemoryFolder } from "./memory-folder.ts";

test("what is no file system in memory, or is not there, counts as a disk", () => {
  expect(isMemoryFolder("/proc")).toBe(false);
  expect(isMemoryFolder("/nothing/here")).toBe(false);
  expect(isMemoryFolder("")).toBe(false);
});

test("shared memory is memory", (context) => {
  if (!existsSync("/dev/shm")) context.skip("no /dev/shm on this machine");
  expect(isMemoryFolder("/dev/shm")).toBe(true);
  expect(firstMemoryFolder(["/proc", "/nothing", "/dev/shm", tmpdir()])).toBe("/dev/shm");
  expect(firstMemoryFolder(["/proc", "/nothing"])).toBeNull();
});
