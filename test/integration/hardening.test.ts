/**
 * A hardened process, looked at from outside: by another user, by the same user, by a debugger's signal. What is asked of the
 * kernel is seen here, not in mocks.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** As root the tests drop every capability, so that root's rights do not read everything: same uid, nothing more. */
const bare =
  process.getuid?.() === 0
    ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", process.execPath]
    : [process.execPath];
const [command = "", ...args] = bare;
const root = path.resolve(import.meta.dirname, "../..");
const flags = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

const hardened = (harden: boolean): string => `
  const { harden, refusals } = await import(${JSON.stringify(path.join(root, "src/process/hardening.ts"))});
  const { loadLibc } = await import(${JSON.stringify(path.join(root, "src/process/libc.ts"))});
  const open = ${harden ? "harden(loadLibc())" : "[]"};
  console.log(JSON.stringify({ open, limits: (await import("node:fs")).readFileSync("/proc/self/limits", "utf8") }));
  setInterval(() => undefined, 1000);
`;

/** Tries to read what lies in /proc/<pid>, one line each. */
const PEEK = `
  const fs = require("fs");
  const pid = process.argv[1];
  const tried = {};
  for (const name of ["environ", "mem", "maps", "auxv", "stack", "syscall"])
    try { fs.readSync(fs.openSync("/proc/" + pid + "/" + name, "r"), Buffer.alloc(8)); tried[name] = "open"; } catch (e) { tried[name] = e.code; }
  for (const link of ["fd/0", "exe", "cwd"])
    try { fs.readlinkSync("/proc/" + pid + "/" + link); tried[link] = "open"; } catch (e) { tried[link] = e.code; }
  console.log(JSON.stringify(tried));
`;

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

interface Target {
  readonly pid: number;
  readonly open: readonly string[];
  readonly limits: string;
}

async function start(harden: boolean): Promise<Target> {
  const child = spawn(command, [...args, ...flags, "--input-type=module", "-"], {
    env: { PATH: process.env["PATH"] },
    stdio: ["pipe", "pipe", "inherit"],
  });
  started.push(child);
  child.stdin.end(hardened(harden));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { pid: child.pid ?? -1, ...(JSON.parse(line.toString()) as Omit<Target, "pid">) };
}

async function peek(pid: number): Promise<Record<string, string>> {
  const child = spawn(command, [...args, "-e", PEEK, String(pid)], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return JSON.parse(line.toString()) as Record<string, string>;
}

describe("a hardened process", () => {
  let target: Target;
  beforeEach(async () => {
    target = await start(true);
  });

  test("has nothing left open, and writes no core", () => {
    expect(target.open).toEqual([]);
    expect(target.limits).toMatch(/^Max core file size\s+0\s+0\s+bytes/m);
  });

  test("cannot be read by a process of the same user", async () => {
    const tried = await peek(target.pid);
    expect(Object.values(tried)).not.toContain("open");
    expect(tried).toMatchObject({ environ: "EACCES", mem: "EACCES", maps: "EACCES", "fd/0": "EACCES", exe: "EACCES" });
    expect(Object.keys(tried)).toHaveLength(9);
  });

  test("cannot gain privileges by starting a program", () => {
    expect(readFileSync(`/proc/${target.pid}/status`, "utf8")).toMatch(/^NoNewPrivs:\s+1$/m);
  });

  test("takes no SIGUSR1, with which Node would open a debugger", () => {
    expect(readFileSync(`/proc/${target.pid}/status`, "utf8")).toMatch(
      /^SigBlk:\s+[0-9a-f]{13}[2367abef][0-9a-f]{2}$/m,
    ); // 0x200
  });
});

test("one that is not hardened can be read: the test above looks at something", async () => {
  const target = await start(false);
  expect(await peek(target.pid)).toMatchObject({ environ: "open", maps: "open", "fd/0": "open", exe: "open" });
});
