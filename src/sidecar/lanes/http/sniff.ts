/**
 * Decides whether a client's first bytes are an HTTP/1 request.
 *
 * Errs towards "no": a wrong "match" would judge a foreign protocol by HTTP's rules; a wrong "no" only denies. A method must be
 * upper case (all registered ones are), and what follows must be able to begin a target; the rest is the decoder's to refuse.
 */
import type { Sniff } from "#sidecar/seam/lane.ts";

/** The longest registered method has 17 letters. */
const METHOD_MAX = 24;
const SP = 0x20;
const SLASH = 0x2f;
const ASTERISK = 0x2a;
const SCHEMES = ["http://", "https://"];
const NO: Sniff = { kind: "no" };
const MATCH: Sniff = { kind: "match" };

export function sniffHttp(head: Uint8Array): Sniff {
  let at = head[0] === 0x0d && head[1] === 0x0a ? 2 : 0;
  const start = at;
  while (at < head.length && isMethodByte(head[at] ?? 0)) if (++at - start > METHOD_MAX) return NO;
  if (at === head.length) return { kind: "more", atLeast: head.length + 1 };
  if (at === start || head[at] !== SP) return at === start && head[0] === 0x0d && head.length === 1 ? more(head) : NO;
  const method = text(head, start, at);
  at++;
  if (at === head.length) return more(head);
  const first = head[at];
  if (method === "CONNECT") return isHostByte(first ?? 0) ? MATCH : NO;
  // "PRI * HTTP/2.0" is the preface of another protocol.
  if (first === ASTERISK) return method === "PRI" ? NO : MATCH;
  if (first === SLASH) return MATCH;
  const rest = text(head, at, at + 8).toLowerCase();
  for (const scheme of SCHEMES) {
    if (rest.startsWith(scheme)) return MATCH;
    if (scheme.startsWith(rest)) return more(head);
  }
  return NO;
}

function more(head: Uint8Array): Sniff {
  return { kind: "more", atLeast: head.length + 1 };
}

function isMethodByte(c: number): boolean {
  return (c >= 0x41 && c <= 0x5a) || c === 0x2d || c === 0x5f;
}

function isHostByte(c: number): boolean {
  return c === 0x5b || (c >= 0x30 && c <= 0x39) || ((c | 32) >= 0x61 && (c | 32) <= 0x7a);
}

function text(head: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...head.subarray(from, to));
}
