/**
 * A PostgreSQL server of its own for generators and tests: Debian's binaries, a new cluster in a temporary folder, an ordinary user
 * (the server refuses root), a Unix socket and one loopback port. Ended by its own pid, and the folder goes with it.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** nobody and nogroup, used where this process is root. */
const ORDINARY = 65_534;
const START_LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 50;

export interface PostgresServer {
  readonly folder: string;
  /** Also the name of the socket: `<folder>/.s.PGSQL.<port>`. */
  readonly port: number;
  /** Superuser, trusted on the socket. */
  readonly owner: "owner";
  readonly version: string;
  stop(): Promise<void>;
}

/** The newest of Debian's installed versions; null: none here. */
export function postgresBinaries(): string | null {
  for (let version = 19; version >= 12; version--) {
    const folder = `/usr/lib/postgresql/${version}/bin`;
    if (existsSync(`${folder}/initdb`)) return folder;
  }
  return null;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** `settings` are lines of postgresql.conf, `hba` replaces pg_hba.conf (default: trust on the socket, SCRAM on loopback). */
export async function startPostgres(settings: readonly string[] = [], hba?: string): Promise<PostgresServer> {
  const binaries = postgresBinaries();
  if (binaries === null) throw new Error("no PostgreSQL server is installed (apt-get install postgresql)");
  const folder = await mkdtemp(path.join(tmpdir(), "pg-"));
  const root = process.getuid?.() === 0;
  const as = root ? { uid: ORDINARY, gid: ORDINARY } : {};
  if (root) await chown(folder, ORDINARY, ORDINARY);
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8", HOME: folder };
  const data = path.join(folder, "data");
  await run(
    `${binaries}/initdb`,
    [
      "-D",
      data,
      "-U",
      "owner",
      "-E",
      "UTF8",
      "--locale=C.UTF-8",
      "-N",
      "--auth-local=trust",
      "--auth-host=scram-sha-256",
    ],
    { ...as, env, cwd: folder },
  );
  const port = await freePort();
  const { writeFile, appendFile } = await import("node:fs/promises");
  if (hba !== undefined) await writeFile(path.join(data, "pg_hba.conf"), hba);
  const conf = [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${folder}'`,
    "fsync = off",
    "shared_buffers = 16MB",
    "max_connections = 40",
    "logging_collector = off",
    ...settings,
  ];
  await appendFile(path.join(data, "postgresql.conf"), `${conf.join("\n")}\n`);
  const child: ChildProcess = spawn(`${binaries}/postgres`, ["-D", data], {
    ...as,
    env,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (part: string) => {
    said = (said + part).slice(-16_384);
  });
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGINT"); // fast shutdown
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = performance.now() + START_LIMIT_MS;
  for (;;) {
    const pid = await readFile(path.join(data, "postmaster.pid"), "utf8").catch(() => "");
    if (pid.split("\n")[7]?.trim() === "ready") break;
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop();
      throw new Error(`PostgreSQL did not start: ${said}`);
    }
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
  return { folder, port, owner: "owner", version: path.basename(path.dirname(binaries)), stop };
}
