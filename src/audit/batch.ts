/**
 * Reads what a shipper sent: NDJSON lines of one boot, in whole commits (line.ts says their form). Pure; copies nothing.
 *
 * Errs towards keeping: a line that cannot be understood is kept as bytes where it has a place in the numbering, and shows as a
 * fault; refusing it would keep everything behind it from the record.
 */
import { COMMIT_START, CORE_START, DETAIL_START } from "./line.ts";

export interface CoreLine {
  readonly seq: number;
  /** Without its line feed. */
  readonly bytes: Uint8Array;
}

export interface DetailLine {
  readonly seq: number;
  readonly salt: string;
  /** The JSON object, as written. */
  readonly text: string;
}

export interface Commit {
  readonly lastSeq: number;
  readonly hash: string;
  readonly cores: readonly CoreLine[];
  /** The core lines with their line feeds, as chained. */
  readonly coreBytes: Uint8Array;
  readonly details: ReadonlyMap<number, DetailLine>;
  /** Lines that are none of the three. */
  readonly strays: number;
}

// {"d":12,"salt":"0123456789abcdef","x":{…}}
const DETAIL = /^\{"d":(\d{1,15}),"salt":"([\w-]{1,64})","x":(\{.*\})\}$/s;
const COMMIT = /^\{"c":(\d{1,15}),"h":"([\w-]{43})"\}$/;

/** Commits in order. `complete` is false where lines follow that no commit line ends. */
export function readBatch(batch: Uint8Array): { readonly commits: readonly Commit[]; readonly complete: boolean } {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
  const commits: Commit[] = [];
  let open = new OpenCommit();
  let at = 0;
  while (at < bytes.length) {
    const feed = bytes.indexOf(0x0a, at);
    const end = feed < 0 ? bytes.length : feed;
    const commit = open.take(bytes, at, end);
    if (commit !== null) {
      commits.push(commit);
      open = new OpenCommit();
    }
    at = end + 1;
  }
  return { commits, complete: open.empty };
}

class OpenCommit {
  readonly #cores: CoreLine[] = [];
  readonly #ranges: Uint8Array[] = [];
  readonly #details = new Map<number, DetailLine>();
  #strays = 0;

  get empty(): boolean {
    return this.#cores.length === 0 && this.#details.size === 0 && this.#strays === 0;
  }

  take(bytes: Buffer, from: number, to: number): Commit | null {
    const start = bytes.toString("latin1", from, Math.min(to, from + 24));
    if (start.startsWith(CORE_START)) {
      this.#cores.push({
        seq: Number(/^\d{1,15}(?=,)/.exec(start.slice(CORE_START.length))?.[0] ?? 0),
        bytes: bytes.subarray(from, to),
      });
      this.#ranges.push(bytes.subarray(from, to + 1));
      return null;
    }
    if (start.startsWith(DETAIL_START)) {
      const match = DETAIL.exec(bytes.toString("utf8", from, to));
      if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) this.#strays++;
      else this.#details.set(Number(match[1]), { seq: Number(match[1]), salt: match[2], text: match[3] });
      return null;
    }
    const match = start.startsWith(COMMIT_START) ? COMMIT.exec(bytes.toString("latin1", from, to)) : null;
    if (match?.[2] === undefined) {
      this.#strays++;
      return null;
    }
    return {
      lastSeq: Number(match[1]),
      hash: match[2],
      cores: this.#cores,
      coreBytes: Buffer.concat(this.#ranges),
      details: this.#details,
      strays: this.#strays,
    };
  }
}
