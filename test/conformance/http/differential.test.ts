/**
 * The codec against strict llhttp, on a generated corpus. It never accepts what llhttp rejects; where both accept, they agree
 * on every message and on where it ends; and where only llhttp accepts, the reason stands in a table.
 *
 * `SIDEGATE_DIFFERENTIAL_CASES` sets how many cases are tried.
 */
import { describe, expect, test } from "vitest";
import { answers, random, requests } from "./corpus.ts";
import { type Decoding, decodeAnswer, decodeRequests } from "./decode.ts";
import { ORACLE_METHODS, Oracle } from "./llhttp.ts";

const CASES = Number(process.env["SIDEGATE_DIFFERENTIAL_CASES"] ?? "100000");

/** What we refuse and llhttp takes: our fault, and why. */
const STRICTER: {
  readonly request: Readonly<Record<string, string>>;
  readonly answer: Readonly<Record<string, string>>;
} = {
  request: {
    bare_cr: "llhttp skips any CR in front of a request line; we skip one empty line (RFC 9112 section 2.2).",
    method: "The same with more than one empty line in front.",
    request_line:
      "llhttp skips spaces in front of the target, and reads it without a version: HTTP/0.9 is not carried.",
    version: "llhttp reads HTTP/0.9 and HTTP/2.0; we carry 1.0 and 1.1.",
    target_form: "What is neither a path nor `*` with OPTIONS nor an http URL names nothing that a policy could judge.",
    target_character:
      "llhttp takes nearly any byte in a target. RFC 3986 does not, and servers differ on what it means.",
    target_utf8: "A path that is no UTF-8 has no one reading.",
    double_slash: "Servers differ on empty segments.",
    dot_segment: "Servers resolve them, or do not.",
    encoded_slash: "Servers decode it before or after they split the path.",
    encoded_control: "A decoded NUL or line end cuts the path, or the next protocol's line.",
    percent_encoding: "A percent sign without two digits is kept, dropped or refused.",
    userinfo: "RFC 9110 section 4.2.4: a recipient should treat it as an error.",
    host_missing: "RFC 9112 section 3.2: 400.",
    duplicate_field:
      "llhttp counts lengths only. Two Hosts, codings, types or credentials are read as the first or the last.",
    look_alike_field: "CGI and WSGI make one variable of `Content_Length` and `Content-Length`.",
    connection_field: "A Connection that names what must not be lost on the way, or that is no list of tokens.",
    expectation: "RFC 9110 section 10.1.1 knows one expectation.",
    content_length: "Leading zeros are octal for some, and a tab is a part of the value for others.",
    transfer_coding: "We carry `chunked` alone: with another coding in front, who decodes it is not agreed on.",
    chunked_before_1_1: "RFC 9112 section 6.1: a server or client that says HTTP/1.0 may not know chunks.",
    chunk_size: "llhttp counts to 2^64; a parser of 32 bits would read a smaller number.",
    chunk_extension:
      "llhttp takes an extension without a value behind its equals sign, and more; the grammar does not.",
    trailer: "Framing, routing and credentials in a trailer: some servers merge trailers into the head.",
  },
  answer: {
    status_line: "llhttp reads ICE/ and RTSP/ and codes beyond three digits.",
    version: "As for requests.",
    interim:
      "101 was never asked for; an interim answer that closes, or of HTTP/1.0, cannot be followed by one that is final.",
    transfer_coding: "As for requests.",
    chunked_before_1_1: "As for requests.",
    body_not_allowed:
      "RFC 9110 section 6.4.1: 1xx and 204 have no content, so nobody knows what follows such a length.",
    chunk_size: "As for requests.",
    chunk_extension: "As for requests.",
    trailer: "As for requests.",
    connection_field: "As for requests.",
    look_alike_field: "As for requests.",
    content_length: "As for requests.",
    duplicate_field: "As for requests.",
  },
};

/** What we take and llhttp does not: its error, and why. */
const WIDER: Readonly<Record<string, string>> = {
  HPE_INVALID_METHOD:
    "llhttp knows a list of methods. An unregistered one is a token like any other (RFC 9110 section 9.1): it goes to the policy as action `unknown`.",
};

interface Found {
  readonly wrong: string[];
  readonly stricter: Map<string, { count: number; example: string }>;
  readonly wider: Map<string, number>;
  accepted: number;
}

function compare(kind: "request" | "answer", text: string, ours: Decoding, found: Found): void {
  const bytes = Buffer.from(text, "latin1");
  const oracle = new Oracle(kind);
  let fed = 0;
  const feed = (to: number): void => {
    oracle.feed(bytes.subarray(fed, to));
    fed = Math.max(fed, to);
  };
  const wrong = (what: string): void => {
    if (found.wrong.length < 20) found.wrong.push(`${what}: ${JSON.stringify(text)}`);
  };
  const error = (): string | null => oracle.error;
  for (const [i, message] of ours.messages.entries()) {
    feed(message.headEnd);
    const seen = oracle.messages[i];
    const said = error();
    if (said === "HPE_INVALID_METHOD" && !ORACLE_METHODS.has(message.method)) {
      found.wider.set(said, (found.wider.get(said) ?? 0) + 1);
      return;
    }
    if (said !== null || seen === undefined) return wrong(`head ${i} accepted, llhttp says ${said ?? "more"}`);
    feed(message.end);
    if (error() !== null) return wrong(`body ${i} accepted, llhttp says ${error()}`);
    if (oracle.messages.length !== i + 1) return wrong(`${oracle.messages.length} messages instead of ${i + 1}`);
    for (const what of ["method", "target", "status", "chunked", "complete"] as const) {
      const theirs = what === "status" ? (seen.status ?? 0) : seen[what];
      // A body that its connection ends is complete for nobody yet.
      if (theirs !== message[what])
        return wrong(`${what} ${i}: ${String(message[what])}, llhttp says ${String(theirs)}`);
    }
    // What is in the middle of a chunk may be counted a piece later.
    if (message.complete && seen.length !== message.length)
      return wrong(`length ${i}: ${message.length}, llhttp says ${seen.length}`);
    if (message.complete) found.accepted++;
  }
  if (ours.end === "more" || ours.end === "stop" || ours.end === "done") return;
  // We refused: does llhttp take it, all of it?
  const whole = new Oracle(kind);
  whole.feed(bytes);
  if (whole.error !== null || whole.messages.length <= ours.messages.filter((m) => m.complete).length) return;
  const seen = found.stricter.get(ours.end);
  if (seen === undefined) found.stricter.set(ours.end, { count: 1, example: text });
  else {
    seen.count++;
    if (text.length < seen.example.length) seen.example = text;
  }
}

function run(kind: "request" | "answer", cases: number): Found {
  const found: Found = { wrong: [], stricter: new Map(), wider: new Map(), accepted: 0 };
  const r = random(kind === "request" ? 20_260_101 : 20_260_102);
  for (let i = 0; i < cases; i++) {
    // A third is nearly always right, a third often wrong, a third mostly.
    const odd = [2, 8, 25][i % 3] ?? 8;
    const text = kind === "request" ? requests(r, odd) : answers(r, odd);
    const bytes = Buffer.from(text, "latin1");
    compare(kind, text, kind === "request" ? decodeRequests(bytes) : decodeAnswer(bytes), found);
  }
  return found;
}

describe("the codec and strict llhttp", () => {
  for (const kind of ["request", "answer"] as const)
    test(`agree on every ${kind} that the codec accepts`, { timeout: 600_000 }, () => {
      const cases = kind === "request" ? CASES : Math.ceil(CASES / 3);
      const found = run(kind, cases);
      expect(found.wrong).toEqual([]);
      // A corpus of which nearly nothing is accepted would prove nothing.
      expect(found.accepted).toBeGreaterThan(cases / 6);
      const unlisted = [...found.stricter].filter(([fault]) => STRICTER[kind][fault] === undefined);
      expect(unlisted.map(([fault, seen]) => `${fault}: ${JSON.stringify(seen.example)}`)).toEqual([]);
      expect([...found.wider.keys()].filter((error) => WIDER[error] === undefined)).toEqual([]);
    });
});
