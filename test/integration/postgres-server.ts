/**
 * A real PostgreSQL for a test: Debian's programs, a cluster of its own in a temporary folder, run by an ordinary user, listening on
 * loopback. TLS with a certificate for `db.test`, passwords by SCRAM; what a test wants otherwise stands in pg_hba.conf.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { TestContext } from "vitest";
import { requireThat } from "../support/require.ts";
import { certificateFor } from "../support/sidecar-upstream.ts";

const run = promisify(execFile);
const HOME = "/usr/lib/postgresql";
/** The server refuses to run as root, and as somebody whom the system does not know. Debian's package makes the first one. */
const USERS = ["postgres", "nobody"] as const;
const READY_MS = 30_000;

export const DB_HOST = "db.test";
export const SUPERUSER = "postgres";

export interface PostgresPlan {
  /** Lines of pg_hba.conf, first match wins; default: SCRAM for everybody. */
  readonly hba?: readonly string[];
  /** Lines of postgresql.conf. */
  readonly conf?: readonly string[];
  /** Statements to run first, as superuser. */
  readonly sql?: string;
}

export interface PostgresServer {
  readonly port: number;
  readonly version: string;
  readonly caPem: string;
  /** The superuser's; trusted on the server's own unix socket only. */
  psql(sql: string, database?: string): Promise<string>;
  close(): Promise<void>;
}

/** The newest installed version's folder of programs, or null. */
export function postgresBin(): string | null {
  try {
    const [newest] = readdirSync(HOME).sort((a, b) => Number(b) - Number(a));
    return newest === undefined ? null : path.join(HOME, newest, "bin");
  } catch {
    return null;
  }
}

export function requirePostgres(context: TestContext): string {
  const bin = postgresBin();
  requireThat(context, bin !== null, "PostgreSQL's server is not installed (apt-get install postgresql)");
  return bin ?? "";
}

export async function startPostgres(bin: string, plan: PostgresPlan = {}): Promise<PostgresServer> {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-pg-"));
  const root = process.getuid?.() === 0;
  const uid = root ? uidOf(USERS) : null;
  const as = uid === null ? {} : { uid, gid: uid };
  const own = (file: string, mode: number): void => {
    chmodSync(file, mode);
    if (uid !== null) chownSync(file, uid, uid);
  };
  own(folder, 0o700);
  const data = path.join(folder, "data");
  const sockets = path.join(folder, "run");
  mkdirSync(sockets);
  own(sockets, 0o700);
  const env = { PATH: "/usr/bin:/bin", LC_ALL: "C.UTF-8", HOME: folder };
  await run(
    path.join(bin, "initdb"),
    ["-D", data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync"],
    {
      ...as,
      env,
      cwd: folder,
    },
  );
  const { caPem, key, cert } = certificateFor(DB_HOST);
  for (const [name, text] of [
    ["server.key", key],
    ["server.crt", cert],
    [
      "pg_hba.conf",
      ["local all all trust", ...(plan.hba ?? ["host all all 127.0.0.1/32 scram-sha-256"]), ""].join("\n"),
    ],
  ] as const) {
    const file = path.join(data, name);
    writeFileSync(file, text);
    own(file, 0o600);
  }
  const port = await freePort();
  const settings = [
    `port=${port}`,
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=${sockets}`,
    "ssl=on",
    "fsync=off",
    "password_encryption=scram-sha-256",
    "log_min_messages=warning",
    ...(plan.conf ?? []),
  ].flatMap((setting) => ["-c", setting]);
  const server = spawn(path.join(bin, "postgres"), ["-D", data, ...settings], {
    ...as,
    env,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  server.stderr.on("data", (bytes: Buffer) => {
    log = (log + bytes.toString()).slice(-20_000);
  });
  const close = async (): Promise<void> => {
    await ended(server);
    rmSync(folder, { recursive: true, force: true });
  };
  const psql = async (sql: string, database = "postgres"): Promise<string> => {
    const file = path.join(bin, "psql");
    const args = [
      "-X",
      "-q",
      "-A",
      "-t",
      "-v",
      "ON_ERROR_STOP=1",
      "-h",
      sockets,
      "-p",
      String(port),
      "-U",
      SUPERUSER,
      "-d",
      database,
      "-c",
      sql,
    ];
    const { stdout } = await run(file, args, { ...as, env, cwd: folder, maxBuffer: 64 * 1_048_576 });
    return stdout.trimEnd();
  };
  try {
    const end = Date.now() + READY_MS;
    for (;;) {
      try {
        const version = await psql("show server_version");
        if (plan.sql !== undefined) await psql(plan.sql);
        return { port, version, caPem, psql, close };
      } catch (fault) {
        if (Date.now() > end || server.exitCode !== null) throw fault;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  } catch (fault) {
    await close();
    throw new Error(`PostgreSQL did not start\n${log}`, { cause: fault });
  }
}

function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    server.once("exit", () => resolve());
    // Immediate shutdown: nothing in it is worth keeping.
    server.kill("SIGQUIT");
  });
}

function uidOf(names: readonly string[]): number {
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of names) {
    const uid = lines.find((line) => line.startsWith(`${name}:`))?.split(":")[2];
    if (uid !== undefined) return Number(uid);
  }
  throw new Error(`nobody to run the server as: ${names.join(", ")}`);
}

export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
