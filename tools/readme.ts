/** Writes the README's generated parts: the table of what is understood. A test compares. */
import { readFileSync, writeFileSync } from "node:fs";
import { CAPABILITIES } from "#contract/capabilities.ts";

export function capabilityTable(): string {
  const mark = (has: boolean): string => (has ? "yes" : "no");
  const rows = CAPABILITIES.map(
    (c) =>
      `| ${c.protocol} | ${c.carried} | ${c.understands} | ${mark(c.hold)} | ${mark(c.mask)} | ${mark(c.credential)} |`,
  );
  return ["| protocol | | what is read | hold | mask | credential |", "|---|---|---|---|---|---|", ...rows].join("\n");
}

export function replaceBetween(text: string, name: string, content: string): string {
  const begin = new RegExp(`(<!-- ${name}:begin[^>]*-->\\n)[\\s\\S]*?(<!-- ${name}:end -->)`);
  if (!begin.test(text)) throw new Error(`README has no part ${name}`);
  return text.replace(begin, (_, first: string, last: string) => `${first}${content}\n${last}`);
}

if (import.meta.main)
  writeFileSync("README.md", replaceBetween(readFileSync("README.md", "utf8"), "capabilities", capabilityTable()));
