import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Target } from "#contract/target.ts";
import { OPA_TIMEOUT_MS, opaForTests, sourcesOf, type Texts } from "../../../test/support/policy-texts.ts";
import { compilePolicies } from "./compile.ts";

let folder: string;
let counting: string;
let log: string;

/** An `opa` that writes down what it was asked for. */
beforeAll(async () => {
  const opa = await opaForTests();
  folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-counting-"));
  counting = path.join(folder, "opa");
  log = path.join(folder, "asked");
  await writeFile(counting, `#!/bin/sh\necho "$1" >>'${log}'\nexec '${opa}' "$@"\n`);
  await chmod(counting, 0o755);
}, OPA_TIMEOUT_MS);
beforeEach(() => writeFile(log, ""));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function asked(texts: Texts): Promise<readonly string[]> {
  await writeFile(log, "");
  const result = await compilePolicies(sourcesOf(texts), { opa: counting, tmp: folder });
  expect(result).toMatchObject({ kind: "compiled" });
  return (await readFile(log, "utf8")).trim().split("\n").sort();
}

const target = (host: string): Target => ({ name: "api", hosts: [host], ports: [443] });

test("of several policies the changed one is parsed, the set is checked and asked in one process, and built in another", async () => {
  const other = 'deny contains {"code": "x", "message": "m"} if input.action == "write"';
  await asked({ policies: { one: 'allow if input.action == "read"', other } });
  expect(await asked({ policies: { one: 'allow if input.action == "list"', other } })).toEqual([
    "build",
    "eval",
    "parse",
  ]);
});

test("a changed target builds no module anew, and is asked about all the same", async () => {
  const policies = { one: 'allow if input.target.name == "api"' };
  await asked({ policies, targets: [target("a.example")] });
  expect(await asked({ policies, targets: [target("b.example")] })).toEqual(["eval"]);
});

test("tests run each time, for they read the targets too", async () => {
  const texts: Texts = {
    policies: { one: 'allow if input.target.name == "api"' },
    tests: {
      "one_test.rego":
        'package sidegate.policy.one_test\n\nimport data.sidegate.policy.one\n\ntest_api if one.allow with input as {"target": {"name": "api"}}\n',
    },
  };
  await asked({ ...texts, targets: [target("a.example")] });
  expect(await asked({ ...texts, targets: [target("c.example")] })).toEqual(["eval", "test"]);
});

test("a module that was built before is not taken for another that asks other rules of the same texts", async () => {
  const policies = {
    one: 'allow if input.action\n\ndeny contains {"code": "x", "message": "m"} if input.action == "write"',
  };
  await asked({ policies });
  const observing = { policies, options: { one: { mode: "observe", scope: "namespace" } } } as const;
  expect(await asked(observing)).toEqual(["build", "eval"]);
});
