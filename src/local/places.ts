/**
 * Where `sidegate run` keeps what it keeps, by the XDG rules: the record under the state folder, one folder for each run while it
 * lasts. All of it is the user's alone (0700), and none of it is seen by the agent.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface Places {
  /** The collector's store. */
  readonly database: string;
  /** Unshipped records of this user's runs. */
  readonly spool: string;
  /** Of this run only; removed at its end. */
  readonly run: string;
  /** The sidecar's own: its authority's key must not reach a disk, so it lies in memory where the machine has such a folder. */
  readonly state: string;
  readonly trust: string;
  readonly bundle: string;
  readonly collectorSocket: string;
}

/** `base`: the state folder. Throws where it cannot be made. */
/** `memory`: a folder in memory; null: there is none. */
export function makePlaces(base: string, id: string, pid: number, memory: string | null): Places {
  const run = path.join(base, "runs", id);
  const places: Places = {
    database: path.join(base, "audit.db"),
    spool: path.join(base, "spool"),
    run,
    state: memory === null ? path.join(run, "state") : path.join(memory, `sidegate-${id}`),
    trust: path.join(run, "trust"),
    bundle: path.join(run, "bundle.tar.gz"),
    collectorSocket: path.join(run, "collector.sock"),
  };
  sweep(path.join(base, "runs"), memory);
  for (const folder of [places.spool, places.state, places.trust]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(path.join(run, "pid"), String(pid), { mode: 0o600 });
  return places;
}

export function removeRun(places: Places): void {
  rmSync(places.run, { recursive: true, force: true });
  rmSync(places.state, { recursive: true, force: true });
}

/** Folders of runs that were killed: nothing in them is of use any more (their records are in the spool). */
function sweep(runs: string, memory: string | null): void {
  let names: string[];
  try {
    names = readdirSync(runs);
  } catch {
    return;
  }
  for (const name of names) {
    if (alive(path.join(runs, name, "pid"))) continue;
    if (memory !== null) rmSync(path.join(memory, `sidegate-${name}`), { recursive: true, force: true });
    rmSync(path.join(runs, name), { recursive: true, force: true });
  }
}

function alive(pidFile: string): boolean {
  try {
    process.kill(Number(readFileSync(pidFile, "utf8")), 0);
    return true;
  } catch (fault) {
    return (fault as NodeJS.ErrnoException).code === "EPERM";
  }
}
