/** Where the whole commits in a piece of a spool file end: what is behind is torn, or still being written. */
import { COMMIT_START, CORE_START } from "./line.ts";

/** The longest beginning of `bytes` that ends with a commit line, with the first and last seq in it. */
export function wholeCommits(bytes: Buffer): { bytes: Uint8Array; first: number; last: number } | null {
  let end = bytes.lastIndexOf("\n");
  while (end >= 0) {
    const start = end === 0 ? 0 : bytes.lastIndexOf("\n", end - 1) + 1;
    const line = bytes.toString("latin1", start, Math.min(end, start + 32));
    if (line.startsWith(COMMIT_START)) {
      const last = numberAt(line, COMMIT_START.length);
      const first = firstSeq(bytes) ?? last;
      return { bytes: bytes.subarray(0, end + 1), first, last };
    }
    if (start === 0) return null;
    end = start - 1;
  }
  return null;
}

function firstSeq(bytes: Buffer): number | null {
  const line = bytes.toString("latin1", 0, Math.min(bytes.length, 32));
  return line.startsWith(CORE_START) ? numberAt(line, CORE_START.length) : null;
}

function numberAt(line: string, at: number): number {
  const value = Number.parseInt(line.slice(at), 10);
  return Number.isSafeInteger(value) ? value : 0;
}
