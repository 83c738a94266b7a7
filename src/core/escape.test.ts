import * as fc from "fast-check";
import { expect, test } from "vitest";
import { escapeAndCut, escapeForTerminal, jsonForTerminal } from "./escape.ts";

test.each([
  ["an ANSI colour", "\u001b[31mred\u001b[0m", String.raw`\x1b[31mred\x1b[0m`],
  ["a title change in C1", "\u009d0;x\u0007", String.raw`\x9d0;x\x07`],
  ["a bidi override", "user\u202etxt.exe", String.raw`user\u{202e}txt.exe`],
  ["isolates and marks", "\u2066a\u2069\u200f\u061c", String.raw`\u{2066}a\u{2069}\u{200f}\u{61c}`],
  [
    "what cannot be seen",
    "a\u200bb\u00adc\u3164d\ufeffe\u{e0041}",
    String.raw`a\u{200b}b\xadc\u{3164}d\u{feff}e\u{e0041}`,
  ],
  ["spaces that are none", "a\u00a0b\u2003c\u3000", String.raw`a\xa0b\u{2003}c\u{3000}`],
  ["line ends of every kind", "a\nb\rc\td\u2028e\u0085f", String.raw`a\nb\rc\td\u{2028}e\x85f`],
  ["lone surrogates", "a\ud800b", String.raw`a\u{d800}b`],
])("shows %s", (_what, text, shown) => {
  expect(escapeForTerminal(text)).toBe(shown);
});

test("leaves readable text of any script alone", () => {
  for (const text of ["GET /v1/x?y=1#z", "Größe", "日本語", "привет", "שלום", "😀", String.raw`back\slash`])
    expect(escapeForTerminal(text)).toBe(text);
});

test("whatever comes in, nothing comes out that a terminal acts on", () => {
  const units = fc.uint16Array({ maxLength: 50 }).map((codes) => String.fromCharCode(...codes));
  fc.assert(
    fc.property(units, fc.integer({ min: 16, max: 60 }), (text, most) => {
      const shown = escapeForTerminal(text);
      expect(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(shown)).toBe(false);
      expect(escapeForTerminal(shown)).toBe(shown);
      expect(escapeAndCut(text, most).length).toBeLessThanOrEqual(most);
    }),
    { numRuns: 1_000 },
  );
});

test("nothing is cut without saying so, not even four thousand spaces", () => {
  const text = `harmless${" ".repeat(4_000)}rm -rf /`;
  const shown = escapeAndCut(text, 40);
  expect(shown).toMatch(/^harmless {24}…\(\+3984\)$/);
  expect(escapeAndCut("short", 40)).toBe("short");
  expect(escapeAndCut("x".repeat(40), 40)).toBe("x".repeat(40));
  expect(escapeAndCut("\u0007".repeat(16), 20)).toBe(String.raw`\x07\x07\x07…(+13)`);
});

test("JSON that may be shown means the same to who parses it, and drives no terminal", () => {
  const units = fc.uint16Array({ maxLength: 50 }).map((codes) => String.fromCharCode(...codes));
  fc.assert(
    fc.property(units, units, (name, text) => {
      const value = { [`a${name}`]: [text, 1, null], "\u009b2J": "\u202e\u{e0041}\u007f" };
      const shown = jsonForTerminal(value);
      expect(JSON.parse(shown)).toEqual(value);
      expect(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(shown)).toBe(false);
    }),
    { numRuns: 1_000 },
  );
  expect(jsonForTerminal({ a: "日本語 é" })).toBe('{"a":"日本語 é"}');
});
