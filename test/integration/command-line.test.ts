/**
 * The command line where something is wrong or somebody leaves: options that name what is not there, a pipe that nobody reads, Ctrl-C, and
 * records whose texts an agent chose to drive the reader's terminal.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseTime } from "../../cmd/sidegate/audit-store.ts";
import { openSigner } from "../../src/collector/checkpoint.ts";
import { bootOf, collecting, LOCAL, temporaryStore } from "../support/collected.ts";
import { opaForTests } from "../support/policy-texts.ts";
import { op, WORKLOAD } from "../support/record.ts";

const MAIN = path.resolve(import.meta.dirname, "../../cmd/sidegate/main.ts");
const ARGUMENTS = ["--disable-warning=ExperimentalWarning", MAIN];
/** Colours, title, clipboard, a link, C1's own, line ends, and what turns the direction of reading. */
const HOSTILE =
  "a\u001b[31m\u001b]52;c;ZXZpbA==\u0007\u001b]8;;http://x\u0007\u009b2J\u0085\r\u202eb\u2066\u200b\u{e0041}\u007f";
const ACTS_ON_A_TERMINAL = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const STATEMENT = `SELECT id,\n\tname\nFROM users -- ${HOSTILE}\nverdict     allow\nWHERE ${"id > 1 AND ".repeat(30)}true`;

let folder = "";
let made: ReturnType<typeof temporaryStore>;
let boot = "";
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-line-"));
  mkdirSync(path.join(folder, "empty"));
  writeFileSync(path.join(folder, "file"), "");
  made = temporaryStore();
  const collected = await collecting(made.store, openSigner(`${made.file}.key`, "test"));
  const written = await bootOf(
    async (r) => {
      const session = r.session({ client: HOSTILE, destination: HOSTILE, target: HOSTILE, host: HOSTILE, port: 443 });
      const json = JSON.stringify(HOSTILE);
      const preamble = `"v":1,"target":{"name":${json},"host":${json},"port":5432},"run":{"id":${json},"user":${json},"intent":${json}}`;
      const decision = `"code":${json},"message":${json},"advice":${json},"rule":${json},"deny":[{"policy":${json},"message":${json}}]`;
      const deny = { session, preamble, decision, verdict: "deny" } as const;
      r.op(op({ ...deny, facts: `"http":{"method":${json},"path":${json},"headers":{${json}:${json}}}` }));
      r.op(op({ ...deny, facts: `"sql":{"text":${JSON.stringify(STATEMENT)}}` }));
      // More than a pipe holds.
      for (let n = 0; n < 2_000; n++)
        r.op(op({ session, facts: `"http":{"method":"GET","path":"/${"x".repeat(80)}"}` }));
      await r.stop("done");
    },
    { ...WORKLOAD, responsible: "erika@example.com" },
  );
  boot = written.boot;
  await collected.ingest({ boot, lines: written.lines, gap: false, sender: LOCAL });
});
afterAll(async () => {
  await made.remove();
  rmSync(folder, { recursive: true, force: true });
});

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function sidegate(...args: readonly string[]): Promise<Result> {
  const options = { encoding: "utf8", cwd: folder, timeout: 60_000, maxBuffer: 1 << 26 } as const;
  return new Promise((resolve) => {
    execFile(process.execPath, [...ARGUMENTS, ...args], options, (fault, out, err) =>
      resolve({ code: typeof fault?.code === "number" ? fault.code : fault === null ? 0 : null, out, err }),
    ).stdin?.end();
  });
}

test.each([
  ["run --policy nowhere -- true", "--policy: nowhere: there is no such file or folder"],
  ["run --write nowhere -- true", "--write: nowhere: there is no such file or folder"],
  ["run --report file/x.json -- true", "--report: file is no folder"],
  // Node's own way to make folders does not come back from there.
  ["run --report /proc/nowhere/x/y.json -- true", "--report: /proc/nowhere/x: no folder can be made there"],
  ["policy init /proc/nowhere/x", "<dir>: /proc/nowhere/x: no folder can be made there"],
  ["policy build empty -o empty", "--output: empty: it is a folder"],
  ["policy explain", "either --policy or --bundle is needed"],
  ["audit query --db empty", "empty cannot be read: "],
  ["audit query --verdict denied", "Allowed choices are allow, deny, hold."],
  ["audit query --since 2026-01-31T25:00", "must be like 15m"],
])("`sidegate %s` is wrong usage, and says which option it is about", async (line, says) => {
  const { code, out, err } = await sidegate(...line.split(" "));
  expect([code, out, err]).toEqual([2, "", expect.stringContaining(says)]);
  expect(err).not.toMatch(/ENO|EIS|EEX|\n\s+at /);
  expect(readdirSync(folder).sort()).toEqual(["empty", "file"]);
});

test("a time without a zone is UTC, like those in the tables, wherever the reader is", () => {
  const zone = process.env["TZ"];
  try {
    for (const TZ of ["UTC", "Asia/Tokyo", "America/Los_Angeles"]) {
      process.env["TZ"] = TZ;
      for (const said of [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00",
        "2026-01-31 12:00:00.000",
        "2026-01-31T13:00+01:00",
      ])
        expect(parseTime(said), `${said} ${TZ}`).toBe(Date.UTC(2026, 0, 31, 12));
      expect(parseTime("2026-01-31"), TZ).toBe(Date.UTC(2026, 0, 31));
    }
  } finally {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
  }
  for (const said of ["2026-01-31T25:00", "yesterday", "2026-13-01", "12:00"])
    expect(() => parseTime(said), said).toThrow("must be like 15m");
});

test.each([
  ["audit", "query", "--all"],
  ["audit", "query", "--all", "--json"],
  ["audit", "summary"],
  ["why", "--json"],
  ["why", "HTTP"],
])("what an agent wrote drives no terminal: sidegate %s %s %s %s", async (...args) => {
  const { code, out, err } = await sidegate(
    ...args.filter(Boolean).map((a) => (a === "HTTP" ? `${boot}-3` : a)),
    "--db",
    made.file,
    ...(args[1] === "query" ? ["--limit", "9999"] : []),
  );
  expect([code, out.length > 100], err).toEqual([0, true]);
  expect(ACTS_ON_A_TERMINAL.exec(out), out.slice(0, 500)).toBeNull();
  expect(out.includes(String.raw`\u202eb`) || out.includes(String.raw`\u{202e}b`)).toBe(true);
});

test("the same in an explanation of an operation that an agent wrote", async () => {
  writeFileSync(
    path.join(folder, "op.json"),
    JSON.stringify({
      protocol: "http",
      action: "read",
      complete: true,
      target: { name: HOSTILE, host: "h", port: 1 },
      http: { method: "GET", path: HOSTILE },
    }),
  );
  writeFileSync(
    path.join(folder, "says.rego"),
    `package sidegate.policy.says\n\ndeny contains {"code": "closed", "message": $"{input.http.path} is closed."} if input.http.path\n`,
  );
  process.env["SIDEGATE_OPA"] = await opaForTests();
  const { code, out, err } = await sidegate("policy", "explain", "--policy", ".", "op.json");
  expect([code, out], err).toEqual([0, expect.stringContaining("is closed.")]);
  expect(ACTS_ON_A_TERMINAL.exec(out), out).toBeNull();
  rmSync(path.join(folder, "op.json"));
  rmSync(path.join(folder, "says.rego"));
});

test("why shows a long statement in its lines, behind a bar that no line of it can leave, and who stands behind it", async () => {
  const { out } = await sidegate("why", `${boot}-4`, "--db", made.file);
  expect(out).toMatch(/^operation +\S.*, the statement below$/m);
  expect(out).toMatch(/^behind it +erika@example\.com$/m);
  expect(out).toMatch(/^intent +a\\x1b\[31m/m);
  expect(out).toContain(`statement, ${STATEMENT.length} characters:\n  │ SELECT id,\n  │   name\n  │ FROM users`);
  expect(out.match(/^verdict/gm)).toHaveLength(1);
  const table = await sidegate("audit", "query", "--db", made.file, "--protocol", "http", "--code", HOSTILE);
  expect(table.out).toContain(" SELECT id, name FROM users -- a");
  expect(table.out.split("\n")[0]).toMatch(/^TIME \(UTC\) +VERDICT +POD +OPERATION +RESULT +ID$/);
  expect((await sidegate("audit", "summary", "--db", made.file)).out).toMatch(/^behind it +erika@example\.com$/m);
});

test.each([
  ["audit", "query", "--limit", "9999"],
  ["audit", "export"],
])("a reader who leaves ends %s %s without a word", async (...args) => {
  const child = spawn(process.execPath, [...ARGUMENTS, ...args, "--db", made.file]);
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  child.stdout.once("data", () => child.stdout.destroy());
  const [code] = (await once(child, "close")) as [number | null];
  expect([code, err]).toEqual([141, ""]);
});

test("Ctrl-C while policies are tested leaves nothing in the folder for temporary files", async () => {
  const scratch = path.join(folder, "scratch");
  mkdirSync(scratch);
  const env = { ...process.env, TMPDIR: scratch, SIDEGATE_OPA: await opaForTests() };
  const watcher = watch(scratch);
  const child = spawn(process.execPath, [...ARGUMENTS, "policy", "test", "empty"], {
    cwd: folder,
    env,
    stdio: "ignore",
  });
  await once(watcher, "change");
  watcher.close();
  child.kill("SIGINT");
  const [, signal] = (await once(child, "close")) as [number | null, string | null];
  expect([signal, readdirSync(scratch)]).toEqual(["SIGINT", []]);
  rmSync(scratch, { recursive: true });
});
