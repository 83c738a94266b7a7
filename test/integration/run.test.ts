/**
 * `sidegate run` as a person or a CI job meets it: what it prints, in which form, with which exit code; and what it says when it
 * was asked for something wrong. (Signals and the terminal: test/bypass/run-life.test.ts.) As root and as an ordinary user.
 */
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OrdinaryUser, ordinaryUser } from "../support/ordinary-user.ts";
import { opaForTests } from "../support/policy-texts.ts";
import { httpUpstream, type Upstream } from "../support/sidecar-upstream.ts";

const SIDEGATE = path.resolve(import.meta.dirname, "../../bin/sidegate");
const ANSWER = "hello from the upstream\n";

const POLICY = `package sidegate.policy.docs

allow if {
	input.target.name == "docs"
	input.action == "read"
}

deny contains {"code": "no_writes", "message": "The docs are only read."} if {
	input.target.name == "docs"
	input.http.method == "POST"
}
`;

let upstream: Upstream;
let reached: string[] = [];
let opa: string;
beforeAll(async () => {
  upstream = await httpUpstream((request, response) => {
    reached.push(`${request.method} ${request.url}`);
    response.end(ANSWER);
  });
  opa = await opaForTests();
});
afterAll(() => upstream.close());

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

class Desk {
  readonly folder = mkdtempSync(path.join(tmpdir(), "sidegate-run-"));
  readonly #user: OrdinaryUser;

  constructor(user: OrdinaryUser) {
    this.#user = user;
    chmodSync(this.folder, 0o755);
    for (const name of ["home", "work", "policy", "policy/targets"]) {
      mkdirSync(this.at(name));
      chownSync(this.at(name), user.uid, user.gid);
    }
    // Root's cache is root's alone.
    writeFileSync(this.at("opa"), readFileSync(opa), { mode: 0o755 });
    this.policy(POLICY);
    writeFileSync(
      this.at("policy/targets/docs.yaml"),
      `apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata: {name: docs}
spec: {hosts: [docs.test], ports: [80], protocol: http, tls: none, endpoints: ["127.0.0.1:${upstream.port}"]}
`,
    );
  }

  at(name: string): string {
    return path.join(this.folder, name);
  }

  environment(): Readonly<Record<string, string>> {
    return {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: this.at("home"),
      SIDEGATE_OPA: this.at("opa"),
      XDG_STATE_HOME: this.at("home/state"),
    };
  }

  policy(text: string): void {
    writeFileSync(this.at("policy/docs.rego"), text);
  }

  async sidegate(...args: readonly string[]): Promise<Ran> {
    reached = [];
    const [file = "", ...rest] = [...this.#user.prefix, SIDEGATE, ...args];
    const child = spawn(file, rest, {
      cwd: this.at("work"),
      env: this.environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
  }

  /** A shell command under the policy. */
  run(command: string, ...options: readonly string[]): Promise<Ran> {
    return this.sidegate("run", "--policy", this.at("policy"), ...options, "--", "sh", "-c", command);
  }

  clear(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A tool server, as agents start them: what it finds in its environment, and whether the machine's own files are still there. */
const BARE = `env -i HOME="$HOME" PATH="$PATH" SHELL=/bin/sh TERM=xterm USER=me python3 -c '
import os, pwd
bundle = os.environ["REQUESTS_CA_BUNDLE"]
print(bundle, "BEGIN CERTIFICATE" in open(bundle).read(), pwd.getpwuid(0).pw_name, os.access("/etc", os.W_OK))'`;

const GET = "curl -sS http://docs.test/page";
const POST = "curl -sS -o answer -d x http://docs.test/page";

const root: OrdinaryUser = { uid: 0, gid: 0, name: "root", prefix: [] };
const WHO: readonly [string, OrdinaryUser][] = [
  ["an ordinary user", ordinaryUser()],
  ...(userInfo().uid === 0 ? [["root", root] as [string, OrdinaryUser]] : []),
];

describe.each(WHO)("as %s", (_who, user) => {
  let desk: Desk;
  beforeAll(() => {
    desk = new Desk(user);
  });
  afterAll(() => desk.clear());

  test("a tool server that is started without any of our variables finds what makes its client trust the run", async () => {
    const { code, out, err } = await desk.run(BARE);
    expect([code, err.includes("ld.so")], err).toEqual([0, false]);
    // The machine's own /etc is read-only as before; root's is a copy.
    const [, writable] = /^\/run\/sidegate\/trust\/ca-bundle\.pem True root (True|False)\n$/.exec(out) ?? [];
    expect(user.uid === 0 ? ["True", "False"] : ["False"], out).toContain(writable);
  });

  test("a variable that its parent did pass on stays", async () => {
    const { out } = await desk.run("env -i REQUESTS_CA_BUNDLE=/mine printenv REQUESTS_CA_BUNDLE");
    expect(out).toBe("/mine\n");
  });

  test("allowed and denied requests are a line each, then a count; the exit code is the command's own", async () => {
    const { code, out, err } = await desk.run(`${GET}; ${POST}; exit 7`);
    expect(code, err).toBe(7);
    expect(out).toBe(ANSWER);
    expect(reached).toEqual(["GET /page"]);
    expect(err).toMatch(/^sidegate: run \w+, policy \w+, tier (enforced|advisory)/m);
    expect(err).toMatch(/^sidegate: allow {2}GET http:\/\/docs\.test\/page {2}docs {2}\S+ {2}[\d.]+ ms$/m);
    expect(err).toMatch(/^sidegate: deny {2}POST http:\/\/docs\.test\/page {2}docs {2}docs\/no_writes {2}[\d.]+ ms$/m);
    expect(err).toMatch(/^sidegate: 1 allowed, 1 denied; sidegate why explains the last denial$/m);
    const answer = JSON.parse(readFileSync(desk.at("work/answer"), "utf8")) as { code: string; detail: string };
    expect([answer.code, answer.detail]).toEqual(["no_writes", "The docs are only read."]);
    const why = await desk.sidegate("why");
    expect([why.code, why.out]).toEqual([0, expect.stringMatching(/docs\.rego:\d+/)]);
  });

  test("who stops to read what is decided (| head -1) does not end the command, and nothing is left behind", async () => {
    const [file, ...rest] = [
      ...user.prefix,
      SIDEGATE,
      "run",
      "--allow",
      "docs.test",
      "--",
      "sh",
      "-c",
      "read line; exit 7",
    ];
    const child = spawn(file, rest, {
      cwd: desk.at("work"),
      env: desk.environment(),
      stdio: ["pipe", "ignore", "pipe"],
    });
    child.stderr.once("data", () => {
      child.stderr.destroy();
      child.stdin.end("go\n");
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect([code, readdirSync(desk.at("home/state/sidegate/runs"))]).toEqual([7, []]);
  });

  test("--fail-on deny: 3 where something was denied, else the command's own", async () => {
    const denied = await desk.run(POST, "--fail-on", "deny", "--quiet");
    expect([denied.code, denied.err]).toEqual([3, ""]);
    const allowed = await desk.run(`${GET}; exit 5`, "--fail-on", "deny", "--quiet");
    expect([allowed.code, allowed.err]).toEqual([5, ""]);
  });

  test("--json: each decision is a line of JSON on stderr; --quiet: nothing is; --report: a file says what happened", async () => {
    const json = await desk.run(`${GET}; ${POST}`, "--json", "--report", desk.at("work/report.json"));
    const lines = json.err
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { verdict: string; code: string });
    expect(lines.filter((line) => line.verdict === "deny").map((line) => line.code)).toEqual(["no_writes"]);
    const report = JSON.parse(readFileSync(desk.at("work/report.json"), "utf8")) as Record<string, unknown>;
    expect(report).toMatchObject({ exit: 0, allowed: 1, denied: 1, denials: [{ code: "no_writes", target: "docs" }] });
    expect((await desk.run(`${GET}; ${POST}`, "--quiet")).err).toBe("");
  });

  test("a policy that does not compile: file, line and reason, and the command never starts", async () => {
    desk.policy(`${POLICY}\ndeny contains "x" if nonsense.of.mine\n`);
    const { code, err } = await desk.run("touch started");
    desk.policy(POLICY);
    expect(code).toBe(1);
    expect(err).toMatch(/the policy does not compile:\n {2}docs\.rego:13: .+/);
    expect(existsSync(desk.at("work/started"))).toBe(false);
  });

  test("wrong usage: 2, with what is possible; nothing is started", async () => {
    for (const args of [
      ["run", "--no-such-option", "--", "true"],
      ["run"],
      ["run", "--fail-on", "allow", "--", "true"],
      ["run", "--allow", "not a host", "--", "true"],
      ["no-such-command"],
    ]) {
      const { code, out, err } = await desk.sidegate(...args);
      expect([code, out], args.join(" ")).toEqual([2, ""]);
      expect(err, args.join(" ")).toMatch(/^error: .+/m);
    }
  });

  test("a command that is not there: 127 as a shell has it, or a sentence; a folder that is not there: a sentence", async () => {
    const missing = await desk.sidegate("run", "--policy", desk.at("policy"), "--", "no-such-program");
    expect(missing.code).not.toBe(0);
    expect(missing.err).toMatch(/no-such-program/);
    const folder = await desk.sidegate("run", "--policy", desk.at("nowhere"), "--", "true");
    expect(folder.code).not.toBe(0);
    expect(folder.err).toMatch(/nowhere/);
    expect(folder.err).not.toMatch(/\n\s+at /);
  });
});
