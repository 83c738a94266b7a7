/**
 * `make demo`: real, unchanged agents (Python's standard library, Node's fetch, curl, node-pg) under Sidegate, and what an admin would want
 * to see of them. Each scene is checked; the last line is `demo: ok` only when every one held.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Api, startApi } from "./api.ts";

const HERE = import.meta.dirname;
const ROOT = path.resolve(HERE, "../..");
const SIDEGATE = path.join(ROOT, "bin/sidegate");
const NODE = process.execPath;
/** Of one scene; generous, for a machine that is busy with other things. */
const LIMIT_MS = 120_000;

const work = mkdtempSync(path.join(tmpdir(), "sidegate-demo-"));
const policy = path.join(work, "policy");
const desk = path.join(work, "desk");
// In the working folder, as an agent of somebody would be: /tmp is a private one inside.
const agents = path.join(desk, "agents");
const state = path.join(work, "state");
/** Made anew for each run: what is found anywhere can only come from here. */
const password = `shop-${randomBytes(12).toString("hex")}`;
/** A clone below /tmp would not be seen inside, and with it neither Node nor its packages. They stay read-only as our own program. */
const shown = /^(?:\/var)?\/tmp\//.test(ROOT) ? ["--write", path.join(ROOT, "node_modules")] : [];
let failures = 0;
let running: ChildProcess | null = null;

function title(text: string): void {
  console.log(`\n── ${text}`);
}

function check(what: string, held: boolean): void {
  console.log(`   ${held ? "✓" : "✗"} ${what}`);
  if (!held) failures++;
}

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command under Sidegate; `watch` sees what it prints, and may act. */
function underSidegate(argv: readonly string[], watch: (out: string) => void = () => {}): Promise<Ran> {
  const child = spawn(SIDEGATE, ["run", "--policy", policy, ...shown, "--", ...argv], {
    cwd: desk,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running = child;
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    watch(out);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const late = setTimeout(() => child.kill("SIGTERM"), LIMIT_MS);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(late);
      running = null;
      resolve({ code, out, err });
    });
  });
}

function environment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    XDG_STATE_HOME: state,
    SHOP_PASSWORD: password,
    DEMO_HOST_PORT: String(api.httpPort),
    NO_COLOR: "1",
  };
}

/** A command line of ours, as an admin would type it. */
function sidegate(...args: readonly string[]): Ran {
  const ran = spawnSync(SIDEGATE, args, { cwd: desk, env: environment(), encoding: "utf8", timeout: LIMIT_MS });
  return { code: ran.status, out: ran.stdout, err: ran.stderr };
}

function show(text: string, prefix = "   "): void {
  for (const line of text.trimEnd().split("\n")) if (line !== "") console.log(`${prefix}${line}`);
}

function showRun({ out, err }: Ran): void {
  show(err.replaceAll(/^sidegate: kept after.*\n/gm, ""));
  show(out, "   │ ");
}

async function main(): Promise<void> {
  console.log(
    "A billing API runs on this machine. The agents below know nothing of Sidegate: no proxy variable, no certificate option.",
  );

  title("An agent at work: three clients, over HTTPS and HTTP");
  const first = await underSidegate([
    "sh",
    "-c",
    [
      `python3 ${agents}/agent.py GET https://billing.test/v1/invoices/7`,
      `${NODE} ${agents}/agent.mjs GET http://billing.test/v1/invoices/7`,
      "curl -sS https://billing.test/v1/invoices/7",
      `python3 ${agents}/agent.py DELETE https://billing.test/v1/invoices/7`,
      "curl -sS -o /dev/null -w '%{http_code}\\n' https://billing.test/admin/keys",
      "curl -sS https://elsewhere.test/ 2>&1 || true",
    ].join("; "),
  ]);
  showRun(first);
  check(
    "reading an invoice is allowed: Python over HTTPS, Node over HTTP, curl over HTTPS",
    first.out.match(/"invoice":7/g)?.length === 3,
  );
  check(
    "TLS was read: the DELETE inside it was denied, with the policy's reason",
    first.out.includes("403 no_deletes - Invoices are never deleted by an agent."),
  );
  check("what no policy allows is denied", /^403$/m.test(first.out));
  check("a name that no target lists does not resolve", /Could not resolve host: elsewhere.test/.test(first.out));
  check(
    "nothing that was denied reached the API",
    api.seen.length === 3 && api.seen.every((line) => line === "GET /v1/invoices/7"),
  );
  check("the command's own exit code is kept", first.code === 0);

  title("The policy changes while the agent runs");
  const rego = path.join(policy, "billing.rego");
  const before = readFileSync(rego, "utf8");
  let changed = false;
  const second = await underSidegate(
    [
      "sh",
      "-c",
      `for i in $(seq 300); do s=$(curl -sS -o /dev/null -w '%{http_code}' https://billing.test/v1/invoices/7); echo $s; [ $s = 403 ] && exit 0; sleep 0.1; done; exit 1`,
    ],
    (out) => {
      if (changed || !out.includes("200")) return;
      changed = true;
      writeFileSync(
        rego,
        `${before}\ndeny contains {"code": "closed", "message": "Billing is closed for today."} if input.action != "connect"\n`,
      );
    },
  );
  writeFileSync(rego, before);
  show(
    second.err
      .split("\n")
      .filter((line) => line.includes("takes the place") || line.includes("closed"))
      .join("\n"),
  );
  check(
    "the running agent was allowed before, and denied as soon as the new policy was in force",
    second.code === 0 && /200/.test(second.out) && second.out.endsWith("403\n"),
  );

  const kept = await databaseScene();

  title("A hijacked agent tries to get out");
  const third = await underSidegate(["python3", path.join(agents, "bypass.py")]);
  show(third.out, "   │ ");
  const attempts = third.out.trimEnd().split("\n");
  check(
    `all ${attempts.length} attempts died`,
    attempts.length === 12 && attempts.every((line) => line.includes(": died")),
  );

  title("The record of it all");
  const runs = [...first.err.matchAll(/^sidegate: run (\w+)/gm)].map((match) => match[1] ?? "");
  const query = sidegate("audit", "query", "--run", runs[0] ?? "");
  show(query.out);
  const listed = sidegate("audit", "query", "--run", runs[0] ?? "", "--json").out;
  const methods = [...listed.matchAll(/"method":"(\w+)"/g)].map((match) => match[1]);
  check(
    "each request of the first agent is on record, once: four GET, one DELETE",
    methods.filter((m) => m === "GET").length === 4 && methods.filter((m) => m === "DELETE").length === 1,
  );
  const denied = listed.split("\n").find((line) => line.includes('"DELETE"')) ?? "";
  const why = sidegate("why", /"id":"([a-z0-9]+-\d+)"/.exec(denied)?.[1] ?? "");
  console.log("");
  show(why.out);
  check(
    "sidegate why names the policy's line that denied the DELETE",
    why.code === 0 && /billing\.rego:\d+/.test(why.out),
  );
  console.log("");
  const verify = sidegate("audit", "verify");
  show(verify.out);
  check("the record is whole: chains, Merkle log and signed checkpoint verify", verify.code === 0);

  check(
    "the database's password is in no record, log or file",
    filesBelow(work).every((file) => !kept.test(readFileSync(file, "latin1"))),
  );

  title("Nothing is left behind");
  check("no folder of a run", readdirSync(path.join(state, "sidegate", "runs")).length === 0);
  check("no process", spawnSync("pgrep", ["-f", work]).status === 1);
  const tables = spawnSync("nft", ["list", "tables"], {
    encoding: "utf8",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  check("no rule of ours on this machine", !tables.stdout.includes("inet sidegate"));
}

/** Returns what must not be found anywhere afterwards. */
async function databaseScene(): Promise<RegExp> {
  title("A database without a password, and masked columns");
  const agent = [NODE, path.join(agents, "database.mjs")];
  const { port } = await database.ready;
  const alone = spawnSync(agent[0] ?? "", [...agent.slice(1), "127.0.0.1", String(port)], { encoding: "utf8" });
  show(alone.stdout, "   │ without Sidegate: ");
  const ran = await underSidegate(agent);
  showRun(ran);
  database.end();
  check("the database asks for a password, and the agent has none", /^cannot connect: .*password/.test(alone.stdout));
  check("with Sidegate before it the same agent reads rows, its e-mail addresses masked", masked(ran.out));
  check(
    "a DROP is denied with the policy's advice, and so is a way around the mask",
    ran.out.includes("HINT: Ask the shop team for a migration.") && /upper\(email\).*\n {2}ERROR/.test(ran.out),
  );
  check("the session goes on after it", /\n {2}\{"users":3\}\n$/.test(ran.out) && ran.code === 0);
  return new RegExp(password);
}

const masked = (out: string): boolean =>
  out.match(/"email":"tok_email_[0-9a-z]{16}"/g)?.length === 2 && out.includes('"email":null') && !out.includes("@");

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

interface Database {
  readonly ready: Promise<{ readonly port: number }>;
  end(): void;
}

/** Begins to start: it needs some seconds. */
function startDatabase(): Database {
  const argv = ["--disable-warning=ExperimentalWarning", path.join(HERE, "database.ts"), path.join(work, "db.sock")];
  const child = spawn(NODE, argv, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], SHOP_PASSWORD: password },
  });
  return {
    ready: new Promise((resolve, reject) => {
      child.stdout.once("data", (line: Buffer) => resolve(JSON.parse(line.toString()) as { port: number }));
      child.once("exit", () => reject(new Error("the demo's database ended")));
    }),
    end: () => child.stdin.end(),
  };
}

function targets(started: Api, port: number): string {
  const ca = started.caPem.replaceAll(/^(?=.)/gm, "      ");
  return `# What the agent may know of. In the demo both live on loopback; endpoints says where.
apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata: {name: billing}
spec:
  hosts: [billing.test]
  ports: [443]
  protocol: http
  endpoints: ["127.0.0.1:${started.httpsPort}"]
  upstream:
    ca: |
${ca}
---
apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata: {name: billing-plain}
spec:
  hosts: [billing.test]
  ports: [80]
  protocol: http
  tls: none
  endpoints: ["127.0.0.1:${started.httpPort}"]
---
apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata: {name: shop}
spec:
  hosts: [db.shop.test]
  ports: [5432]
  protocol: postgres
  endpoints: ["127.0.0.1:${port}"]
  credential: shop
  insecureCredential: true # loopback, in the demo; elsewhere over TLS that is verified
`;
}

const database = startDatabase();
const api = await startApi("billing.test");
function cleanUp(): void {
  database.end();
  rmSync(work, { recursive: true, force: true });
}
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => {
    console.log("\ndemo: stopped");
    const child = running;
    if (child === null) {
      cleanUp();
      process.exit(code);
    }
    child.once("close", () => {
      cleanUp();
      process.exit(code);
    });
    child.kill("SIGTERM");
  });

try {
  for (const folder of [policy, state, desk]) mkdirSync(folder);
  cpSync(path.join(HERE, "policy"), policy, { recursive: true });
  cpSync(path.join(HERE, "agents"), agents, { recursive: true });
  // node-pg, for the agent that has a database.
  symlinkSync(path.join(ROOT, "node_modules"), path.join(desk, "node_modules"));
  writeFileSync(path.join(policy, "targets.yaml"), targets(api, (await database.ready).port));
  await main();
} finally {
  await api.close();
  cleanUp();
}
console.log(failures === 0 ? "\ndemo: ok" : `\ndemo: ${failures} checks failed`);
process.exitCode = failures === 0 ? 0 : 1;
