import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests } from "../../../test/support/policy-texts.ts";
import { readModules } from "./modules.ts";

let folder: string;
let opa: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "sidegate-modules-"));
  opa = path.join(folder, "opa");
  // Says what it is asked to parse, and asks the real one.
  writeFileSync(
    opa,
    `#!/bin/sh\nfor last; do :; done\necho "$last" >> ${folder}/asked\nexec ${await opaForTests()} "$@"\n`,
  );
  chmodSync(opa, 0o755);
}, OPA_TIMEOUT_MS);
afterAll(() => rmSync(folder, { recursive: true }));

async function read(
  texts: Readonly<Record<string, string>>,
): Promise<{ asked: string[]; found: string[]; problems: string[] }> {
  writeFileSync(path.join(folder, "asked"), "");
  const files = Object.entries(texts).map(([name, text]) => ({ name: `${name}.rego`, text }));
  for (const { name, text } of files) writeFileSync(path.join(folder, name), text);
  const { modules, problems } = await readModules(opa, folder, files, "policy");
  return {
    asked: readFileSync(path.join(folder, "asked"), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .sort(),
    found: modules.map(({ file, policy }) => `${file} ${policy}`),
    problems: problems.map(({ file, line }) => `${file}:${line}`),
  };
}
const module = (name: string, body = "allow if true"): string => `package sidegate.policy.${name}\n${body}\n`;

test("of a set in which one module changes, that one alone is parsed anew, and the order stays", async () => {
  const set = { a: module("a"), b: module("b"), c: module("c") };
  expect(await read(set)).toEqual({
    asked: ["a.rego", "b.rego", "c.rego"],
    found: ["a.rego a", "b.rego b", "c.rego c"],
    problems: [],
  });
  expect((await read({ ...set, b: module("b", "allow if false") })).asked).toEqual(["b.rego"]);
  expect((await read(set)).asked).toEqual([]);
});

test("what cannot be parsed is not kept, and the file that has it now is named", async () => {
  const bad = module("bad", "allow if {");
  expect((await read({ one: bad })).problems[0]).toMatch(/^one\.rego:/);
  expect((await read({ two: bad })).problems[0]).toMatch(/^two\.rego:/);
  // The same text under another name: a problem found in the kept tree names it too.
  const misnamed = "package sidegate.other\nallow if true\n";
  await read({ first: misnamed });
  expect(await read({ second: misnamed })).toMatchObject({ asked: [], problems: ["second.rego:1"] });
});
