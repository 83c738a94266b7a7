/**
 * examples/crewai as its README says: a real CrewAI, unchanged, under `sidegate run`; its model plays a script. The crew gets its answers
 * with a key that it does not have, reads an invoice, and is told by the model's own tool why it may not delete one.
 *
 * CrewAI and what it brings are 1 GB and about a minute to install: once, into the cache folder.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { opaForTests } from "../support/policy-texts.ts";
import { findProgram, requireThat, requireTool } from "../support/require.ts";

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, "../..");
const EXAMPLE = path.join(ROOT, "examples/crewai");
const INSTALL_MS = 600_000;
const KEY = `sk-${randomBytes(18).toString("hex")}`;
const TOLD = "refused: Invoices are never deleted by an agent. Open a ticket with the billing team.";

let folder = "";
let python: string | null = null;
let model: ChildProcess | undefined;
let opa = "";
const lines: { at?: string; line?: string; authorized?: boolean | null }[] = [];

/** Python with CrewAI, made where it is missing; null where it cannot be. */
async function crewai(): Promise<string | null> {
  const requirements = path.join(EXAMPLE, "requirements.txt");
  const version = readFileSync(requirements, "utf8").trim().replace("==", "-");
  const cache = path.join(
    process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"),
    "sidegate",
    `${version}.venv`,
  );
  const own = path.join(cache, "bin/python");
  if (existsSync(path.join(cache, "installed"))) return own;
  try {
    rmSync(cache, { recursive: true, force: true });
    mkdirSync(path.dirname(cache), { recursive: true });
    await run(findProgram("python3") ?? "python3", ["-m", "venv", cache]);
    await run(own, ["-m", "pip", "install", "-q", "-r", requirements], { timeout: INSTALL_MS });
    writeFileSync(path.join(cache, "installed"), "");
    return own;
  } catch {
    return null;
  }
}

beforeAll(async () => {
  [python, opa] = [await crewai(), await opaForTests()];
  if (python === null) return;
  // Not under /tmp: that is another folder inside a run.
  folder = mkdtempSync(path.join(userInfo().uid === 0 ? "/opt" : homedir(), "sidegate-crewai-"));
  for (const name of ["work", "home", "state"]) mkdirSync(path.join(folder, name));
  const certificate = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
  ];
  const names = ["-subj", "/CN=crew", "-addext", "subjectAltName=DNS:api.openai.com,DNS:billing.example"];
  execFileSync("openssl", [...certificate, ...names, "-keyout", at("tls.key"), "-out", at("tls.crt")], {
    stdio: "ignore",
  });
  const ports = await startModel();
  cpSync(path.join(EXAMPLE, "policy"), at("policy"), { recursive: true });
  const targets = readFileSync(at("policy/targets/model.yaml"), "utf8").split("---\n");
  const ca = readFileSync(at("tls.crt"), "utf8").replaceAll(/^(?=.)/gm, "      ");
  const here = targets.map(
    (text, i) => `${text}  endpoints: ["127.0.0.1:${ports[i] ?? 0}"]\n  upstream:\n    ca: |\n${ca}`,
  );
  writeFileSync(at("policy/targets/model.yaml"), here.join("---\n"));
}, INSTALL_MS + 60_000);
afterAll(() => {
  model?.kill();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => path.join(folder, name);

/** Of the model and of the invoices. */
function startModel(): Promise<readonly [number, number]> {
  const argv = [
    path.join(EXAMPLE, "model.py"),
    "--cert",
    at("tls.crt"),
    "--key",
    at("tls.key"),
    "--bearer",
    "MODEL_KEY",
  ];
  const child = spawn(findProgram("python3") ?? "python3", argv, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: "/usr/bin:/bin", MODEL_KEY: KEY },
  });
  model = child;
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line) as { model?: number; billing?: number };
      if (said.model === undefined) lines.push(said as (typeof lines)[number]);
      else resolve([said.model, said.billing ?? 0]);
    });
    child.once("exit", (code) => reject(new Error(`the model ended with ${code}`)));
  });
}

test("a real CrewAI agent works unchanged, with a key that it does not have, and is told what it may not do", {
  timeout: 170_000,
}, async (context) => {
  requireTool(context, "openssl");
  requireThat(context, python !== null, "CrewAI cannot be installed by pip");
  const argv = ["run", "--policy", at("policy"), "--", python ?? "", path.join(EXAMPLE, "agent.py")];
  const env = {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: at("home"),
    LANG: "C.UTF-8",
    XDG_STATE_HOME: at("state"),
    SIDEGATE_OPA: opa,
    MODEL_KEY: KEY,
    OPENAI_BASE_URL: "https://api.openai.com/v1",
    BILLING_URL: "https://billing.example",
  };
  const options = { cwd: at("work"), env, timeout: 160_000, maxBuffer: 16_777_216 };
  const ran = await run(path.join(ROOT, "bin/sidegate"), argv, options).catch(
    (fault: unknown) => fault as { stdout: string; stderr: string },
  );
  const said = `${ran.stdout}\n${ran.stderr}`;
  expect(ran.stdout, said).toContain(`crew: Invoice 7 says {"invoice":7,"amount":120.5}; deleting it was ${TOLD}`);
  expect(lines.map(({ at: where, line }) => `${where} ${line}`)).toEqual([
    "model POST /v1/chat/completions HTTP/1.1",
    "billing GET /v1/invoices/7 HTTP/1.1",
    "model POST /v1/chat/completions HTTP/1.1",
    "model POST /v1/chat/completions HTTP/1.1",
  ]);
  expect(lines.filter(({ authorized }) => authorized === true)).toHaveLength(3);
  expect(ran.stderr).toMatch(/deny +DELETE https:\/\/billing\.example\/v1\/invoices\/7 .*crew\/no_deletes/);
  expect(said).not.toContain(KEY);
});
