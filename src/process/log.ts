/**
 * The process's own log: one JSON object a line (NDJSON). For people and collectors of logs; the record of what agents did is
 * elsewhere (audit).
 *
 * Errs towards silence: a message that repeats is counted instead of written, a secret-looking value is left out, and when
 * nobody reads the log, lines are dropped and counted; the process never waits for its log.
 */
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { type FieldValue, fieldText, line } from "./log-fields.ts";

export type Level = "debug" | "info" | "warn" | "error";
const RANK: Readonly<Record<Level, number>> = { debug: 10, info: 20, warn: 30, error: 40 };

export type Fields = Readonly<Record<string, FieldValue>>;

export interface Log {
  /** `event`: a short constant text ("bundle loaded"), by which repeats are counted; what varies stands in `fields`. */
  debug(event: string, fields?: Fields): void;
  info(event: string, fields?: Fields): void;
  warn(event: string, fields?: Fields): void;
  error(event: string, fields?: Fields): void;
  /** The same log, with these in each line. */
  child(fields: Fields): Log;
}

export interface LogOptions {
  /** Takes one line with its line feed. */
  readonly write: (line: string) => void;
  readonly level: Level;
  readonly clock: Clock;
  /** Written as they are each minute; further ones of the same event are counted. Default 30. */
  readonly burst?: number;
}

const WINDOW_MS = 60_000;
/** Different events at one time; there are some dozens in the source. */
const EVENTS = 512;

interface Window {
  startMs: number;
  count: number;
}

export function createLog(options: LogOptions): Log {
  const { write, level, clock, burst = 30 } = options;
  const windows = new Lru<string, Window>(EVENTS);

  /** Null: not now. Else how many were left out since the last one. */
  function admit(event: string): number | null {
    const now = clock.elapsedMs();
    const window = windows.get(event);
    if (window === undefined) {
      windows.set(event, { startMs: now, count: 1 });
      return 0;
    }
    if (now - window.startMs >= WINDOW_MS) {
      const folded = Math.max(0, window.count - burst);
      window.startMs = now;
      window.count = 1;
      return folded;
    }
    window.count++;
    return window.count > burst ? null : 0;
  }

  function emit(at: Level, event: string, context: string, fields: Fields | undefined): void {
    if (RANK[at] < RANK[level]) return;
    const folded = admit(event);
    if (folded === null) return;
    const head = `{"time":"${new Date(clock.wallMs()).toISOString()}","level":"${at}","event":${line(event)}`;
    const repeats = folded === 0 ? "" : `,"folded":${folded}`;
    write(`${head}${context}${members(fields)}${repeats}}\n`);
  }

  function make(context: string): Log {
    return {
      debug: (event, fields) => emit("debug", event, context, fields),
      info: (event, fields) => emit("info", event, context, fields),
      warn: (event, fields) => emit("warn", event, context, fields),
      error: (event, fields) => emit("error", event, context, fields),
      child: (fields) => make(context + members(fields)),
    };
  }
  return make("");
}

const RESERVED = new Set(["time", "level", "event", "folded"]);

function members(fields: Fields | undefined): string {
  if (fields === undefined) return "";
  let out = "";
  for (const [name, value] of Object.entries(fields))
    out += `,${line(RESERVED.has(name) ? `_${name}` : name)}:${fieldText(name, value)}`;
  return out;
}
