import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLineWriter } from "./line-writer.ts";

let folder = "";
let file = "";
let descriptor = -1;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "lines-"));
  file = path.join(folder, "log");
  descriptor = openSync(file, "w");
});
afterEach(() => {
  closeSync(descriptor);
  rmSync(folder, { recursive: true });
});

test("writes lines in order", async () => {
  const writer = createLineWriter(descriptor);
  for (let i = 0; i < 1000; i++) writer.write(`line ${i} ä\n`);
  await writer.flush();
  expect(readFileSync(file, "utf8")).toBe(Array.from({ length: 1000 }, (_, i) => `line ${i} ä\n`).join(""));
});

test("drops what does not fit while nothing can be written, counts it, and says so when there is room", async () => {
  const writer = createLineWriter(descriptor, 100);
  const line = `${"x".repeat(39)}\n`;
  for (let i = 0; i < 10; i++) writer.write(line); // the first is under way, two fit
  expect(writer.dropped).toBe(7);
  await writer.flush();
  const written = readFileSync(file, "utf8").split("\n");
  expect(written.filter((text) => text.startsWith("x"))).toHaveLength(3);
  expect(written).toContain('{"level":"warn","event":"log lines dropped","count":7}');
  writer.write(line);
  await writer.flush();
  expect(readFileSync(file, "utf8").match(/dropped/g)).toHaveLength(1);
});

test("a log that cannot be written hurts nobody", async () => {
  const writer = createLineWriter(999_999);
  writer.write("x\n");
  await writer.flush();
  expect(writer.dropped).toBe(0);
});

test("flushing nothing resolves", async () => {
  await createLineWriter(descriptor).flush();
  expect(readFileSync(file, "utf8")).toBe("");
});
