/** What the audit sub-commands share: where the record lies, how it is opened, how options are read. */
import { accessSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { InvalidArgumentError } from "commander";
import { toEvent } from "../../src/collector/event.ts";
import type { Records } from "../../src/collector/remote.ts";
import type { Filter, RecordStore } from "../../src/collector/store/port.ts";
import { openSqlite, StoreFault } from "../../src/collector/store/sqlite.ts";
import { sayFault, systemWords } from "./streams.ts";

/** `$XDG_STATE_HOME/sidegate/audit.db`, by default below ~/.local/state. */
export function defaultDatabase(): string {
  const state = process.env["XDG_STATE_HOME"];
  const base = state !== undefined && path.isAbsolute(state) ? state : path.join(homedir(), ".local", "state");
  return path.join(base, "sidegate", "audit.db");
}

/** Who the sidecar that wrote record `id` said it works for, in its first line; null where retention took that. */
export async function workloadOf(
  records: Pick<Records, "get">,
  id: string,
): Promise<Readonly<Record<string, unknown>> | null> {
  const first = await records.get(id.slice(0, id.lastIndexOf("-")), 1);
  const workload = first === null ? null : toEvent(first).rest["workload"];
  return typeof workload === "object" && workload !== null ? (workload as Record<string, unknown>) : null;
}

/** A usage error: exit code 2. */
export class UsageError extends Error {}

export async function withStore<T>(database: string, work: (store: RecordStore) => Promise<T>): Promise<T> {
  let store: RecordStore;
  try {
    store = openSqlite(database, "read");
  } catch (fault) {
    if (fault instanceof StoreFault) throw new UsageError(`${hiddenOr(database, fault.message)} (--db names another)`);
    if ((fault as NodeJS.ErrnoException).code === "ERR_SQLITE_ERROR")
      throw new UsageError(`${database} cannot be read: ${(fault as Error).message} (--db names another)`);
    throw fault;
  }
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** What may not be seen looks as if it were not there. */
function hiddenOr(database: string, said: string): string {
  try {
    accessSync(database);
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code !== "ENOENT") return `${database}: ${systemWords(fault)}`;
  }
  return said;
}

/** Runs a sub-command: the number that it resolves to is the exit code; a usage error is said in one line. */
export async function exitWith(work: Promise<number>): Promise<void> {
  try {
    process.exitCode = await work;
  } catch (fault) {
    if (!(fault instanceof UsageError)) throw fault;
    sayFault(fault.message);
    process.exitCode = 2;
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** `90s`, `15m`, `24h`, `7d` ago, or a date and time as ISO 8601, UTC where it names no zone: so are those in our tables. */
export function parseTime(value: string): number {
  const match = /^(\d{1,6})([smhdw])$/.exec(value);
  const unit = UNITS[match?.[2] ?? ""];
  if (match?.[1] !== undefined && unit !== undefined) return Date.now() - Number(match[1]) * unit;
  const [, zone] = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)? ?(Z|[+-]\d\d:?\d\d)?)?$/.exec(value) ?? [
    null,
  ];
  const at = zone === null ? Number.NaN : Date.parse(zone === undefined && value.length > 10 ? `${value}Z` : value);
  if (Number.isNaN(at))
    throw new InvalidArgumentError(
      "must be like 15m, 24h, 7d, 2026-01-31 or 2026-01-31T12:00Z (UTC where it names no zone)",
    );
  return at;
}

export function parseCount(value: string): number {
  const count = Number(value);
  if (!/^\d+$/.test(value) || count < 1 || count > 100_000) throw new InvalidArgumentError("must be 1 to 100000");
  return count;
}

export interface FilterOptions {
  readonly since?: number;
  readonly until?: number;
  readonly pod?: string;
  readonly target?: string;
  readonly host?: string;
  readonly verdict?: string;
  readonly code?: string;
  readonly protocol?: string;
  readonly text?: string;
  readonly run?: string;
  readonly all?: boolean;
}

/** Everything but operations is seen with `--all`. */
const ALL_KINDS = ["boot", "session", "op", "closed", "note", "act", "stop", "malformed"];

export function filterOf(options: FilterOptions, limit: number): Filter {
  const { since, until, all, ...rest } = options;
  const pick = ["pod", "target", "host", "verdict", "code", "protocol", "text", "run"] as const;
  const chosen = Object.fromEntries(pick.filter((k) => rest[k] !== undefined).map((k) => [k, rest[k]]));
  return {
    ...chosen,
    ...(since === undefined ? {} : { sinceMs: since }),
    ...(until === undefined ? {} : { untilMs: until }),
    ...(all === true ? { kinds: ALL_KINDS } : {}),
    limit,
  };
}
