import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { replaceFile } from "./replace-file.ts";

let folder = "";
let file = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "replace-"));
  file = path.join(folder, "x");
});
afterEach(() => rm(folder, { recursive: true }));

test("the new file has its contents and mode, whatever the old one had and the umask says", async () => {
  await writeFile(file, "old");
  await chmod(file, 0o777);
  const umask = process.umask(0o077);
  try {
    await replaceFile(file, "new", 0o644);
  } finally {
    process.umask(umask);
  }
  expect(await readFile(file, "utf8")).toBe("new");
  expect((await stat(file)).mode & 0o777).toBe(0o644);
  expect(await readdir(folder)).toEqual(["x"]);
});

test("a link is replaced, not followed", async () => {
  const other = path.join(folder, "other");
  await writeFile(other, "other");
  await symlink(other, file);
  await replaceFile(file, "new", 0o600);
  expect(await readFile(other, "utf8")).toBe("other");
  expect(await readFile(file, "utf8")).toBe("new");
});

test("where it cannot be put in place, the old one stays and nothing is left behind", async () => {
  await mkdir(file);
  await expect(replaceFile(file, "new", 0o600)).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
  expect(await readdir(folder)).toEqual(["x"]);
});
