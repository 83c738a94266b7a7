/** The policy commands as a user meets them: exit codes, what stands on which stream, --json. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests } from "../support/policy-texts.ts";

let folder: string;
let opa: string;
beforeAll(async () => {
  opa = await opaForTests();
}, OPA_TIMEOUT_MS);
beforeEach(async () => {
  folder = path.join(await mkdtemp(path.join(os.tmpdir(), "sidegate-cli-")), "policies");
});
afterEach(() => rm(path.dirname(folder), { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function sidegate(args: readonly string[], stdin = ""): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", path.resolve("cmd/sidegate/main.ts"), "policy", ...args],
    { env: { ...process.env, SIDEGATE_OPA: opa } },
    (fault, out, err) =>
      resolve({ code: fault === null ? 0 : typeof fault.code === "number" ? fault.code : -1, out, err }),
  );
  child.stdin?.end(stdin);
  return promise;
}

const GET = {
  v: 1,
  protocol: "http",
  action: "read",
  complete: true,
  target: { name: "example", host: "example.com", port: 443, labels: {} },
  run: null,
  http: { method: "GET", path: "/about", segments: ["about"], truncated: false },
};

test("a new folder passes its own tests, and is never overwritten", async () => {
  expect(await sidegate(["init", folder])).toMatchObject({ code: 0, out: expect.stringContaining("example.rego") });
  expect(await sidegate(["test", folder])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^ok: 5 policies, 1 targets, 4 tests passed/),
  });
  expect(JSON.parse((await sidegate(["test", folder, "--json"])).out)).toMatchObject({ ok: true, passed: 4 });
  expect(await sidegate(["init", folder])).toMatchObject({ code: 1, err: expect.stringContaining("there already") });
});

test("a policy that is wrong: exit code 1, and each problem with file and line", async () => {
  await sidegate(["init", folder]);
  await writeFile(
    path.join(folder, "example.rego"),
    'package sidegate.policy.example\n\nallow if input.http.metod == "GET"\n',
  );
  const failed = await sidegate(["test", folder]);
  expect(failed).toMatchObject({ code: 1, out: "" });
  expect(failed.err).toMatch(/^example\.rego:3: undefined ref: input\.http\.metod/);
  const asJson = await sidegate(["test", folder, "--json"]);
  expect(asJson.code).toBe(1);
  expect(JSON.parse(asJson.out)).toMatchObject({ ok: false, problems: [{ file: "example.rego", line: 3 }] });
});

test("wrong usage: exit code 2 and one sentence", async () => {
  for (const args of [
    ["test"],
    ["test", "/nonexistent"],
    ["build", folder],
    ["explain", "-"],
    ["frob"],
    ["build", os.tmpdir(), "-o", "x", "--key", "/nonexistent"],
  ]) {
    const ended = await sidegate(args);
    expect(ended, args.join(" ")).toMatchObject({ code: 2, out: "" });
    expect(ended.err, args.join(" ")).not.toMatch(/\n\s+at /);
  }
});

test("a build writes a bundle and the key that verifies it", async () => {
  await sidegate(["init", folder]);
  const output = `${folder}.tar.gz`;
  const built = await sidegate(["build", folder, "-o", output, "--scope", "team-a", "--json"]);
  expect(built.code).toBe(0);
  expect(JSON.parse(built.out)).toMatchObject({
    ok: true,
    output,
    passed: 4,
    revision: expect.stringMatching(/^[0-9a-f]{12}$/),
  });
  expect((await readFile(output)).length).toBeGreaterThan(10_000);
  expect(await readFile(`${output}.pub.pem`, "utf8")).toContain("PUBLIC KEY");
});

test("an operation is explained, for people and for programs", async () => {
  await sidegate(["init", folder]);
  expect(await sidegate(["explain", "--policy", folder], JSON.stringify(GET))).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^allow\n\nRules that held:\n {2}example\.rego:5 /),
  });
  const denied = await sidegate(["explain", "--policy", folder, "--json"], JSON.stringify({ ...GET, action: "write" }));
  expect(JSON.parse(denied.out)).toMatchObject({ decision: { effect: "deny", code: "not_allowed" } });
  expect(await sidegate(["explain", "--policy", folder, "--expect", "deny"], JSON.stringify(GET))).toMatchObject({
    code: 1,
  });
  expect(await sidegate(["explain", "--policy", folder], "[")).toMatchObject({ code: 2 });
  expect(await sidegate(["explain"], "{}")).toMatchObject({ code: 2 });
  await sidegate(["build", folder, "-o", `${folder}.tar.gz`]);
  const internal = { ...GET, http: { ...GET.http, segments: ["internal"] } };
  expect(await sidegate(["explain", "--bundle", `${folder}.tar.gz`], JSON.stringify(internal))).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^deny internal_page[\s\S]*example\.rego:11 {2}example\.deny internal_page/),
  });
});

test("what an operation says cannot write on the terminal", async () => {
  await sidegate(["init", folder]);
  const evil = { ...GET, http: { method: "GET", path: "/\u001b[2J\u202e", segments: ["internal"], truncated: false } };
  const { out } = await sidegate(["explain", "--policy", folder], JSON.stringify(evil));
  expect(out).toContain("internal_page");
  expect(out).not.toContain("\u001b");
  expect(out).not.toContain("\u202e");
});

test("records of an observed run become a folder that passes its tests and denies none of them", async () => {
  const event = (method: string, segments: string[]) => ({
    kind: "op",
    verdict: "allow",
    erased: false,
    op: {
      ...GET,
      action: method === "GET" ? "read" : "write",
      target: { ...GET.target, name: null },
      http: { method, host: "example.com" },
      rest: { http: { path: `/${segments.join("/")}`, segments, truncated: false } },
    },
    decision: { effect: "allow", would: { effect: "deny", reasons: [] } },
  });
  const lines = [event("GET", ["v1", "a"]), event("POST", ["v1", "b", "7"]), event("POST", ["v1", "b", "8"])].map(
    (one) => JSON.stringify(one),
  );
  const made = await sidegate(["suggest", "--records", "-", "-o", folder, "--json"], lines.join("\n"));
  expect(made.code, made.err).toBe(0);
  expect(JSON.parse(made.out)).toMatchObject({ ok: true, operations: 3, replayed: 3, denied: [] });
  expect(await sidegate(["test", folder])).toMatchObject({ code: 0, out: expect.stringContaining("4 tests passed") });
});
