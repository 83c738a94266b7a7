/**
 * COPY's rows as lines, with some of their values masked (manual: COPY, File Formats).
 *
 *   text   fields by a delimiter (a tab), backslash escapes, \\N for NULL, a line feed at the end
 *   csv    fields by a delimiter (a comma), quoted where they need it, nothing for NULL (and "" for an empty value), a line feed
 *
 * The server sends one row in each CopyData. Fails closed: a line that is not as announced is not passed on.
 */
import type { CopyMask } from "../masking.ts";
import type { CopyFormat } from "../sql/reading.ts";
import type { Change } from "./rows.ts";

export interface LineColumn {
  /** As the header calls it, UTF-8 bytes as latin1; null: whatever it says. */
  readonly name: string | null;
  readonly change: Change | null;
}

const LF = 10;

abstract class LineCopyMask implements CopyMask {
  masked = 0;
  readonly #columns: readonly LineColumn[];
  /** Behind the last of these, a line is passed on as it is. */
  readonly #last: number;
  #header: boolean;

  constructor(columns: readonly LineColumn[], header: boolean) {
    this.#columns = columns;
    this.#header = header;
    this.#last = columns.findLastIndex(({ change }) => change !== null);
  }

  data(body: Uint8Array): Uint8Array | null {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const end = bytes.length - 1;
    if (bytes[end] !== LF) return null;
    const isHeader = this.#header;
    this.#header = false;
    const columns = this.#columns;
    const parts: Uint8Array[] = [];
    let kept = 0;
    let from = 0;
    for (let i = 0; i < columns.length; i++) {
      const to = this.fieldEnd(bytes, from, end);
      // The last field ends with the line, the others before it.
      if (to < 0 || (to === end) !== (i === columns.length - 1)) return null;
      const column = columns[i];
      if (isHeader) {
        if (!this.#isCalled(bytes, from, to, column)) return null;
      } else if (i <= this.#last && column?.change != null) {
        const value = this.value(bytes, from, to);
        const instead = value === null ? null : column.change(value);
        if (value !== null && instead !== value) {
          this.masked++;
          parts.push(bytes.subarray(kept, from), this.written(instead, bytes, from, to));
          kept = to;
        }
      }
      from = to + 1;
    }
    if (parts.length === 0) return body;
    parts.push(bytes.subarray(kept));
    return Buffer.concat(parts);
  }

  #isCalled(bytes: Buffer, from: number, to: number, column: LineColumn | undefined): boolean {
    if (column === undefined || column.name === null) return true;
    const value = this.value(bytes, from, to);
    return value !== null && value.toString("latin1") === column.name;
  }

  /** Where the field that begins at `from` ends: a delimiter, or `end`. Negative: it is not a field. */
  protected abstract fieldEnd(bytes: Buffer, from: number, end: number): number;
  /** Null: NULL. */
  protected abstract value(bytes: Buffer, from: number, to: number): Buffer | null;
  /** In the place of the field from `from` to `to`; null: NULL. */
  protected abstract written(value: Uint8Array | null, bytes: Buffer, from: number, to: number): Uint8Array;
}

const TAB = 9;
const BACKSLASH = 92;
const ESCAPES: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };
const ESCAPED = new Map(Object.entries(ESCAPES).map(([letter, plain]) => [plain, `\\${letter}`]));

export class TextCopyMask extends LineCopyMask {
  readonly #delimiter: number;
  readonly #null: Buffer;

  constructor(columns: readonly LineColumn[], format: CopyFormat & { readonly kind: "text" }) {
    super(columns, format.header);
    this.#delimiter = format.delimiter.charCodeAt(0);
    this.#null = Buffer.from(format.nullText, "latin1");
  }

  protected fieldEnd(bytes: Buffer, from: number, end: number): number {
    const delimiter = this.#delimiter;
    for (let at = from; ; at++) {
      at = bytes.indexOf(delimiter, at);
      if (at < 0 || at >= end) return end;
      // A tab inside a value is written as a letter, any other delimiter behind a backslash.
      if (delimiter === TAB || !isEscaped(bytes, from, at)) return at;
    }
  }

  protected value(bytes: Buffer, from: number, to: number): Buffer | null {
    const field = bytes.subarray(from, to);
    if (field.equals(this.#null)) return null;
    if (!field.includes(BACKSLASH)) return field;
    const text = field.toString("latin1").replaceAll(/\\(.)/gs, (_all, c: string) => ESCAPES[c] ?? c);
    return Buffer.from(text, "latin1");
  }

  protected written(value: Uint8Array | null): Uint8Array {
    if (value === null) return this.#null;
    const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1");
    const delimiter = String.fromCharCode(this.#delimiter);
    let out = "";
    for (const c of text) out += ESCAPED.get(c) ?? (c === "\\" || c === delimiter ? `\\${c}` : c);
    return Buffer.from(out, "latin1");
  }
}

/** Behind an odd number of backslashes. */
function isEscaped(bytes: Buffer, from: number, at: number): boolean {
  let before = at;
  while (before > from && bytes[before - 1] === BACKSLASH) before--;
  return (at - before) % 2 === 1;
}

export class CsvCopyMask extends LineCopyMask {
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #escape: number;
  readonly #null: Buffer;

  constructor(columns: readonly LineColumn[], format: CopyFormat & { readonly kind: "csv" }) {
    super(columns, format.header);
    this.#delimiter = format.delimiter.charCodeAt(0);
    this.#quote = format.quote.charCodeAt(0);
    this.#escape = format.escape.charCodeAt(0);
    this.#null = Buffer.from(format.nullText, "latin1");
  }

  protected fieldEnd(bytes: Buffer, from: number, end: number): number {
    const quote = this.#quote;
    if (bytes[from] !== quote) {
      const at = bytes.indexOf(this.#delimiter, from);
      const to = at < 0 || at > end ? end : at;
      // The server quotes whatever has a quote in it.
      const inside = bytes.indexOf(quote, from);
      return inside >= 0 && inside < to ? -1 : to;
    }
    for (let at = from + 1; at < end; at++) {
      const byte = bytes[at];
      if (byte === this.#escape && (bytes[at + 1] === quote || bytes[at + 1] === this.#escape)) {
        if (at + 1 >= end) return -1;
        at++;
      } else if (byte === quote) {
        const next = at + 1;
        return next === end || bytes[next] === this.#delimiter ? next : -1;
      }
    }
    return -1;
  }

  protected value(bytes: Buffer, from: number, to: number): Buffer | null {
    const field = bytes.subarray(from, to);
    if (field[0] !== this.#quote) return field.equals(this.#null) ? null : field;
    const inner = field.subarray(1, -1);
    if (!inner.includes(this.#escape)) return inner;
    const out = Buffer.allocUnsafe(inner.length);
    let length = 0;
    for (let at = 0; at < inner.length; at++) {
      const next = inner[at + 1];
      if (inner[at] === this.#escape && (next === this.#quote || next === this.#escape)) at++;
      out[length++] = inner[at] ?? 0;
    }
    return out.subarray(0, length);
  }

  /** Quoted where the value was, or where it has to be; NULL never is. */
  protected written(value: Uint8Array | null, bytes: Buffer, from: number): Uint8Array {
    if (value === null) return this.#null;
    const plain = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const needs =
      bytes[from] === this.#quote ||
      plain.equals(this.#null) ||
      plain.some((byte) => byte === this.#delimiter || byte === this.#quote || byte === LF || byte === 13);
    if (!needs) return plain;
    const out: number[] = [this.#quote];
    for (const byte of plain) {
      if (byte === this.#quote || byte === this.#escape) out.push(this.#escape);
      out.push(byte);
    }
    out.push(this.#quote);
    return Buffer.from(out);
  }
}
