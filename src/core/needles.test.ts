import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createNeedles } from "./needles.ts";

test("finds every word that a plain search finds, wherever it stands", () => {
  const letters = fc.constantFrom("a", "b", "c", "A", "_", "-", "x", "é", "😀");
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "_", "-"), minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 6 }),
      fc.string({ unit: letters, maxLength: 60 }),
      (words, text) => {
        const plain = words.some((w) => text.toLowerCase().includes(w));
        expect(createNeedles(words)(text) || !plain).toBe(true);
      },
    ),
    { numRuns: 3_000 },
  );
});

test("finds no word where there is none", () => {
  const has = createNeedles(["token", "secret", "pwd"]);
  for (const text of ["", "t", "tok", "tokem", "secre", "p w d", "toke\u006d", "secre\u0442"])
    expect(has(text)).toBe(false);
  for (const text of ["TOKEN", "xtoken", "a secret", "PwD", "tokensecret"]) expect(has(text)).toBe(true);
});

test("a word of one character is refused", () => {
  expect(() => createNeedles(["a", "bc"])).toThrow(RangeError);
});
