/**
 * Rows with some of their values masked.
 *
 *   DataRow: Int16 count, then each: Int32 length (-1: NULL), bytes
 *   COPY binary: PGCOPY header in front of the first row; then as DataRow; Int16 -1 at the end
 *
 * Fails closed: a row that is not as announced is not passed on.
 */
import type { CopyMask, ResultMask } from "../masking.ts";

/** What is done to one column; the same bytes: nothing. Null: NULL. */
export type Change = (value: Uint8Array) => Uint8Array | null;

export class RowMask implements ResultMask {
  masked = 0;
  readonly #changes: readonly (Change | null)[];

  constructor(changes: readonly (Change | null)[]) {
    this.#changes = changes;
  }

  row(body: Uint8Array): Uint8Array {
    const changed = this.values(body, 0);
    if (changed === null) throw new RangeError("a row is not as it was described");
    return changed;
  }

  /** From `at` on: count and values, to the end of the body. Null: not a row of these columns. */
  values(body: Uint8Array, at: number): Uint8Array | null {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    if (bytes.length < at + 2 || bytes.readInt16BE(at) !== this.#changes.length) return null;
    const parts: Uint8Array[] = [];
    let kept = 0;
    let p = at + 2;
    for (const change of this.#changes) {
      if (p + 4 > bytes.length) return null;
      const length = bytes.readInt32BE(p);
      const from = p + 4;
      const to = length < 0 ? from : from + length;
      if (to > bytes.length || length < -1) return null;
      if (length >= 0 && change !== null) {
        const value = bytes.subarray(from, to);
        const instead = change(value);
        if (instead !== value) {
          this.masked++;
          parts.push(bytes.subarray(kept, p), lengthOf(instead));
          if (instead !== null) parts.push(instead);
          kept = to;
        }
      }
      p = to;
    }
    if (p !== bytes.length) return null;
    if (parts.length === 0) return body;
    parts.push(bytes.subarray(kept));
    return Buffer.concat(parts);
  }
}

function lengthOf(value: Uint8Array | null): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value === null ? -1 : value.length);
  return out;
}

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** Flags and the length of the extension behind the signature. */
const HEADER = SIGNATURE.length + 8;

export class BinaryCopyMask implements CopyMask {
  readonly #rows: RowMask;
  #begun = false;

  constructor(changes: readonly (Change | null)[]) {
    this.#rows = new RowMask(changes);
  }

  get masked(): number {
    return this.#rows.masked;
  }

  data(body: Uint8Array): Uint8Array | null {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    let at = 0;
    if (!this.#begun) {
      if (bytes.length < HEADER || !bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return null;
      at = HEADER + bytes.readInt32BE(SIGNATURE.length + 4);
      this.#begun = true;
      if (at === bytes.length) return body;
    }
    if (bytes.length === at + 2 && bytes.readInt16BE(at) === -1) return body;
    return this.#rows.values(bytes, at);
  }
}
