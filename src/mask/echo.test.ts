import { array, assert, constantFrom, nat, oneof, property, string, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";
import { coverText, EchoStream, echoOf } from "./echo.ts";

const SECRET = "s3cr3t/Token+With=Odd&Chars<x>\"y'z";
const PLAIN = "tok-0123456789abcdefXYZ";
const echo = echoOf([SECRET, PLAIN]);

function stream(pieces: readonly Buffer[], of = echo): string {
  const s = new EchoStream(of);
  return Buffer.concat([...pieces.map((piece) => s.push(piece)), s.end()]).toString("latin1");
}

function split(bytes: Buffer, at: readonly number[]): Buffer[] {
  const cuts = [...new Set([0, ...at.map((n) => n % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return cuts.slice(1).map((to, i) => bytes.subarray(cuts[i], to));
}

describe("H3: a secret that comes back is covered, and the length stays", () => {
  test.each([
    ["plain", SECRET],
    ["percent-encoded", encodeURIComponent(SECRET)],
    ["percent-encoded in lower case", encodeURIComponent(SECRET).replaceAll(/%../g, (c) => c.toLowerCase())],
    ["as a form", encodeURIComponent(SECRET).replaceAll("%20", "+")],
    ["hex", Buffer.from(SECRET).toString("hex")],
    ["a JSON string", JSON.stringify(SECRET).slice(1, -1)],
    [
      "a JSON string, safe inside HTML",
      JSON.stringify(SECRET)
        .slice(1, -1)
        .replaceAll("<", "\\u003c")
        .replaceAll(">", "\\u003e")
        .replaceAll("&", "\\u0026")
        .replaceAll("'", "\\u0027")
        .replaceAll("=", "\\u003d")
        .replaceAll("+", "\\u002b"),
    ],
    [
      "HTML",
      SECRET.replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(">", "&gt;")
        .replaceAll('"', "&quot;")
        .replaceAll("'", "&#39;"),
    ],
  ])("as %s", (_form, form) => {
    const text = `before ${form} behind`;
    const covered = coverText(echo, text);
    expect(covered).toBe(`before ${"*".repeat(form.length)} behind`);
    expect(stream([Buffer.from(text)])).toBe(covered);
  });

  test("as base64 at every alignment, but for the characters that its neighbours decide", () => {
    for (let before = 0; before < 6; before++)
      for (let behind = 0; behind < 4; behind++)
        for (const alphabet of ["base64", "base64url"] as const) {
          const text = Buffer.from(`${"a".repeat(before)}${SECRET}${"z".repeat(behind)}`).toString(alphabet);
          const covered = coverText(echo, text);
          expect(covered).toHaveLength(text.length);
          expect(covered.replaceAll("*", "").length - text.replaceAll(/[^=]/g, "").length).toBeLessThanOrEqual(
            Math.ceil((before * 4) / 3) + Math.ceil((behind * 4) / 3) + 2,
          );
          expect(Buffer.from(covered.replaceAll("*", "A"), alphabet).toString("latin1")).not.toContain(
            SECRET.slice(2, 8),
          );
        }
  });

  test("as a login, whole", () => {
    const login = Buffer.from(`ada:${PLAIN}`).toString("base64");
    expect(coverText(echoOf([PLAIN, login]), `Basic ${login}`)).toBe(`Basic ${"*".repeat(login.length)}`);
  });

  test("in whatever pieces it comes (property)", () => {
    assert(
      property(
        array(
          oneof(
            string({ maxLength: 20 }),
            constantFrom(SECRET, PLAIN, SECRET.slice(0, 9), PLAIN.slice(0, 5), encodeURIComponent(SECRET)),
          ),
          { maxLength: 12 },
        ),
        array(nat(), { maxLength: 20 }),
        (parts, cuts) => {
          const bytes = Buffer.from(parts.join(""), "utf8");
          const whole = stream([bytes]);
          const pieces = stream(split(bytes, cuts));
          expect(pieces).toHaveLength(bytes.length);
          expect(whole).toHaveLength(bytes.length);
          // The parts that came alone are no secret; of a whole one at most the first three bytes go on.
          for (const secret of [SECRET, PLAIN])
            for (const out of [whole, pieces]) expect(out).not.toContain(secret.slice(0, 12));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("byte by byte", () => {
    const text = `{"got":"Bearer ${PLAIN}"}`;
    const pieces = Array.from(Buffer.from(text), (byte) => Buffer.from([byte]));
    const out = stream(pieces);
    expect(out).toHaveLength(text.length);
    expect(out).toBe(`{"got":"Bearer tok${"*".repeat(PLAIN.length - 3)}"}`);
  });

  test("cut off at the end of a body", () => {
    expect(stream([Buffer.from(`your key ${PLAIN.slice(0, 20)}`)])).toBe(`your key ${"*".repeat(20)}`);
  });

  test("twice over one boundary, and where its beginning repeats", () => {
    const odd = echoOf(["aabaabaacX"]);
    expect(stream([Buffer.from("aabaab"), Buffer.from("aabaacX aabaabaacX")], odd)).toBe(
      `aab${"*".repeat(10)} ${"*".repeat(10)}`,
    );
  });
});

test("what is no secret passes as it is, at once, in any pieces (property)", () => {
  assert(
    property(uint8Array({ maxLength: 200 }), array(nat(), { maxLength: 10 }), (bytes, cuts) => {
      expect(stream(split(Buffer.from(bytes), cuts))).toBe(Buffer.from(bytes).toString("latin1"));
    }),
    { numRuns: 300 },
  );
  const s = new EchoStream(echo);
  expect(s.push(Buffer.from("data: hello\n\n")).toString()).toBe("data: hello\n\n");
  // Three bytes of what could be one do not hold a stream back.
  expect(s.push(Buffer.from("data: tok")).toString()).toBe("data: tok");
  expect(s.push(Buffer.from("ens\n\n")).toString()).toBe("ens\n\n");
});
