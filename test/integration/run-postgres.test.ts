/**
 * The example of a database without a password, under `sidegate run` and on a real PostgreSQL: rows come masked, a DROP is denied and the
 * session goes on; and the password is nowhere that anybody could read it: not in what the agent has, not in an argument, a file, a
 * log or the record, and not in the gateway's memory for the agent to look into.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { opaForTests } from "../support/policy-texts.ts";
import { DB_HOST, type PostgresServer, postgresBin, requirePostgres, startPostgres } from "./postgres-server.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const NODE = process.execPath;
const EXAMPLE = path.join(ROOT, "examples/database/policy");
/** Made anew for each test run: what is found anywhere can only come from here. */
const PASSWORD = `pw-${randomBytes(18).toString("hex")}`;

let folder = "";
let opa = "";
let server: PostgresServer | null = null;

beforeAll(async () => {
  const bin = postgresBin();
  if (bin === null) return;
  opa = await opaForTests();
  server = await startPostgres(bin, {
    // An answer of 'trust' would prove nothing of the password.
    hba: ["hostssl all all 127.0.0.1/32 scram-sha-256"],
    sql: `CREATE ROLE agent_reader LOGIN PASSWORD '${PASSWORD}';
      CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
      INSERT INTO customers VALUES (1, 'Ada', 'ada@private.example'), (2, 'Ben', 'ben@private.example');
      GRANT SELECT, INSERT ON customers TO agent_reader;`,
  });
  // Not under /tmp: that is another folder inside a run.
  folder = mkdtempSync(path.join(process.getuid?.() === 0 ? "/opt" : homedir(), "sidegate-run-postgres-"));
  for (const name of ["policy", "state", "work"]) mkdirSync(path.join(folder, name), { mode: 0o700 });
  cpSync(EXAMPLE, at("policy"), { recursive: true });
  const target = {
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "EgressTarget",
    metadata: { name: "orders" },
    spec: {
      hosts: [DB_HOST],
      ports: [5432],
      protocol: "postgres",
      readOnly: true,
      credential: "orders",
      credentialFrom: { kind: "password", secret: { name: "orders-db" }, user: "agent_reader" },
      endpoints: [`127.0.0.1:${server.port}`],
      upstream: { ca: server.caPem },
    },
  };
  writeFileSync(at("policy/targets/orders.yaml"), JSON.stringify(target));
}, 600_000);

afterAll(async () => {
  await server?.close();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => path.join(folder, name);

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

/** The password as it is, as base64, and as hex. */
const FORMS = [PASSWORD, Buffer.from(PASSWORD).toString("base64").slice(0, -4), Buffer.from(PASSWORD).toString("hex")];
const holds = (bytes: Buffer | string): boolean => FORMS.some((form) => bytes.includes(form));

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

function processes(): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const command = readFileSync(`/proc/${name}/cmdline`, "latin1").replaceAll("\0", " ");
      found.push({ pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]), command });
    } catch {
      // It has ended meanwhile.
    }
  return found;
}

function below(pid: number): Process[] {
  const all = processes();
  const found = all.filter(({ parent }) => parent === pid);
  for (const each of found) found.push(...all.filter(({ parent }) => parent === each.pid));
  return found;
}

/** What somebody of the same uid, without any capability, gets of another process. */
function peek(pid: number): string {
  const script =
    'const fs=require("fs");for(const n of ["environ","mem","maps"])try{fs.readSync(fs.openSync(`/proc/${process.argv[1]}/${n}`,"r"),Buffer.alloc(8));console.log(n,"open")}catch(e){console.log(n,e.code)}';
  const bare = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", NODE] : [NODE];
  const [command, ...args] = [...bare, "-e", script, String(pid)];
  return spawnSync(command, args, { encoding: "utf8" }).stdout.trim();
}

test("E10: an agent reads masked rows with a placeholder, and the database's password is nowhere", async (context) => {
  requirePostgres(context);
  const script = [
    `psql -X -A -t "host=${DB_HOST} user=whoever dbname=postgres sslmode=require" -c 'SELECT id, name, email FROM customers ORDER BY id' -c 'DROP TABLE customers' -c "SELECT 'still ' || count(*) FROM customers"`,
    "tr '\\0' '\\n' < /proc/self/environ",
    "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'",
    "echo ready; read pids",
    // The gateway's processes by the numbers that they have outside: not there, whatever is asked for.
    'for p in $pids; do head -c1 /proc/$p/mem; cat /proc/$p/environ; done 2>&1 | sed "s/^/peek /"',
    "echo seen; read line",
  ].join("; ");
  const child: ChildProcess = spawn(
    NODE,
    [
      "--disable-warning=ExperimentalWarning",
      path.join(ROOT, "cmd/sidegate/main.ts"),
      "run",
      "--policy",
      at("policy"),
      "--",
      "sh",
      "-c",
      script,
    ],
    {
      cwd: at("work"),
      env: {
        ...process.env,
        HOME: homedir(),
        XDG_STATE_HOME: at("state"),
        SIDEGATE_OPA: opa,
        ORDERS_DB_PASSWORD: PASSWORD,
        DATABASE_URL: `postgres://agent_reader:${PASSWORD}@${DB_HOST}/postgres`,
      },
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (piece: string) => (said += piece));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  await until(
    () => said.includes("\nready\n") || child.exitCode !== null,
    () => said,
  );
  // What it is for.
  expect(said).toMatch(/^1\|Ada\|(?!ada@)\S+$/m);
  expect(said).toMatch(/^2\|Ben\|(?!ben@)\S+$/m);
  expect(said).not.toContain("@private.example");
  expect(said).toContain("Tables are made and dropped by people");
  expect(said).toMatch(/^still 2$/m);
  expect(await server?.psql("SELECT count(*) FROM customers")).toContain("2");
  // What the agent has instead of the password, and what it does not have.
  expect(said).toContain("PGPASSWORD=sidegate-placeholder-orders");
  expect(said).toContain("DATABASE_URL holds a credential");
  expect(holds(said)).toBe(false);

  // While all of it runs: the caller's own process, and this one, were given it; nobody else has it where others can look.
  const own = new Set([process.pid, child.pid ?? 0]);
  const tree = below(child.pid ?? 0);
  const sidecar = tree.find(({ command }) => /sidecar\.(ts|js)/.test(command));
  expect(sidecar, JSON.stringify(tree)).toBeDefined();
  for (const { pid } of processes().filter((one) => !own.has(one.pid)))
    for (const what of ["cmdline", "environ"]) {
      const file = `/proc/${pid}/${what}`;
      const text = existsSync(file) ? readOrNothing(file) : Buffer.alloc(0);
      expect(holds(text), file).toBe(false);
    }
  expect(peek(sidecar?.pid ?? 0)).toBe("environ EACCES\nmem EACCES\nmaps EACCES");
  const written = ["state", "work", "policy"].flatMap((name) => filesBelow(at(name)));
  const memory = readdirSync("/dev/shm").filter((name) => name.startsWith("sidegate-"));
  const all = [...written, ...memory.flatMap((name) => filesBelow(path.join("/dev/shm", name)))];
  // The record's database, its write-ahead log, and the spool are among them.
  for (const part of ["audit.db", "audit.db-wal", "/spool/"])
    expect(
      all.some((file) => file.includes(part)),
      part,
    ).toBe(true);
  expect(all.filter((file) => holds(readOrNothing(file)))).toEqual([]);

  // A small number could be a process of the agent's own in there.
  const outside = [child.pid ?? 0, ...tree.map(({ pid }) => pid)].filter((pid) => pid > 300);
  child.stdin?.write(`${outside.join(" ")}\n`);
  await until(
    () => said.includes("\nseen\n") || child.exitCode !== null,
    () => said,
  );
  const peeked = said.split("\n").filter((line) => line.startsWith("peek "));
  expect(holds(said)).toBe(false);
  expect(peeked.filter((line) => !/No such file|Permission denied|cannot open|Input\/output error/.test(line))).toEqual(
    [],
  );
  child.stdin?.end("go on\n");
  expect(await ended, said).toBe(0);
  expect(filesBelow(at("state")).filter((file) => holds(readFileSync(file)))).toEqual([]);
  const record = readFileSync(at("state/sidegate/audit.db"));
  expect(record.includes('"credential":"orders"')).toBe(true);
  // Nor what was masked.
  expect(record.includes("@private.example")).toBe(false);
}, 180_000);

function readOrNothing(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
