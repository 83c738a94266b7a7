/** Mail addresses and telephone numbers, as people write them. Errs towards finding: a version number may pass for a telephone. */
import { type Detector, isAlnum, isDigit, type Match } from "./match.ts";

const MAX_LOCAL = 64; // RFC 5321 section 4.5.3.1.1
const MAX_DOMAIN = 255;
const DOT = 46;
const DASH = 45;
const PLUS = 43;

/** dot-atom local part, a domain of at least two labels; also percent-encoded (`%40`). Bytes over 127 count as letters. */
export const email: Detector = (text, start) => {
  for (let at = nextAt(text, start); at !== null; at = nextAt(text, at.to)) {
    let from = at.from;
    while (from > start && at.from - from < MAX_LOCAL && isLocal(text.charCodeAt(from - 1))) from--;
    while (from < at.from && text.charCodeAt(from) === DOT) from++;
    const to = domainEnd(text, at.to);
    if (from < at.from && to > at.to) return { from, to };
  }
  return null;
};

function nextAt(text: string, from: number): Match | null {
  const plain = text.indexOf("@", from);
  const encoded = text.indexOf("%40", from);
  if (encoded >= 0 && (plain < 0 || encoded < plain)) return { from: encoded, to: encoded + 3 };
  return plain < 0 ? null : { from: plain, to: plain + 1 };
}

/** Position behind the domain that begins here; `from` where there is none. */
function domainEnd(text: string, from: number): number {
  const most = Math.min(text.length, from + MAX_DOMAIN);
  let labels = 0;
  let end = from;
  for (let at = from; at < most; ) {
    let to = at;
    while (to < most && isLabel(text.charCodeAt(to))) to++;
    if (to === at || text.charCodeAt(at) === DASH) break;
    end = to;
    labels++;
    if (text.charCodeAt(to) !== DOT) break;
    at = to + 1;
  }
  while (text.charCodeAt(end - 1) === DASH) end--;
  return labels >= 2 ? end : from;
}

function isLabel(c: number): boolean {
  return isAlnum(c) || c > 127 || c === DASH;
}

function isLocal(c: number): boolean {
  // atext of RFC 5322, less what delimits in URLs, JSON and CSV
  return isAlnum(c) || c > 127 || c === DOT || c === DASH || c === PLUS || c === 95 || c === 37 || c === 126;
}

const MIN_INTERNATIONAL = 8;
const MAX_DIGITS = 15; // E.164

/** `+49 30 1234567`, `0049…`, `(555) 123-4567`, `555-123-4567`, `555.123.4567`. Digits without any mark are no telephone number. */
export const phone: Detector = (text, start) => {
  for (let at = start; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c !== PLUS && c !== 40 && !isDigit(c)) continue;
    const run = digitsFrom(text, at);
    const before = at > 0 ? text.charCodeAt(at - 1) : 0;
    const whole = (c === 40 || !isAlnum(before)) && !isAlnum(text.charCodeAt(run.to));
    if (whole && isPhone(text, at, run)) return { from: at, to: run.to };
    // Not one of these digits begins another number.
    at = Math.max(at, run.to - 1);
  }
  return null;
};

interface Run {
  readonly to: number;
  readonly digits: number;
  /** Lengths of the groups, `3-3-4`. */
  readonly groups: string;
}

/** Digits with at most two marks between them. */
function digitsFrom(text: string, from: number): Run {
  let at = text.charCodeAt(from) === PLUS ? from + 1 : from;
  let to = from;
  let digits = 0;
  let group = 0;
  let marks = 0;
  const groups: number[] = [];
  for (; at < text.length && digits <= MAX_DIGITS + 4; at++) {
    const c = text.charCodeAt(at);
    if (isDigit(c)) {
      digits++;
      group++;
      marks = 0;
      to = at + 1;
      continue;
    }
    if (!isMark(c) || ++marks > 2) break;
    if (group > 0) groups.push(group);
    group = 0;
  }
  if (group > 0) groups.push(group);
  return { to, digits, groups: groups.join("-") };
}

function isMark(c: number): boolean {
  return c === 32 || c === DASH || c === DOT || c === 40 || c === 41 || c === 47;
}

function isPhone(text: string, at: number, { digits, groups }: Run): boolean {
  if (digits > MAX_DIGITS) return false;
  if (text.charCodeAt(at) === PLUS || text.startsWith("00", at)) return digits >= MIN_INTERNATIONAL;
  return groups === "3-3-4" || groups === "1-3-3-4";
}
