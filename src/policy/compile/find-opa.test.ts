import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findOpa, OPA_VERSION, type OpaSearch } from "./find-opa.ts";

let folder: string;
let said: string[];
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-opa-"));
  said = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A program that says which version it is. */
async function fake(name: string, version: string): Promise<string> {
  const file = path.join(folder, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\necho "Version: ${version}"\n`);
  await chmod(file, 0o755);
  return file;
}

function search(change: Partial<OpaSearch> = {}): OpaSearch {
  return {
    given: undefined,
    path: undefined,
    cacheDir: path.join(folder, "cache"),
    toolsDir: null,
    env: {},
    platform: "linux",
    arch: "x64",
    say: (line) => said.push(line),
    download: false,
    ...change,
  };
}

test("what SIDEGATE_OPA names is taken, and said where it is another version", async () => {
  const given = await fake("mine", "0.9.0");
  expect(await findOpa(search({ given }))).toBe(given);
  expect(said.join()).toContain("0.9.0, not the pinned");
});

test("what SIDEGATE_OPA names and does not work is an error, never a silent search elsewhere", async () => {
  const cached = await fake(`cache/opa-${OPA_VERSION}`, OPA_VERSION);
  expect(cached).toContain("cache");
  await expect(findOpa(search({ given: path.join(folder, "nothing") }))).rejects.toThrow("is not a working opa");
});

test("the PATH's is taken if it is of the pinned version; a relative entry is never looked into", async () => {
  await fake("old/opa", "0.9.0");
  const right = await fake("new/opa", OPA_VERSION);
  expect(await findOpa(search({ path: `.:${path.join(folder, "old")}:${path.join(folder, "new")}` }))).toBe(right);
});

test("the cache's is taken where there is none on the PATH, and one of a wrong version is not", async () => {
  const cached = await fake(`cache/opa-${OPA_VERSION}`, OPA_VERSION);
  expect(await findOpa(search())).toBe(cached);
  await fake(`cache/opa-${OPA_VERSION}`, "9.9.9");
  await expect(findOpa(search())).rejects.toThrow(`opa ${OPA_VERSION} is needed`);
});

test("without any of them it says what was tried, and what would help", async () => {
  await fake("old/opa", "0.9.0");
  await expect(findOpa(search({ path: path.join(folder, "old") }))).rejects.toThrow(
    /is version 0\.9\.0.*Set SIDEGATE_OPA/,
  );
});

test("nothing is downloaded for a platform without a pinned checksum", async () => {
  await writeFile(path.join(folder, "CHECKSUMS"), "# none\n");
  const tools = search({
    toolsDir: folder,
    download: true,
    arch: "arm64",
    path: folder,
    env: { PATH: "/nonexistent" },
  });
  await expect(findOpa(tools)).rejects.toThrow("has no line for opa_linux_arm64_static");
});
