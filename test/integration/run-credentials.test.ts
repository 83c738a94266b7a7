/**
 * An agent without a secret, under `sidegate run`: the gateway puts the credential in, and its value is nowhere that anybody could
 * read it: not in what the agent has, not in an argument, a file, a log or the record.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { opaForTests } from "../support/policy-texts.ts";
import { httpsUpstream, type SecureUpstream } from "../support/sidecar-upstream.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const NODE = process.execPath;
/** Made anew for each test run: what is found anywhere can only come from here. */
const SECRETS = { billing: `sk-${randomBytes(18).toString("hex")}`, search: randomBytes(16).toString("base64url") };

let folder = "";
let upstream: SecureUpstream;
let opa = "";
const got: { readonly url: string; readonly headers: Record<string, unknown> }[] = [];

beforeAll(async () => {
  opa = await opaForTests();
  // Not under /tmp: that is another folder inside a run.
  folder = mkdtempSync(path.join(process.getuid?.() === 0 ? "/opt" : homedir(), "sidegate-credentials-"));
  for (const name of ["policy", "state", "work", "secrets"]) mkdirSync(path.join(folder, name), { mode: 0o700 });
  upstream = await httpsUpstream("billing.test", (request, response) => {
    got.push({ url: request.url ?? "", headers: request.headers });
    response.end("an invoice\n");
  });
  writeFileSync(
    at("policy/targets.yaml"),
    JSON.stringify({
      apiVersion: "sidegate.dev/v1alpha1",
      kind: "EgressTarget",
      metadata: { name: "billing" },
      spec: {
        hosts: ["billing.test"],
        ports: [443],
        protocol: "http",
        credential: "billing",
        endpoints: [`127.0.0.1:${upstream.port}`],
        upstream: { ca: upstream.caPem },
      },
    }),
  );
  writeFileSync(
    at("policy/billing.rego"),
    `package sidegate.policy.billing

allow if {
	input.target.name == "billing"
	input.action == "read"
}

credential := "billing" if input.target.name == "billing"
`,
  );
  writeFileSync(
    at("policy/credentials.yaml"),
    "credentials:\n  billing: { kind: bearer, from: { env: BILLING_TOKEN } }\n  search: { kind: header, header: X-Api-Key, from: { file: ../secrets/search } }\n",
  );
  writeFileSync(at("secrets/search"), `${SECRETS.search}\n`);
  chmodSync(at("secrets/search"), 0o600);
}, 600_000);

afterAll(async () => {
  await upstream?.close();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => path.join(folder, name);

interface Run {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly ended: Promise<number | null>;
}

function run(command: readonly string[], options: readonly string[] = []): Run {
  const argv = ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/sidegate/main.ts"), "run"];
  const child = spawn(NODE, [...argv, "--policy", at("policy"), ...options, "--", ...command], {
    cwd: at("work"),
    env: {
      ...process.env,
      HOME: homedir(),
      XDG_STATE_HOME: at("state"),
      SIDEGATE_OPA: opa,
      BILLING_TOKEN: SECRETS.billing,
      ALSO: `Bearer ${SECRETS.billing}`,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (piece: string) => (text += piece));
  return {
    child,
    said: () => text,
    ended: new Promise((resolve) => child.once("close", resolve)),
  };
}

async function until(is: () => boolean, what: () => string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!is()) {
    if (Date.now() > end) throw new Error(`not in time: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Every file below, whatever it is called. */
function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true })
    .map((name) => path.join(root, String(name)))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

/** Where a secret stands, in plain or as base64. */
function holders(files: readonly string[], secret: string): string[] {
  const forms = [secret, Buffer.from(secret).toString("base64").slice(0, -4)];
  return files.filter((file) => {
    const bytes = readFileSync(file);
    return forms.some((form) => bytes.includes(form));
  });
}

/** Arguments and environments of all processes of this machine that we may read, but for those of `own`. */
function processTexts(own: ReadonlySet<number>): string[] {
  const names = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && !own.has(Number(name)));
  return names.flatMap((pid) =>
    ["cmdline", "environ"].flatMap((what) => {
      try {
        return [readFileSync(`/proc/${pid}/${what}`, "latin1")];
      } catch {
        return [];
      }
    }),
  );
}

test("E10, H3: the credential reaches the upstream, and is nowhere else: agent, arguments, environment, files, record", async () => {
  const script = [
    'curl -sS -H "Authorization: Bearer $BILLING_TOKEN" https://billing.test/v1/invoices',
    "tr '\\0' '\\n' < /proc/self/environ",
    `cat ${at("secrets/search")}; cat /proc/[0-9]*/environ | tr '\\0' '\\n'`,
    "echo ready; read line",
  ].join("; ");
  const { child, said, ended } = run(["sh", "-c", script]);
  await until(() => said().includes("\nready\n") || child.exitCode !== null, said);
  expect(said()).toContain("an invoice");
  expect(got.map(({ url, headers }) => [url, headers["authorization"], headers["accept-encoding"]])).toEqual([
    ["/v1/invoices", `Bearer ${SECRETS.billing}`, "identity"],
  ]);
  // What the agent saw, its environment included.
  for (const secret of Object.values(SECRETS)) expect(said()).not.toContain(secret);
  expect(said()).toContain("BILLING_TOKEN=sidegate-placeholder-billing");
  expect(said()).toContain("ALSO holds a credential");
  // While all of it runs: only the caller's own process, and this one, were ever given it.
  const own = new Set([process.pid, child.pid ?? 0]);
  expect(processTexts(own).filter((text) => text.includes(SECRETS.billing))).toEqual([]);
  const written = [...filesBelow(at("state")), ...filesBelow(at("work")), ...filesBelow(at("policy"))];
  const memory = readdirSync("/dev/shm").filter((name) => name.startsWith("sidegate-"));
  const all = [...written, ...memory.flatMap((name) => filesBelow(path.join("/dev/shm", name)))];
  expect(all.some((file) => file.endsWith(".db"))).toBe(true);
  expect(all.some((file) => file.includes("/spool/"))).toBe(true);
  for (const secret of Object.values(SECRETS)) expect(holders(all, secret)).toEqual([]);
  child.stdin?.end("go on\n");
  expect(await ended, said()).toBe(0);
  for (const secret of Object.values(SECRETS)) expect(holders(filesBelow(at("state")), secret)).toEqual([]);
  // The record says which credential, not what it is.
  expect(readFileSync(at("state/sidegate/audit.db")).includes('"credential":"billing"')).toBe(true);
});
