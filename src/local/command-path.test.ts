import { expect, test } from "vitest";
import { isThere } from "./command-path.ts";

const FILES = new Set(["/bin/sh", "/usr/local/bin/agent", "/srv/run.sh", "/srv/bin/tool"]);
const there = (name: string, path?: string): boolean =>
  isThere({ argv: [name], cwd: "/srv", env: path === undefined ? {} : { PATH: path } }, (at) => FILES.has(at));

test("a name is looked for on the PATH, one with a slash from the working folder on", () => {
  expect(["sh", "agent"].map((name) => there(name, "/bin:/usr/local/bin"))).toEqual([true, true]);
  expect([there("agent", "/bin"), there("sh"), there("agent")]).toEqual([false, true, false]);
  expect(["./run.sh", "run.sh", "/bin/sh", "bin/tool", "/nope"].map((name) => there(name, "/bin"))).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
});

test("an empty or a relative entry of the PATH is the working folder's", () => {
  expect([there("run.sh", "/bin:"), there("tool", "bin")]).toEqual([true, true]);
});
