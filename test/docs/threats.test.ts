/** Every row of docs/threat-model.md has a test that is named after it. */
import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const rows = [...readFileSync("docs/threat-model.md", "utf8").matchAll(/^\| ([A-Z]\d+) \|/gm)].map(
  (match) => match[1] ?? "",
);
const titles = globSync("{src,test}/**/*.test.ts").flatMap((file) =>
  [
    ...readFileSync(file, "utf8").matchAll(
      /\b(?:test|it|describe)(?:\.(?:each|for|skipIf|runIf)\([^)]*\))?\(\s*[`"']([^`"'\n]+)/g,
    ),
  ].map((match) => match[1] ?? ""),
);

test("the table has rows and the tests have titles", () => {
  expect(rows.length).toBeGreaterThan(25);
  expect(titles.length).toBeGreaterThan(500);
});

test("each row of the threat model is a named test", () => {
  const missing = rows.filter((row) => !titles.some((title) => new RegExp(`\\b${row}\\b`).test(title)));
  expect(missing).toEqual([]);
});
