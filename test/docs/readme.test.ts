import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VERSION } from "#contract/version.ts";
import { capabilityTable } from "../../tools/readme.ts";

const README = readFileSync("README.md", "utf8");

test("the README's table of what is understood is what the lanes can do", () => {
  expect(README).toContain(capabilityTable());
});

test("the version is the package's", () => {
  expect(VERSION).toBe((JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version);
});

test("every path that README, architecture and contributing name exists", async () => {
  const { existsSync } = await import("node:fs");
  const texts = ["README.md", "docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"].map((file) =>
    readFileSync(file, "utf8"),
  );
  const named = texts.flatMap((text) =>
    [...text.matchAll(/`((?:src|cmd|docs|policies|test|bench|examples|tools)\/[\w./-]*)/g)].map(
      (match) => match[1] ?? "",
    ),
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((file) => !file.includes("NNNN") && !existsSync(file))).toEqual([]);
});
