/**
 * Types that a Parse gives to its parameters. A type of somebody's own runs code with each value that is bound (a domain its checks, which
 * may write), and no text shows it: such a statement is not understood, as one with that cast in its text.
 */
import { readInt16, readInt32 } from "./codec/text.ts";
import type { SqlReading } from "./sql/reading.ts";

/** Of the server's own types are below (PostgreSQL's transam.h: FirstNormalObjectId). */
const FIRST_OF_SOMEBODY = 16_384;
const DOUBT = "a parameter has a type that is not PostgreSQL's own";

/** `types`: Int16 count, Int32 OIDs, as sent. */
export function withTypes(reading: SqlReading, types: string): SqlReading {
  const count = readInt16(types, 0);
  for (let i = 0; i < count; i++)
    if (readInt32(types, 2 + 4 * i) >>> 0 >= FIRST_OF_SOMEBODY)
      return { ...reading, alike: null, complete: false, doubts: [...reading.doubts, DOUBT] };
  return reading;
}
