/**
 * A freeze of one `sidegate run`: a file in the run's folder, which the agent does not see. Whoever may write there is the run's own
 * user; `sidegate freeze --run ID` does. A file that cannot be read freezes too.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import path from "node:path";
import type { Frozen } from "#contract/freeze.ts";

const FILE = "freeze.json";

/** Null: it is not frozen. */
export function readRunFreeze(run: string): Frozen | null {
  const file = path.join(run, FILE);
  if (!existsSync(file)) return null;
  const id = path.basename(run);
  let read: Partial<Frozen> = {};
  try {
    read = JSON.parse(readFileSync(file, "utf8")) as Partial<Frozen>;
  } catch {
    // Said below.
  }
  const text = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);
  return {
    scope: "run",
    by: text(read.by, "somebody"),
    reason: text(read.reason, "its file cannot be read"),
    since: text(read.since, new Date(0).toISOString()),
    id,
  };
}

export function writeRunFreeze(run: string, freeze: Pick<Frozen, "by" | "reason" | "since">): void {
  const file = path.join(run, FILE);
  writeFileSync(`${file}.part`, JSON.stringify(freeze), { mode: 0o600 });
  renameSync(`${file}.part`, file);
}

/** False: it was not frozen. */
export function removeRunFreeze(run: string): boolean {
  const file = path.join(run, FILE);
  const was = existsSync(file);
  rmSync(file, { force: true });
  return was;
}

/** Folders of the runs that are there, by id. `base`: the state folder. */
export function runFolders(base: string): ReadonlyMap<string, string> {
  const folder = path.join(base, "runs");
  if (!existsSync(folder)) return new Map();
  return new Map(readdirSync(folder).map((id) => [id, path.join(folder, id)]));
}

/** Calls back when the run is frozen or no longer. Close it at the end. */
export function watchRunFreeze(run: string, changed: (freeze: Frozen | null) => void): { close(): void } {
  mkdirSync(run, { recursive: true, mode: 0o700 });
  let last = JSON.stringify(readRunFreeze(run));
  const watcher = watch(run, (_event, name) => {
    if (name !== null && name !== FILE) return;
    const freeze = readRunFreeze(run);
    const text = JSON.stringify(freeze);
    if (text === last) return;
    last = text;
    changed(freeze);
  });
  return { close: () => watcher.close() };
}
