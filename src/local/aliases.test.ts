import { expect, test } from "vitest";
import { aliasesOf } from "./aliases.ts";

const line = (device: string, root: string, point: string): string =>
  `36 35 ${device} ${root} ${point} rw,noatime master:1 - ext4 /dev/root rw`;
const table = (...lines: readonly string[]): string => `${lines.join("\n")}\n`;

test("a folder on one mount has one name", () => {
  expect(aliasesOf("/home/ann/state", table(line("8:1", "/", "/"), line("0:5", "/", "/proc")))).toEqual([]);
});

test("a bind mount of a parent is another name", () => {
  const mounts = table(line("8:1", "/", "/"), line("8:1", "/home/ann", "/srv/ann"));
  expect(aliasesOf("/home/ann/state", mounts)).toEqual(["/srv/ann/state"]);
  expect(aliasesOf("/srv/ann/state", mounts)).toEqual(["/home/ann/state"]);
});

test("a file system mounted twice, whole and in part (subvolumes)", () => {
  const mounts = table(line("0:30", "/@", "/"), line("0:30", "/@home", "/home"), line("0:30", "/", "/mnt/all"));
  expect(aliasesOf("/home/ann/state", mounts)).toEqual(["/mnt/all/@home/ann/state"]);
});

test("the folder itself as a bind mount, names with spaces, and a file system that only shares a beginning", () => {
  const mounts = table(
    line("8:1", "/", "/"),
    line("8:1", "/home/ann/state", "/a\\040place"),
    line("8:1", "/home/ann/st", "/other"),
    line("8:2", "/home/ann", "/elsewhere"),
  );
  expect(aliasesOf("/home/ann/state", mounts)).toEqual(["/a place"]);
});

test("what is mounted over a folder hides the file system below", () => {
  const mounts = table(line("8:1", "/", "/"), line("8:2", "/", "/home"), line("8:2", "/ann", "/srv"));
  expect(aliasesOf("/home/ann/state", mounts)).toEqual(["/srv/state"]);
});

test("garbage is no mount", () => {
  expect(aliasesOf("/x", "")).toEqual([]);
  expect(aliasesOf("/x", "a b\n\n")).toEqual([]);
});
