/**
 * Rows of a COPY … FROM STDIN come in messages of some hundred bytes, thousands in one read. They go on as they are, so those that lie
 * whole one behind the other are one write, not one each.
 */

import type { Chunk } from "#sidecar/seam/leg.ts";
import { FRONTEND } from "./codec/frontend.ts";

/** Byte1 type, Int32 length (counting itself). */
const HEADER = 5;

/** Behind the last whole CopyData of the row of them that begins at `from`; `from` where there is none. */
export function copyRunEnd(chunk: Chunk, from: number): number {
  let end = from;
  while (end + HEADER <= chunk.length && chunk.at(end) === FRONTEND.copyData) {
    const length =
      chunk.at(end + 1) * 0x100_0000 + ((chunk.at(end + 2) << 16) | (chunk.at(end + 3) << 8) | chunk.at(end + 4));
    // What is malformed is for the reader to say.
    if (length < HEADER - 1 || end + 1 + length > chunk.length) break;
    end += 1 + length;
  }
  return end;
}
