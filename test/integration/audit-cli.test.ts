/** `sidegate audit …` and `sidegate why` as a user meets them: real processes on a store that a collector wrote. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSigner } from "../../src/collector/checkpoint.ts";
import { bootOf, type Collected, collecting, LOCAL, temporaryStore } from "../support/collected.ts";
import { op } from "../support/record.ts";

const MAIN = path.resolve(import.meta.dirname, "../../cmd/sidegate/main.ts");
const ARGUMENTS = ["--disable-warning=ExperimentalWarning", MAIN];

let made: ReturnType<typeof temporaryStore>;
let collected: Collected;
let boot = "";
beforeAll(async () => {
  made = temporaryStore();
  collected = await collecting(made.store, openSigner(`${made.file}.key`, "test"));
  const written = await bootOf(async (r) => {
    const session = r.session({
      client: "a:1",
      destination: "b:2",
      target: "billing",
      host: "billing.example",
      port: 443,
    });
    for (const path of ["/people/erika", "/v1/x"]) {
      const seq = r.op(op({ session, facts: `"http":{"method":"GET","path":"${path}"}` }));
      r.end({ op: seq, status: "200", ms: 3, bytesUp: 1, bytesDown: 2, masked: 0, attempts: 1 });
    }
    r.op(
      op({ session, verdict: "deny", decision: '"code":"internal_page","message":"Closed.","rule":"billing.rego:14"' }),
    );
    r.closed(session, 1, 1, "client-left");
    await r.stop("done");
  });
  boot = written.boot;
  await collected.ingest({ boot, lines: written.lines, gap: false, sender: LOCAL });
});
afterAll(() => made.remove());

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function sidegate(...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    const command = args[0] === "why" ? args : ["audit", ...args];
    execFile(process.execPath, [...ARGUMENTS, ...command, "--db", made.file], { encoding: "utf8" }, (fault, out, err) =>
      resolve({ code: typeof fault?.code === "number" ? fault.code : 0, out, err }),
    );
  });
}

test("query shows a table, or one JSON object a line", async () => {
  const table = await sidegate("query");
  expect(table).toMatchObject({ code: 0, err: "" });
  expect(table.out.split("\n")).toHaveLength(5);
  expect(table.out).toContain("GET https://billing.example/v1/x");
  const json = await sidegate("query", "--json", "--verdict", "deny", "--since", "2020-01-01");
  expect(JSON.parse(json.out)).toMatchObject({ id: `${boot}-7`, code: "internal_page" });
  expect(await sidegate("query", "--host", "nobody.example")).toMatchObject({
    code: 0,
    out: "",
    err: "No record matches.\n",
  });
});

test("why explains the last denial, or the record asked for", async () => {
  expect((await sidegate("why")).out).toContain("rule at     billing.rego:14\n");
  expect((await sidegate("why", `${boot}-3`)).out).toContain("forwarded, upstream answered 200 in 3.0 ms");
  expect(await sidegate("why", `${boot}-99`)).toMatchObject({ code: 1, err: "No record has this id.\n" });
});

test("why judges the record once more with the policy at hand, and says when that one decides otherwise", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-why-"));
  try {
    const rego = (body: string): void =>
      writeFileSync(path.join(folder, "billing.rego"), `package sidegate.policy.billing\n\n${body}\n`);
    rego(
      'allow if input.http.path == "/v1/y"\n\ndeny contains {"code": "internal_page", "message": "Closed."} if input.action',
    );
    const asked = ["--policy", folder, "--no-library"];
    const same = await sidegate("why", ...asked);
    expect(same, same.err).toMatchObject({ code: 0 });
    expect(same.out).toContain("Judged once more:\n");
    expect(same.out).toContain("billing.rego:5  billing.deny internal_page\n");
    expect(same.out).toContain("billing.rego:3  billing.allow");
    rego("allow if input.action");
    const other = await sidegate("why", ...asked);
    expect(other.out).toContain("by a policy or labels other than those that decided (deny internal_page):\nallow\n");
    expect(other.out).toContain("rule at     billing.rego:14\n");
    const json = JSON.parse((await sidegate("why", "--json", ...asked)).out) as { explanation: { trace: string } };
    expect(json.explanation.trace).toContain("billing.allow");
    rego("allow if input.nosuch");
    expect(await sidegate("why", ...asked, "--bundle", "x")).toMatchObject({ code: 2 });
    expect(await sidegate("why", "--policy", path.join(folder, "nowhere"))).toMatchObject({ code: 2 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("wrong usage is exit code 2 and says what is possible", async () => {
  for (const args of [
    ["query", "--since", "yesterday"],
    ["query", "--limit", "0"],
    ["why", "x y"],
    ["verify", "--expect", "1"],
    ["erase", `${boot}-3`],
    ["erase", "--reason", "x"],
    ["nonsense"],
  ]) {
    const { code, err } = await sidegate(...args);
    expect(code, args.join(" ")).toBe(2);
    expect(err, args.join(" ")).not.toBe("");
  }
  const missing = await new Promise<Result>((resolve) =>
    execFile(process.execPath, [...ARGUMENTS, "audit", "query", "--db", "/nonexistent/audit.db"], (fault, out, err) =>
      resolve({ code: Number(fault?.code), out, err }),
    ),
  );
  expect(missing).toMatchObject({
    code: 2,
    err: "sidegate: there is no record at /nonexistent/audit.db (--db names another)\n",
  });
  expect(existsSync("/nonexistent")).toBe(false);
});

test("summary counts, export gives every record to another system", async () => {
  expect((await sidegate("summary", "--run", boot)).out).toContain("1       internal_page");
  expect(JSON.parse((await sidegate("summary", "--json")).out)).toMatchObject({ operations: 3 });
  const lines = (await sidegate("export", "--format", "ocsf")).out.trimEnd().split("\n");
  expect(lines.map((l) => (JSON.parse(l) as { class_uid: number }).class_uid)).toEqual([4002, 4002, 4002]);
});

test("tail follows what a collector writes, until it is interrupted", async () => {
  const child = spawn(process.execPath, [...ARGUMENTS, "audit", "tail", "--json", "--limit", "1", "--db", made.file]);
  const ids: string[] = [];
  const until = (count: number): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (ids.length >= count) resolve();
        else child.stdout.once("data", () => setImmediate(look));
      };
      look();
    });
  child.stdout.on("data", (bytes: Buffer) => {
    for (const line of bytes.toString().trimEnd().split("\n")) ids.push((JSON.parse(line) as { id: string }).id);
  });
  await until(1);
  const more = await bootOf(async (r) => {
    r.op(op({ verdict: "deny" }));
    await r.stop("done");
  });
  await collected.ingest({ boot: more.boot, lines: more.lines, gap: false, sender: LOCAL });
  await until(2);
  const gone = once(child, "exit");
  child.kill("SIGINT");
  expect(await gone).toEqual([0, null]);
  expect(ids).toEqual([`${boot}-7`, `${more.boot}-2`]);
});

test("verify, erase, verify: still green, counted as erased; the detail is gone from the file", async () => {
  const before = await sidegate("verify");
  expect(before).toMatchObject({ code: 0 });
  expect(before.out).toContain("ok: nothing was changed, nothing is missing");
  const dry = await sidegate("erase", "--text", "erika", "--reason", "asked for it");
  expect(dry).toMatchObject({ code: 0, out: "", err: "1 details would be erased; --yes erases them.\n" });
  expect((await sidegate("erase", "--text", "erika", "--reason", "asked for it", "--yes")).out).toBe(
    "1 details erased\n",
  );
  const after = await sidegate("verify");
  expect(after).toMatchObject({ code: 0 });
  expect(after.out).toContain("1 erased, each by an act on record");
  expect((await sidegate("query", "--text", "erika")).err).toBe("No record matches.\n");
  expect(readFileSync(made.file).includes("/people/erika")).toBe(false);
  expect((await sidegate("verify", `${boot}-3`)).out).toContain(`ok: record ${boot}-3 is number 2 of `);
  expect(await sidegate("erase", `${boot}-3`, "--reason", "again")).toMatchObject({ code: 1 });
});

test("a changed record is exit code 1, by name", async () => {
  const db = new DatabaseSync(made.file);
  try {
    db.exec("UPDATE records SET core = replace(core, 'internal_page', 'internal_pagf') WHERE seq = 7");
    const { code, out } = await sidegate("verify");
    expect(code).toBe(1);
    expect(out).toContain(`FINDING  record ${boot}-7: the line is not the one that was stored`);
    expect(JSON.parse((await sidegate("verify", "--json")).out)).toMatchObject({ ok: false });
  } finally {
    db.exec("UPDATE records SET core = replace(core, 'internal_pagf', 'internal_page') WHERE seq = 7");
    db.close();
  }
  expect((await sidegate("verify")).code).toBe(0);
  expect(statSync(made.file).mode & 0o077).toBe(0);
});
