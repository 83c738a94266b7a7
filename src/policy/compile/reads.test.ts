import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests } from "../../../test/support/policy-texts.ts";
import { readModules } from "./modules.ts";
import { runOpa } from "./run-opa.ts";

let opa: string;
let folder: string;

beforeAll(async () => {
  opa = await opaForTests();
  folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-reads-"));
}, OPA_TIMEOUT_MS);
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Reads {
  readonly ours: readonly string[];
  /** What `opa deps` says of every rule of the package. */
  readonly opas: readonly string[];
}

async function reads(text: string): Promise<Reads> {
  const name = "one.rego";
  await writeFile(path.join(folder, name), text);
  const { modules } = await readModules(opa, folder, [{ name, text }], "policy");
  const [module] = modules;
  if (module === undefined) throw new Error("no module");
  const deps = await runOpa(opa, {
    args: ["deps", "--format", "json", "-d", name, `data.sidegate.policy["${module.policy}"]`],
    cwd: folder,
  });
  expect(deps.stderr).toBe("");
  const { base = [] } = JSON.parse(deps.stdout) as { base?: { type: string; value: unknown }[][] };
  const opas = base.flatMap(([head, ...rest]) => {
    if (head?.value !== "input") return [];
    const end = rest.findIndex(({ type, value }) => type !== "string" || String(value).includes("."));
    return [
      rest
        .slice(0, end < 0 ? rest.length : end)
        .map(({ value }) => String(value))
        .join("."),
    ];
  });
  return { ours: module.reads, opas };
}

/** Whether a path or one above it is among ours. */
const covered = (path: string, ours: readonly string[]): boolean =>
  ours.some((our) => our === "" || path === our || path.startsWith(`${our}.`));

const policy = (body: string): string => `package sidegate.policy.one\n\n${body}\n`;

test.each([
  ["a reference", "allow if input.http.method", ["http.method"]],
  ["a computed step", "allow if input.http.headers[input.run.user]", ["http.headers", "run.user"]],
  ["a step with a dot", 'allow if input.http.headers["x.y"]', ["http.headers"]],
  ["all of it", "allow if walk(input, [_, 1])", [""]],
  ["a name for it", "allow if {\n\ti := input\n\ti.action\n}", ["action"]],
  ["a name for a part", 'allow if {\n\th := input.http\n\th.method == "GET"\n}', ["http.method"]],
  ["a name of a name", "allow if {\n\ti := input\n\th := i.http\n\th.path\n}", ["http.path"]],
  ["a name that goes on whole", "allow if {\n\th := input.http\n\tcount(h) > 1\n}", ["http"]],
  [
    "two things of one name",
    "allow if {\n\tcount([x | x := input.action]) > 0\n\tx := input.http\n\tx.path\n}",
    ["action", "action.path", "http", "http.path"],
  ],
  ["unification", "allow if {\n\tx = input.http\n\tx.path\n}", ["http"]],
  ["an import with a name", "import input.http as h\n\nallow if h.method", ["http.method"]],
  ["an import without one", "import input.http\n\nallow if http.method", ["http.method"]],
  ["a text with a reference in it", 'allow if $"a {input.action}" != ""', ["action"]],
  ["every", "allow if every segment in input.http.segments { segment != input.run.id }", ["http.segments", "run.id"]],
  ["an else", "allow if input.action else := true if input.protocol", ["action", "protocol"]],
  ["a function of the author's", "allow if f(input.http)\n\nf(h) if h.method", ["http"]],
  ["a with", "allow if g with input.action as input.protocol\n\ng if input.action", ["action", "protocol"]],
  ["a rule's name for it", "allow if r.method\n\nr := input.http", ["http"]],
  ["a head", 'deny contains {"code": "x", "message": input.http.path}', ["http.path"]],
])("%s is read", async (_what, body, expected) => {
  const { ours, opas } = await reads(policy(body));
  expect([...ours].sort()).toEqual(expected);
  for (const path of opas) expect(ours).toSatisfy((all: readonly string[]) => covered(path, all), path);
});

test("a name within a comprehension is followed, where OPA counts all of what it stands for", async () => {
  const { ours, opas } = await reads(policy("allow if count([h | i := input.http; h := i.query]) > 0"));
  expect([ours, opas]).toEqual([["http.query"], ["http"]]);
});

test("of the library and the samples the same is read as OPA says", async () => {
  const files = [
    ...(await readdir("policies")).map((name) => path.join("policies", name)),
    "examples/database/policy/orders.rego",
    "test/e2e/full/policy.rego",
  ].filter((name) => name.endsWith(".rego") && !name.endsWith("_test.rego"));
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    const { ours, opas } = await reads(await readFile(file, "utf8"));
    for (const path of opas) expect(ours, `${file}: ${path}`).toSatisfy((all: readonly string[]) => covered(path, all));
    for (const path of ours) expect(opas, `${file}: ${path}`).toSatisfy((all: readonly string[]) => covered(path, all));
  }
});
