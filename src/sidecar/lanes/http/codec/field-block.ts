/** A field section that was read and found good (`fields.ts`): what it says of framing and connection, and what goes on of it. */

export type Field = readonly [string, string];

/** Offsets are relative to its start, so that it can be kept for the next message with the same bytes. */
export class FieldBlock {
  /** Lines, each with its CRLF, without the empty line. */
  readonly text: string;
  /** Fields in it. */
  count = 0;
  /** [from, to) of lines that are not passed on, ascending; null: none. */
  cuts: number[] | null = null;
  host: string | null = null;
  /** -1: none. */
  contentLength = -1;
  chunked = false;
  close = false;
  keepAlive = false;
  expectContinue = false;
  upgrade: string | null = null;
  /** [from, to) of a lone `Connection: keep-alive`; -1: there is none. */
  keepAliveAt = -1;
  keepAliveTo = -1;
  /** Fields that `Connection` names, lower case. */
  nominated: string[] | null = null;
  /** Bits of the fields that may be there once, and are. */
  seen = 0;
  #fields: readonly Field[] | null = null;

  constructor(text: string) {
    this.text = text;
  }

  /** Names as on the wire, values without surrounding white space; what is cut is not among them. Made once. */
  get fields(): readonly Field[] {
    if (this.#fields !== null) return this.#fields;
    const { text, cuts } = this;
    const fields: Field[] = [];
    let cut = 0;
    for (let at = 0; at < text.length; ) {
      const to = text.indexOf("\r\n", at) + 2;
      if (cuts !== null && cuts[cut] === at) cut += 2;
      else {
        const colon = text.indexOf(":", at);
        fields.push([text.slice(at, colon), unspaced(text, colon + 1, to - 2)]);
      }
      at = to;
    }
    this.#fields = fields;
    return fields;
  }

  /** The section without the lines that are not passed on; `closing`: also without `Connection: keep-alive`. */
  passedOn(closing: boolean): string {
    const { text } = this;
    let { cuts } = this;
    if (closing && this.keepAliveAt >= 0) {
      const at = cuts?.findIndex((from, i) => i % 2 === 0 && from > this.keepAliveAt) ?? -1;
      cuts = (cuts ?? []).toSpliced(at < 0 ? (cuts?.length ?? 0) : at, 0, this.keepAliveAt, this.keepAliveTo);
    }
    if (cuts === null) return text;
    let out = "";
    let at = 0;
    for (let c = 0; c < cuts.length; c += 2) {
      out += text.slice(at, cuts[c]);
      at = cuts[c + 1] ?? text.length;
    }
    return out + text.slice(at);
  }

  cut(from: number, to: number): void {
    if (this.cuts === null) this.cuts = [from, to];
    else this.cuts.push(from, to);
  }
}

const SP = 32;
const HTAB = 9;

/** Without the white space around it (OWS, RFC 9110 section 5.6.3). */
export function unspaced(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  let c = text.charCodeAt(start);
  while (start < end && (c === SP || c === HTAB)) c = text.charCodeAt(++start);
  c = text.charCodeAt(end - 1);
  while (end > start && (c === SP || c === HTAB)) c = text.charCodeAt(--end - 1);
  return text.slice(start, end);
}
