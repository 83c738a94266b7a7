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
import { FieldBlock, unspaced } from "./field-block.ts";

export type Section = "request" | "answer";

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
  let p = base;
  let count = 0;
  while (p < end) {
    let q = p;
    while (TOKEN[text.charCodeAt(q)] === 1) q++;
    if (q === p || text.charCodeAt(q) !== COLON) return nameFault(text, p, q);
    let v = q + 1;
    let c = text.charCodeAt(v);
    while (VALUE[c] === 1) c = text.charCodeAt(++v);
    if (c !== CR || text.charCodeAt(v + 1) !== LF) return c === CR ? "bare_cr" : c === LF ? "bare_lf" : "control_byte";
    if (++count > maxFields) return "too_many_fields";
    if (isWatched(q - p, text.charCodeAt(p))) {
      const fault = note(block, section, { text, base, from: p, colon: q, to: v });
      if (fault !== null) return fault;
    }
    p = v + 2;
  }
  block.count = count;
  if (block.chunked && block.contentLength >= 0) return "length_and_chunked";
  return block.nominated === null ? block : cutNominated(block, section);
}

function nameFault(text: string, p: number, q: number): Fault {
  const c = text.charCodeAt(q);
  if (q === p) return c === SP || c === HTAB ? "obs_fold" : c === LF ? "bare_lf" : c === CR ? "bare_cr" : "field_name";
  return c === SP || c === HTAB ? "space_before_colon" : "field_name";
}

/** What is known of a field by its name. */
interface Known {
  readonly name: string;
  /** Not 0: it may be there once; this bit remembers it. */
  readonly single: number;
  /** Where it is not passed on. */
  readonly cutIn: Section | "both" | null;
}

/** Where two would be read as the first by one server, as the last by another. */
const SINGLE: Readonly<Record<string, number>> = {
  host: 1,
  "content-length": 2,
  "transfer-encoding": 4,
  "content-type": 8,
  expect: 16,
  upgrade: 32,
  authorization: 64,
};
/** Of `FieldBlock.seen`: there is an Authorization. */
export const SEEN_AUTHORIZATION = 64;
/** Those that decide framing and routing: also in answers. */
const SINGLE_IN_ANSWERS = 1 | 2 | 4;

/** RFC 9110 section 7.6.1, and what older software sends for the same purpose. */
const HOP_BY_HOP = ["keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"];
const HOP_IN_REQUESTS = ["proxy-authorization"];
// Alt-Svc would lead the agent past the name that it was judged by; our own header must not be forged.
const HOP_IN_ANSWERS = ["alt-svc", "sidegate-event", "proxy-authenticate", "proxy-authentication-info", "proxy-status"];

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

/** By name: lower case, and as most clients write it. */
const KNOWN = new Map<string, Known>();
// By length and first letter: most fields are told apart without making a string of their name.
const WATCHED = new Uint32Array(32);
for (const name of ["connection", ...Object.keys(SINGLE), ...HOP_BY_HOP, ...HOP_IN_REQUESTS, ...HOP_IN_ANSWERS]) {
  const cutIn = HOP_BY_HOP.includes(name)
    ? "both"
    : HOP_IN_REQUESTS.includes(name)
      ? "request"
      : HOP_IN_ANSWERS.includes(name)
        ? "answer"
        : null;
  const known: Known = { name, single: SINGLE[name] ?? 0, cutIn };
  KNOWN.set(name, known);
  KNOWN.set(
    name.replaceAll(/(?:^|-)[a-z]/g, (letter) => letter.toUpperCase()),
    known,
  );
  WATCHED[name.length] = (WATCHED[name.length] ?? 0) | (1 << (name.charCodeAt(0) & 31));
}

function isWatched(length: number, first: number): boolean {
  return length < 32 && ((WATCHED[length] ?? 0) & (1 << (first & 31))) !== 0;
}

/** A field line: offsets in `text`, of which the section begins at `base`; `to` is where its CRLF begins. */
interface Line {
  readonly text: string;
  readonly base: number;
  readonly from: number;
  readonly colon: number;
  readonly to: number;
}

function note(block: FieldBlock, section: Section, line: Line): Fault | null {
  const { text, base, from, colon, to } = line;
  const written = text.slice(from, colon);
  const known = KNOWN.get(written) ?? KNOWN.get(written.toLowerCase());
  if (known === undefined) return looksAlike(written) ? "look_alike_field" : null;
  if (known.single !== 0) {
    const again = (block.seen & known.single) !== 0;
    if (again && (section === "request" || (known.single & SINGLE_IN_ANSWERS) !== 0)) return "duplicate_field";
    block.seen |= known.single;
  }
  if (known.cutIn === "both" || known.cutIn === section) block.cut(from - base, to + 2 - base);
  switch (known.name) {
    case "content-length":
      block.contentLength = hasTab(line) ? -1 : readLength(unspaced(text, colon + 1, to));
      return block.contentLength < 0 ? "content_length" : null;
    case "transfer-encoding":
      if (hasTab(line) || unspaced(text, colon + 1, to).toLowerCase() !== "chunked") return "transfer_coding";
      block.chunked = true;
      return null;
    case "connection":
      return readConnection(block, unspaced(text, colon + 1, to), from - base, to + 2 - base);
    case "host":
      block.host = unspaced(text, colon + 1, to);
      return null;
    case "upgrade":
      block.upgrade = unspaced(text, colon + 1, to);
      return null;
    case "expect":
      if (section === "answer") return null;
      if (unspaced(text, colon + 1, to).toLowerCase() !== "100-continue") return "expectation";
      block.expectContinue = true;
      return null;
    default:
      return null;
  }
}

/** CGI and WSGI make the same variable of `Content_Length` and `Content-Length`. */
function looksAlike(written: string): boolean {
  if (!written.includes("_")) return false;
  const known = KNOWN.get(written.replaceAll("_", "-").toLowerCase());
  return known !== undefined && (known.single !== 0 || known.name === "connection" || known.cutIn === "both");
}

/** White space around a value may be a tab, and some parsers take that for a part of it: not where framing hangs on it. */
function hasTab({ text, colon, to }: Line): boolean {
  const tab = text.indexOf("\t", colon);
  return tab >= 0 && tab < to;
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
  block.cut(from, to);
  for (const part of value.toLowerCase().split(",")) {
    const option = unspaced(part, 0, part.length);
    if (option === "") continue;
    if (!isToken(option)) return "connection_field";
    if (option === "close") block.close = true;
    else if (option === "keep-alive") block.keepAlive = true;
    else (block.nominated ??= []).push(option);
  }
  return null;
}

function cutNominated(block: FieldBlock, section: Section): FieldBlock | Fault {
  const { text, nominated } = block;
  if (nominated === null) return block;
  if (section === "request" && nominated.some((name) => END_TO_END.has(name))) return "connection_field";
  const lines = new Map<number, number>();
  const cuts = block.cuts ?? [];
  for (let c = 0; c < cuts.length; c += 2) lines.set(cuts[c] ?? 0, cuts[c + 1] ?? 0);
  for (let at = 0; at < text.length; ) {
    const to = text.indexOf("\r\n", at) + 2;
    const name = text.slice(at, text.indexOf(":", at)).toLowerCase();
    // An answer's framing fields decide its end: they stay, whatever its Connection says.
    if (nominated.includes(name) && !END_TO_END.has(name)) lines.set(at, to);
    at = to;
  }
  block.cuts = [...lines].sort((a, b) => a[0] - b[0]).flat();
  return block;
}
