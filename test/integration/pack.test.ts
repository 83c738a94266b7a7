/** The npm package as a user gets it: installed by somebody who is not root, with neither Go nor `opa` nor a clone. */
import { spawn, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, startApi } from "../../examples/demo/api.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const user = ordinaryUser();
let place = "";
let api: Api;

beforeAll(async () => {
  // Not in /tmp: inside a run that is another folder.
  place = mkdtempSync(path.join(userInfo().uid === 0 ? "/opt" : homedir(), "sidegate-pack-test-"));
  for (const folder of ["home", "app", "policy"]) mkdirSync(path.join(place, folder));
  api = await startApi("billing.test");
}, 60_000);

afterAll(async () => {
  await api.close();
  rmSync(place, { recursive: true, force: true });
});

function asUser(argv: readonly string[], cwd: string): { status: number | null; out: string; err: string } {
  // Nothing of this process's environment: no Go, no opa, no cache of ours.
  const env = { HOME: path.join(place, "home"), PATH: "/usr/local/bin:/usr/bin:/bin", NO_COLOR: "1" };
  const [program = "", ...rest] = [...user.prefix, ...argv];
  const ran = spawnSync(program, rest, { cwd, encoding: "utf8", env, timeout: 170_000 });
  return { status: ran.status, out: ran.stdout, err: ran.stderr };
}

/** As asUser, without blocking this process: the API runs in it. */
function alongside(argv: readonly string[], cwd: string): Promise<{ status: number | null; out: string; err: string }> {
  const env = { HOME: path.join(place, "home"), PATH: "/usr/local/bin:/usr/bin:/bin", NO_COLOR: "1" };
  const [program = "", ...rest] = [...user.prefix, ...argv];
  const child = spawn(program, rest, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, out, err })));
}

test("the packed tarball, installed by an ordinary user without Go, runs sidegate run -- curl https://…", {
  timeout: 300_000,
}, async () => {
  const packed = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "tools/pack.ts", "--pack-destination", place],
    { cwd: ROOT, encoding: "utf8" },
  );
  expect(packed.status, packed.stderr).toBe(0);
  const tarball = path.join(place, packed.stdout.trim());
  const app = path.join(place, "app");
  const policy = path.join(place, "policy");
  const indented = api.caPem.replaceAll(/^(?=.)/gm, "      ");
  writeFileSync(
    path.join(policy, "targets.yaml"),
    `apiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: billing}\nspec:\n  hosts: [billing.test]\n  ports: [443]\n  protocol: http\n  endpoints: ["127.0.0.1:${api.httpsPort}"]\n  upstream:\n    ca: |\n${indented}\n`,
  );
  writeFileSync(path.join(policy, "read_only.data.yaml"), "read: [billing]\nwrite: []\n");
  for (const folder of [place, app, path.join(place, "home")]) chownSync(folder, user.uid, user.gid);

  const installed = asUser(["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", tarball], app);
  expect(installed.status, installed.err).toBe(0);
  expect(asUser(["sh", "-c", "command -v go || command -v opa || echo neither"], app).out.trim()).toBe("neither");

  const sidegate = path.join(app, "node_modules/.bin/sidegate");
  expect(asUser([sidegate, "--version"], app).out.trim()).toBe(
    (JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as { version: string }).version,
  );

  const ran = await alongside(
    [sidegate, "run", "--policy", policy, "--", "curl", "-sS", "https://billing.test/v1/invoices/7"],
    app,
  );
  expect(ran.out, ran.err).toContain('"invoice":7');
  expect(ran.err).toContain("allow  GET https://billing.test/v1/invoices/7");
  expect(ran.status).toBe(0);

  const denied = await alongside(
    [sidegate, "run", "--policy", policy, "--", "curl", "-sS", "-X", "POST", "https://billing.test/v1/invoices"],
    app,
  );
  expect(denied.out).toContain('"code":"read_only"');
  expect(api.seen).toEqual(["GET /v1/invoices/7"]);
  expect(asUser([sidegate, "audit", "verify"], app).status).toBe(0);
});
