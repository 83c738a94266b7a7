/**
 * Readings by key, bounded by what they weigh, the least recently used forgotten first.
 */
import type { SqlReading } from "./reading.ts";

/** A statement's objects and sets, and what is made of it for its shape, roughly. */
const STATEMENT_BYTES = 2048;

function namesIn(reading: SqlReading): number {
  let names = 0;
  for (const s of reading.statements)
    names +=
      s.tables.length +
      s.functions.length +
      s.columns.length +
      s.conditionColumns.length +
      s.expressionColumns.length +
      s.writtenColumns.length +
      s.readColumns.length +
      s.output.length +
      s.doubts.length;
  return names;
}

export class ReadingCache {
  readonly #entries = new Map<string, { readonly reading: SqlReading; readonly bytes: number }>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): SqlReading | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.reading;
  }

  set(key: string, reading: SqlReading): SqlReading {
    this.#drop(key);
    const bytes = key.length * 2 + STATEMENT_BYTES * (1 + reading.statements.length) + 64 * namesIn(reading);
    this.#entries.set(key, { reading, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
    return reading;
  }

  #drop(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}
