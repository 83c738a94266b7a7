import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { foldersToPin, isWithin, unseenWords, type View, writableFolders } from "./view.ts";

const VIEW: View = {
  home: "/home/ann",
  cwd: "/home/ann/project",
  write: [],
  readOnly: [],
  hide: [],
  mask: [],
  sockets: [],
  trust: null,
};

describe("what stays writable", () => {
  test("the working folder, and what was asked for", () => {
    expect(writableFolders({ ...VIEW, write: ["/data/out"] })).toEqual({
      granted: ["/data/out", "/home/ann/project"],
      notes: [],
    });
  });

  test.each(["/home/ann", "/home", "/"])("not %s, only because the command was started in it", (cwd) => {
    const { granted, notes } = writableFolders({ ...VIEW, cwd });
    expect([granted, notes.length]).toEqual([[], 1]);
  });

  test("the home folder as a whole where it was asked for by name", () => {
    expect(writableFolders({ ...VIEW, write: ["/home/ann"] }).granted).toEqual(["/home/ann", "/home/ann/project"]);
  });

  test.each([
    ..."/ /proc /proc/self /sys/fs/cgroup /dev /dev/pts /dev/shm/x /home".split(" "),
    // Where other programs of the same user keep their sockets; below /tmp a folder may be anyone's project.
    ..."/tmp /var/tmp /var /run /run/user /run/user/1000 /run/user/1000/project".split(" "),
  ])("never %s, even if asked for", (folder) => {
    const { granted, notes } = writableFolders({ ...VIEW, mask: ["/run/user/1000"], write: [folder] });
    expect([granted, notes.length]).toEqual([["/home/ann/project"], 1]);
  });

  test("a folder below /tmp", () => {
    expect(writableFolders({ ...VIEW, cwd: "/tmp/project" }).granted).toEqual(["/tmp/project"]);
  });

  test("parents come before children, so that a child is not covered", () => {
    const { granted } = writableFolders({ ...VIEW, cwd: "/a/b/c", write: ["/a", "/a/b"] });
    expect(granted).toEqual(["/a", "/a/b", "/a/b/c"]);
  });
});

describe("names on the way to a protected path", () => {
  test("every folder below the writable one is pinned, outermost first", () => {
    expect(foldersToPin("/w/a/b/policy", ["/w"])).toEqual(["/w/a", "/w/a/b"]);
  });

  test("nothing is pinned where nothing is writable, or where it is the folder itself", () => {
    expect(foldersToPin("/etc/policy", ["/w"])).toEqual([]);
    expect(foldersToPin("/w", ["/w"])).toEqual([]);
    expect(foldersToPin("/w/policy", ["/w"])).toEqual([]);
  });

  test("with nested writable folders all names from the outermost down, but those that are mounts already", () => {
    expect(foldersToPin("/w/a/b/c/policy", ["/w", "/w/a/b"])).toEqual(["/w/a", "/w/a/b/c"]);
  });
});

test("a folder is within itself, its parents and the root, and not within one whose name begins alike", () => {
  const name = fc.stringMatching(/^[a-z]{1,5}$/);
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), name, (parts, more) => {
      const at = `/${parts.join("/")}`;
      expect(isWithin(at, at) && isWithin(`${at}/${more}`, at) && isWithin(at, "/")).toBe(true);
      expect(isWithin(`${at}${more}`, at)).toBe(false);
      expect(isWithin(at, `${at}/${more}`)).toBe(false);
    }),
    { numRuns: 100 },
  );
});

test("what a command names below an empty, private folder is said; what lies in the working folder, or is no file, is not", () => {
  const view = { ...VIEW, cwd: "/tmp/project", write: ["/tmp/out"], mask: ["/run/user/1000"] };
  const there = new Set([
    "/tmp/agent.py",
    "/tmp/project/a.py",
    "/tmp/out/b",
    "/run/user/1000/c",
    "/etc/passwd",
    "/tmp/sh",
  ]);
  const words = [
    "python3",
    "/tmp/agent.py",
    "../agent.py",
    "a.py",
    "/tmp/out/b",
    "/run/user/1000/c",
    "/etc/passwd",
    "/tmp/no",
    "",
  ];
  expect(unseenWords(words, view, (at) => there.has(at))).toEqual(["/tmp/agent.py", "../agent.py", "/run/user/1000/c"]);
  expect(unseenWords(["sh"], { ...view, cwd: "/tmp" }, (at) => there.has(at))).toEqual([]);
  expect(unseenWords(["./sh"], { ...view, cwd: "/tmp" }, (at) => there.has(at))).toEqual(["./sh"]);
});
