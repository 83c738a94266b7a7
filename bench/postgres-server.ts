/**
 * A PostgreSQL of the bench's own: Debian's programs, a cluster in the bench's folder, on loopback, without passwords and without TLS,
 * on the load's core. Neither it nor pgbouncer runs as root, so both are started as an account that the system knows.
 */
import { execFile } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { CORE, freePort, pause, type Started, start } from "./process.ts";

const run = promisify(execFile);
const HOME = "/usr/lib/postgresql";
const ACCOUNTS = ["postgres", "nobody"] as const;
const READY_MS = 30_000;

export const DB_USER = "bench";
export const DB_NAME = "bench";

export interface BenchDatabase extends Started {
  readonly port: number;
  readonly version: string;
}

/** The newest installed version's programs; null: not installed. */
export function postgresPrograms(): string | null {
  try {
    const [newest] = readdirSync(HOME).toSorted((a, b) => Number(b) - Number(a));
    return newest === undefined ? null : path.join(HOME, newest, "bin");
  } catch {
    return null;
  }
}

/** What goes in front of a command so that it does not run as root; empty where we are not root. */
export function ordinary(): readonly string[] {
  const id = ordinaryId();
  return id === null ? [] : ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups", "--"];
}

/** Makes the folder, for whoever `ordinary` is. */
export function ownFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const id = ordinaryId();
  if (id !== null) chownSync(folder, id, id);
}

/** With pgbench's tables of this scale: 100,000 accounts each. */
export async function startDatabase(bin: string, folder: string, scale: number): Promise<BenchDatabase> {
  // The account has to reach what is in it.
  chmodSync(folder, 0o711);
  const home = path.join(folder, "database");
  ownFolder(home);
  const data = path.join(home, "data");
  const port = await freePort();
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", HOME: home };
  const as = async (program: string, ...args: readonly string[]): Promise<string> => {
    const [file = "", ...rest] = [...ordinary(), path.join(bin, program), ...args];
    return (await run(file, rest, { env, cwd: home, maxBuffer: 1 << 20 })).stdout.trim();
  };
  await as("initdb", "-D", data, "-U", DB_USER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync");
  const settings = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${home}`, "fsync=off"];
  const server = start({
    core: CORE.load,
    cwd: home,
    env,
    command: [
      ...ordinary(),
      path.join(bin, "postgres"),
      "-D",
      data,
      ...settings.flatMap((setting) => ["-c", setting]),
      "-c",
      "log_min_messages=fatal",
    ],
  });
  const sql = (database: string, text: string): Promise<string> =>
    as("psql", "-X", "-q", "-A", "-t", "-h", home, "-p", String(port), "-U", DB_USER, "-d", database, "-c", text);
  const end = performance.now() + READY_MS;
  for (;;) {
    try {
      await sql("postgres", `create database ${DB_NAME}`);
      break;
    } catch (fault) {
      if (performance.now() > end || server.child.exitCode !== null) throw fault;
      await pause(100);
    }
  }
  await as("pgbench", "-i", "-q", "-s", String(scale), "-h", home, "-p", String(port), "-U", DB_USER, DB_NAME);
  return { pid: server.pid, port, version: await sql(DB_NAME, "show server_version"), stop: () => server.stop() };
}

function ordinaryId(): number | null {
  if (process.getuid?.() !== 0) return null;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ACCOUNTS) {
    const id = lines.find((line) => line.startsWith(`${name}:`))?.split(":")[2];
    if (id !== undefined) return Number(id);
  }
  throw new Error(`nobody to run a database as: ${ACCOUNTS.join(", ")}`);
}
