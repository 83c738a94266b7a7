/**
 * Reads a field section (RFC 9112 section 5), request or answer, in one pass over its latin1 text:
 *
 *   field-line = field-name ":" OWS field-value OWS CRLF
 *
 * It checks every byte, understands the fields that decide framing, routing and the connection, and marks the lines that must
 * not be passed on (hop-by-hop, Alt-Svc). Everything else stays text; name and value strings are made only when asked for.
 *
 * Errs towards a fault: what one server could read and another not is refused, never repaired.
 */
import { isToken, TOKEN, VALUE } from "./characters.ts";
import type { Fault } from "./fault.ts";

export type Section = "request" | "answer";

export type Field = readonly [string, string];

/** One read field section. Offsets are relative to its start, so that it can be kept for the next message with the same bytes. */
export class FieldBlock {
  readonly text: string;
  /** name start, colon, value start, value end, line end (behind CRLF); five numbers a field. */
  readonly marks: number[] = [];
  /** [from, to) of lines that are not passed on, ascending. */
  cuts: number[] = [];
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
  /** Bits of `SINGLE` fields that were seen. */
  seen = 0;
  #fields: readonly Field[] | null = null;

  constructor(text: string) {
    this.text = text;
  }

  get count(): number {
    return this.marks.length / 5;
  }

  /** Names as on the wire, values without surrounding white space; what is cut is not among them. Made once. */
  get fields(): readonly Field[] {
    if (this.#fields !== null) return this.#fields;
    const { marks, text, cuts } = this;
    const fields: Field[] = [];
    let cut = 0;
    for (let m = 0; m < marks.length; m += 5) {
      const from = mark(marks, m);
      while (cut < cuts.length && mark(cuts, cut + 1) <= from) cut += 2;
      if (cut < cuts.length && mark(cuts, cut) === from) continue;
      fields.push([text.slice(from, mark(marks, m + 1)), text.slice(mark(marks, m + 2), mark(marks, m + 3))]);
    }
    this.#fields = fields;
    return fields;
  }

  /** The section without the lines that are not passed on; `closing`: also without `Connection: keep-alive`. */
  passedOn(closing: boolean): string {
    const { text } = this;
    let { cuts } = this;
    if (closing && this.keepAliveAt >= 0) {
      const at = cuts.findIndex((from, i) => i % 2 === 0 && from > this.keepAliveAt);
      cuts = cuts.toSpliced(at < 0 ? cuts.length : at, 0, this.keepAliveAt, this.keepAliveTo);
    }
    if (cuts.length === 0) return text;
    let out = "";
    let at = 0;
    for (let c = 0; c < cuts.length; c += 2) {
      out += text.slice(at, mark(cuts, c));
      at = mark(cuts, c + 1);
    }
    return out + text.slice(at);
  }
}

const CR = 13;
const LF = 10;
const COLON = 58;
const SP = 32;
const HTAB = 9;

/**
 * `text` from `base` to `end`: lines, each with its CRLF, without the empty line. `maxFields`: a count.
 * Whoever calls has found the empty line, so every line ends.
 */
export function readFields(
  text: string,
  base: number,
  end: number,
  section: Section,
  maxFields: number,
): FieldBlock | Fault {
  // The bytes are looked at in the whole text: a part of a string costs more to look into.
  const block = new FieldBlock(text.slice(base, end));
  const { marks } = block;
  let p = base;
  while (p < end) {
    let q = p;
    while (TOKEN[text.charCodeAt(q)] === 1) q++;
    if (q === p || text.charCodeAt(q) !== COLON) return nameFault(text, p, q);
    let v = q + 1;
    let c = text.charCodeAt(v);
    while (VALUE[c] === 1) c = text.charCodeAt(++v);
    if (c !== CR || text.charCodeAt(v + 1) !== LF) return c === CR ? "bare_cr" : c === LF ? "bare_lf" : "control_byte";
    const lineEnd = v + 2;
    let from = q + 1;
    let to = v;
    while (from < to && isSpace(text.charCodeAt(from))) from++;
    while (to > from && isSpace(text.charCodeAt(to - 1))) to--;
    marks.push(p - base, q - base, from - base, to - base, lineEnd - base);
    if (marks.length > maxFields * 5) return "too_many_fields";
    if (isWatched(q - p, text.charCodeAt(p))) {
      const fault = note(block, section, marks.length - 5);
      if (fault !== null) return fault;
    }
    p = lineEnd;
  }
  if (block.chunked && block.contentLength >= 0) return "length_and_chunked";
  return block.nominated === null ? block : cutNominated(block, section);
}

function isSpace(c: number): boolean {
  return c === SP || c === HTAB;
}

function nameFault(text: string, p: number, q: number): Fault {
  const c = text.charCodeAt(q);
  if (q === p) return c === SP || c === HTAB ? "obs_fold" : c === LF ? "bare_lf" : c === CR ? "bare_cr" : "field_name";
  return c === SP || c === HTAB ? "space_before_colon" : "field_name";
}

/** Fields that may be there once; the bit remembers it. */
const SINGLE: Readonly<Record<string, number>> = {
  host: 1,
  "content-length": 2,
  "transfer-encoding": 4,
  "content-type": 8,
  expect: 16,
  upgrade: 32,
  authorization: 64,
};

/** Never passed on (RFC 9110 section 7.6.1, and what older software sends for the same purpose). */
const HOP_BY_HOP = new Set(["keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"]);
const ONLY_IN_REQUESTS = new Set(["proxy-authorization"]);
// Alt-Svc would lead the agent past the name that it was judged by; our own header must not be forged.
const ONLY_IN_ANSWERS = new Set([
  "alt-svc",
  "sidegate-event",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-status",
]);

/** A sender that names one of these in `Connection` wants it to be lost on the way, behind the policy's back. */
const END_TO_END = new Set([
  "host",
  "content-length",
  "content-type",
  "content-encoding",
  "transfer-encoding",
  "authorization",
  "cookie",
  "connection",
  "expect",
  "range",
  "date",
]);

// By length and first letter: most fields are told apart without making a string of their name.
const WATCHED = new Uint32Array(32);
for (const name of ["connection", ...Object.keys(SINGLE), ...HOP_BY_HOP, ...ONLY_IN_REQUESTS, ...ONLY_IN_ANSWERS])
  WATCHED[name.length] = (WATCHED[name.length] ?? 0) | (1 << (name.charCodeAt(0) & 31));

function isWatched(length: number, first: number): boolean {
  return length < 32 && ((WATCHED[length] ?? 0) & (1 << (first & 31))) !== 0;
}

function note(block: FieldBlock, section: Section, m: number): Fault | null {
  const { marks, text } = block;
  const start = mark(marks, m);
  let name = text.slice(start, mark(marks, m + 1)).toLowerCase();
  if (name.includes("_")) {
    // CGI and WSGI make the same variable of both.
    name = name.replaceAll("_", "-");
    if (Object.hasOwn(SINGLE, name) || name === "connection" || HOP_BY_HOP.has(name)) return "look_alike_field";
  }
  const value = text.slice(mark(marks, m + 2), mark(marks, m + 3));
  // White space around a value may be a tab, and some parsers take that for a part of it: not where framing hangs on it.
  if (
    (name === "content-length" || name === "transfer-encoding") &&
    hasTab(text, mark(marks, m + 1), mark(marks, m + 4))
  )
    return name === "content-length" ? "content_length" : "transfer_coding";
  const bit = SINGLE[name];
  if (bit !== undefined) {
    if ((block.seen & bit) !== 0) return section === "request" || bit <= 4 ? "duplicate_field" : null;
    block.seen |= bit;
  }
  if (HOP_BY_HOP.has(name) || (section === "request" ? ONLY_IN_REQUESTS : ONLY_IN_ANSWERS).has(name))
    block.cuts.push(start, mark(marks, m + 4));
  switch (name) {
    case "content-length":
      block.contentLength = readLength(value);
      return block.contentLength < 0 ? "content_length" : null;
    case "transfer-encoding":
      if (value.toLowerCase() !== "chunked") return "transfer_coding";
      block.chunked = true;
      return null;
    case "connection":
      return readConnection(block, value, start, mark(marks, m + 4));
    case "host":
      block.host = value;
      return null;
    case "upgrade":
      block.upgrade = value;
      return null;
    case "expect":
      if (section === "answer") return null;
      if (value.toLowerCase() !== "100-continue") return "expectation";
      block.expectContinue = true;
      return null;
    default:
      return null;
  }
}

/** 1*DIGIT (section 8.6 of RFC 9110) without a leading zero, up to 15 digits: no parser's number is too small for it. -1: none. */
export function readLength(value: string): number {
  if (value.length === 0 || value.length > 15) return -1;
  if (value.length > 1 && value.charCodeAt(0) === 48) return -1;
  let n = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    n = n * 10 + digit;
  }
  return n;
}

/** `Connection: keep-alive` alone means the same towards the next hop, and stays. Every other list is cut. */
function readConnection(block: FieldBlock, value: string, from: number, to: number): Fault | null {
  if ((value === "keep-alive" || value === "Keep-Alive") && block.keepAliveAt < 0) {
    block.keepAlive = true;
    block.keepAliveAt = from;
    block.keepAliveTo = to;
    return null;
  }
  block.cuts.push(from, to);
  for (const part of value.toLowerCase().split(",")) {
    const option = part.trim();
    if (option === "") continue;
    if (!isToken(option)) return "connection_field";
    if (option === "close") block.close = true;
    else if (option === "keep-alive") block.keepAlive = true;
    else (block.nominated ??= []).push(option);
  }
  return null;
}

function cutNominated(block: FieldBlock, section: Section): FieldBlock | Fault {
  const { marks, text, nominated } = block;
  if (nominated === null) return block;
  if (section === "request" && nominated.some((name) => END_TO_END.has(name))) return "connection_field";
  const cuts = new Map<number, number>();
  for (let c = 0; c < block.cuts.length; c += 2) cuts.set(mark(block.cuts, c), mark(block.cuts, c + 1));
  for (let m = 0; m < marks.length; m += 5) {
    const name = text.slice(mark(marks, m), mark(marks, m + 1)).toLowerCase();
    // An answer's framing fields decide its end: they stay, whatever its Connection says.
    if (nominated.includes(name) && !END_TO_END.has(name)) cuts.set(mark(marks, m), mark(marks, m + 4));
  }
  block.cuts = [...cuts].sort((a, b) => a[0] - b[0]).flat();
  return block;
}

function hasTab(text: string, from: number, to: number): boolean {
  const tab = text.indexOf("\t", from);
  return tab >= 0 && tab < to;
}

function mark(marks: readonly number[], i: number): number {
  return marks[i] ?? 0;
}
