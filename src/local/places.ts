/**
 * Where `sidegate run` keeps what it keeps, by the XDG rules: the record under the state folder, one folder for each run while it
 * lasts. All of it is the user's alone (0700), and none of it is seen by the agent.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
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
    if (alive(path.join(runs, name))) continue;
    if (memory !== null) rmSync(path.join(memory, `sidegate-${name}`), { recursive: true, force: true });
    rmSync(path.join(runs, name), { recursive: true, force: true });
  }
}

/** A run that has just made its folder, and not yet said who it is, is alive: two may start at the same time. */
const NAMELESS_MS = 60_000;

function alive(run: string): boolean {
  try {
    process.kill(Number(readFileSync(path.join(run, "pid"), "utf8")), 0);
    return true;
  } catch (fault) {
    const { code } = fault as NodeJS.ErrnoException;
    return code === "EPERM" || (code === "ENOENT" && Date.now() - madeAtMs(run) < NAMELESS_MS);
  }
}

function madeAtMs(run: string): number {
  return statSync(run, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
