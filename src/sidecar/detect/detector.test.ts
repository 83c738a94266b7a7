import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clientHello, helloMessage, record, serverName } from "../../../test/support/client-hello.ts";
import type { Lane, Sniff } from "../seam/lane.ts";
import { createDetector, DETECT_LIMITS } from "./detector.ts";

function lane(protocol: Lane["protocol"], sniff: Lane["sniff"]): Lane {
  return { protocol, alpn: [], sniff, open: () => expect.unreachable("a detector opens nothing") };
}

/** Claims what begins with `word`. */
const wordy = (protocol: Lane["protocol"], word: string): Lane =>
  lane(protocol, (head): Sniff => {
    const text = Buffer.from(head).toString("latin1");
    if (text.startsWith(word)) return { kind: "match" };
    return word.startsWith(text) ? { kind: "more", atLeast: word.length } : { kind: "no" };
  });

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const detect = createDetector([wordy("http", "GET "), wordy("redis", "*1\r\n"), lane("tcp", null)]);

test("TLS is known by its ClientHello, whatever the lanes say", () => {
  const greedy = createDetector([lane("http", () => ({ kind: "match" }))]);
  const hello = clientHello({ extensions: [serverName("a.example")] });
  expect(greedy(hello, false)).toEqual({ kind: "tls", hello: { sni: "a.example", alpn: [], ech: false } });
  expect(greedy(hello.subarray(0, 3), false)).toEqual({ kind: "more", atLeast: 5 });
  expect(greedy(record(helloMessage().subarray(0, 6)), true)).toEqual({
    kind: "unknown",
    why: "first bytes incomplete",
  });
});

test("a lane is chosen when it alone claims the bytes, at every prefix of what is sent", () => {
  const whole = bytes("GET / HTTP/1.1\r\n\r\n");
  for (let length = 1; length <= whole.length; length++)
    expect(detect(whole.subarray(0, length), false)).toEqual(
      length < 4 ? { kind: "more", atLeast: 4 } : { kind: "plain", protocol: "http" },
    );
});

test("a client that says nothing is silent, not unknown", () => {
  expect(detect(new Uint8Array(), false)).toEqual({ kind: "more", atLeast: 1 });
  expect(detect(new Uint8Array(), true)).toEqual({ kind: "silent" });
});

test("a client that stops in the middle is unknown", () => {
  expect(detect(bytes("GE"), true)).toMatchObject({ kind: "unknown" });
  expect(detect(clientHello().subarray(0, 20), true)).toMatchObject({ kind: "unknown" });
});

test("bytes that no lane claims are unknown at once", () => {
  expect(detect(bytes("SSH-2.0-x\r\n"), false)).toEqual({ kind: "unknown", why: "no protocol claims the first bytes" });
});

test("two lanes that claim the same bytes are an ambiguity", () => {
  const both = createDetector([wordy("http", "GET "), wordy("mcp", "GET ")]);
  expect(both(bytes("GET /"), false)).toEqual({ kind: "unknown", why: "claimed by http and mcp" });
});

test("a match waits for a lane that could still claim the bytes, until no more come", () => {
  const two = createDetector([wordy("http", "GET "), wordy("mcp", "GET /mcp")]);
  expect(two(bytes("GET /"), false)).toEqual({ kind: "more", atLeast: 8 });
  expect(two(bytes("GET /x"), false)).toEqual({ kind: "plain", protocol: "http" });
  expect(two(bytes("GET /"), true)).toEqual({ kind: "plain", protocol: "http" });
});

test("a lane that never decides ends at the bound", () => {
  const never = createDetector([lane("http", (head) => ({ kind: "more", atLeast: head.length }))]);
  expect(never(bytes("x"), false)).toEqual({ kind: "more", atLeast: 2 });
  expect(never(new Uint8Array(DETECT_LIMITS.maxBytes).fill(0x20), false)).toMatchObject({ kind: "unknown" });
});

describe("SSLv2 hellos are unknown", () => {
  test.each(["802e0103010015", "802e010002"])("%s", (hex) => {
    const claimed = createDetector([lane("postgres", () => ({ kind: "match" }))]);
    expect(claimed(Buffer.from(hex, "hex"), false)).toEqual({ kind: "unknown", why: "SSLv2 hello" });
  });
});

test("whatever the bytes: no exception, and at the end a decision", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (head) => {
      const early = detect(head, false);
      expect(detect(head, true).kind).not.toBe("more");
      expect(early.kind === "more" && early.atLeast <= head.length).toBe(false);
    }),
    { numRuns: 300 },
  );
});
