import { array, assert, constantFrom, oneof, property, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { DETECTORS, type DetectorName, findAll, holdsKey, isDetector } from "./detectors.ts";

const NAMES = Object.keys(DETECTORS) as DetectorName[];
const all = (text: string, names: readonly DetectorName[] = NAMES): string[] =>
  findAll(text, names).map(({ what, from, to }) => `${what}:${text.slice(from, to)}`);

// Made for tests by their own check digits; no account has them.
const CARD = "4111111111111111";
const IBAN = "DE89370400440532013000";
const AWS = `AKIA${"Q".repeat(16)}`;
const GITHUB = `ghp_${"a1".repeat(18)}`;
const JWT = ["eyJhbGciOi", "eyJzdWIiOiIx", "s".repeat(20)].join(".");
const BLOCK = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";

describe("found", () => {
  test.each([
    ["mail to ada@example.com.", ["email:ada@example.com"]],
    ["<a.b+c@sub.example.co.uk>,x", ["email:a.b+c@sub.example.co.uk"]],
    ["q=ada%40example.com&x", ["email:ada%40example.com"]],
    ["müller@beispiel.de", ["email:müller@beispiel.de"]],
    ["a@b.c@d.e", ["email:a@b.c"]],
    [`card ${CARD},`, [`card:${CARD}`]],
    ["4111 1111 1111 1111", ["card:4111 1111 1111 1111"]],
    ["4111-1111-1111-1111", ["card:4111-1111-1111-1111"]],
    ["378282246310005", ["card:378282246310005"]],
    [IBAN, [`iban:${IBAN}`]],
    ["DE89 3704 0044 0532 0130 00 THANKS", ["iban:DE89 3704 0044 0532 0130 00"]],
    ["call +49 30 1234567 now", ["phone:+49 30 1234567"]],
    ["(555) 123-4567", ["phone:(555) 123-4567"]],
    ["555-123-4567", ["phone:555-123-4567"]],
    ["00441632960961", ["phone:00441632960961"]],
    [`key=${AWS};`, [`aws_key:${AWS}`]],
    [`token ${GITHUB}`, [`github_token:${GITHUB}`]],
    [`github_pat_${"A".repeat(30)}`, [`github_token:github_pat_${"A".repeat(30)}`]],
    [`Bearer ${JWT}`, [`jwt:${JWT}`]],
    [`x ${BLOCK} y`, [`private_key:${BLOCK}`]],
    [BLOCK.slice(0, 40), [`private_key:${BLOCK.slice(0, 40)}`]],
  ])("%j", (text, found) => {
    expect(all(text)).toEqual(found);
  });
});

describe("left alone", () => {
  test.each([
    "no@domain",
    "@example.com",
    "a@.com",
    "a @ b.c",
    "4111111111111112",
    "1234567890123456",
    `${CARD}0${CARD}`,
    `x${CARD}`,
    "DE88370400440532013000",
    "de89370400440532013000",
    "2024-01-02",
    "10.0.0.1",
    "12345678",
    "AKIAQQQQ",
    `X${AWS}`,
    `${AWS}Q`,
    "ghp_short",
    "eyJhbGciOi",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
  ])("%j", (text) => {
    expect(all(text)).toEqual([]);
  });
});

test("what overlaps is found once, from its first character to its last", () => {
  expect(all("+4111111111111111@example.com")).toEqual(["email:+4111111111111111@example.com"]);
  expect(all(`${"a".repeat(10)} ada@example.com ${CARD} bob@example.com`)).toHaveLength(3);
});

test("each detector makes progress and stays inside the text, whatever it is (property)", () => {
  const pieces = constantFrom(
    "@",
    ".",
    "+",
    "-",
    " ",
    "4111",
    "1111",
    "DE89",
    "3704",
    "eyJ",
    "ghp_",
    "AKIA",
    "-----BEGIN ",
    "PRIVATE KEY-----",
    "%40",
    "a",
    "é",
    "(555)",
  );
  assert(
    property(array(oneof(pieces, string({ maxLength: 6 })), { maxLength: 60 }), (parts) => {
      const text = parts.join("");
      let last = 0;
      for (const { from, to } of findAll(text, NAMES)) {
        expect(from).toBeGreaterThanOrEqual(last);
        expect(to).toBeGreaterThan(from);
        expect(to).toBeLessThanOrEqual(text.length);
        last = to;
      }
    }),
    { numRuns: 500 },
  );
});

test("texts made to cost much cost no more than others: looks at each character a bounded number of times", () => {
  const size = 20_000;
  for (const piece of [
    "@",
    "a@",
    "1",
    "1 ",
    "+1",
    "DE89",
    "DE89 ",
    "eyJ",
    "eyJaaaaaaaa.",
    "ghp_",
    "AKIA",
    "-----BEGIN ",
    "a.",
    "@a.",
    "(5",
  ]) {
    const text = piece.repeat(Math.ceil(size / piece.length));
    let looks = 0;
    const counted = new Proxy(new String(text), {
      get(of, name) {
        if (name === "charCodeAt") {
          return (at: number) => {
            looks++;
            return of.charCodeAt(at);
          };
        }
        const value: unknown = Reflect.get(of, name);
        return typeof value === "function" ? value.bind(of) : value;
      },
    }) as unknown as string;
    for (const name of NAMES.filter((n) => n !== "private_key")) {
      looks = 0;
      const detect = DETECTORS[name];
      let matches = 0;
      for (let match = detect(counted, 0); match !== null && matches < 100_000; match = detect(counted, match.to))
        matches++;
      expect(looks, `${name} on ${piece}`).toBeLessThan(size * 400);
    }
  }
});

test("keys are told from personal data", () => {
  expect(holdsKey(`x=${JWT}`)).toBe(true);
  expect(holdsKey("ada@example.com")).toBe(false);
  expect([isDetector("email"), isDetector("toString")]).toEqual([true, false]);
});
