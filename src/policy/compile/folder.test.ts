import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { type FolderResult, readPolicyFolder } from "./folder.ts";
import { addLibrary } from "./library.ts";

const cleanups: string[] = [];
afterEach(async () => {
  for (const folder of cleanups.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function folderOf(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-folder-"));
  cleanups.push(folder);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
  return folder;
}

const read = async (files: Record<string, string>): Promise<FolderResult> => readPolicyFolder(await folderOf(files));

async function problemsOf(files: Record<string, string>): Promise<string[]> {
  const result = await read(files);
  return result.kind === "problems" ? result.problems.map((p) => `${p.file}:${p.line}: ${p.message}`) : [];
}

const target = (spec: string, name = "billing"): string => `apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata:
  name: ${name}
spec:
${spec}`;

const GOOD = "  hosts: [billing.example.com]\n  ports: [443]\n";

test("modules, tests, data, targets and settings are told apart by their names", async () => {
  const result = await read({
    "billing.rego": "package sidegate.policy.billing\n",
    "billing_test.rego": "package sidegate.policy.billing_test\n",
    "billing.data.yaml": "limit: 3\n",
    "more/other.data.json": '{"a": [1]}',
    "targets/all.yaml": `${target(GOOD)}---\n${target(GOOD, "two")}`,
    "sidegate.yaml":
      "mode: observe\ndenial: { detail: code }\npolicies:\n  billing: { mode: observe }\n  other: { scope: cluster }\nlibrary: [targets]\n",
    "README.md": "text",
    "schema/input.json": "{}",
    "values.yaml": "kind: SomethingElse\n",
    ".hidden/evil.rego": "package evil",
  });
  expect(result).toMatchObject({
    kind: "sources",
    library: ["targets"],
    sources: {
      modules: [{ name: "billing.rego" }],
      tests: [{ name: "billing_test.rego" }],
      targets: [{ name: "billing", hosts: ["billing.example.com"], ports: [443] }, { name: "two" }],
      settings: { mode: "observe", denialDetail: "code" },
    },
  });
  if (result.kind !== "sources") return;
  expect(Object.fromEntries(result.sources.data)).toEqual({ billing: { limit: 3 }, other: { a: [1] } });
  expect(Object.fromEntries(result.sources.options)).toEqual({
    billing: { mode: "observe", scope: "namespace" },
    other: { mode: "enforce", scope: "cluster" },
  });
});

test.each([
  ["a field that does not exist", `${GOOD}  port: 443\n`, "t.yaml:8: spec.port: is not a field of an EgressTarget"],
  ["a port that is none", "  hosts: [a.example]\n  ports: [443, 70000]\n", "t.yaml:7: spec.ports.1: must be <= 65535"],
  [
    "a host in capitals",
    "  hosts:\n    - A.example\n  ports: [443]\n",
    /^t\.yaml:7: spec\.hosts\.0: must match pattern/,
  ],
  ["a wildcard in the middle", "  hosts: [a.*.example]\n  ports: [443]\n", /^t\.yaml:6: spec\.hosts\.0/],
  ["a protocol that nobody knows", `${GOOD}  protocol: gopher\n`, /^t\.yaml:8: spec\.protocol: must be one of http, /],
  ["missing ports", "  hosts: [a.example]\n", /^t\.yaml:6: spec: .*ports/],
  [
    "a credential without TLS to whatever DNS says",
    "  hosts: [a.example]\n  ports: [443]\n  credential: x\n  insecureCredential: true\n",
    /^t\.yaml:9: spec\.insecureCredential: without TLS only endpoints/,
  ],
  [
    "a credential for what passes through unread",
    "  hosts: [a.example]\n  ports: [443]\n  credential: x\n  tls: passthrough\n",
    /^t\.yaml:9: spec\.tls: nothing can be put/,
  ],
  [
    "a wildcard together with a credential",
    '  hosts: ["*.example.com"]\n  ports: [443]\n  credential: key\n',
    /^t\.yaml:6: spec\.hosts\.0: a wildcard may not/,
  ],
])("a target with %s is a problem with file, line and field", async (_what, spec, message) => {
  expect(await problemsOf({ "t.yaml": target(spec) })).toEqual([
    expect.stringMatching(
      message instanceof RegExp
        ? message
        : new RegExp(`^${message.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}`),
    ),
  ]);
});

test("all problems are told at once", async () => {
  const problems = await problemsOf({
    "a.yaml": target("  hosts: []\n  ports: [0]\n"),
    "b.yaml": "kind: EgressTarget\napiVersion: v1\n",
    "sidegate.yaml": "mode: off\nwhat: 1\n",
    "c.data.json": "{",
  });
  expect(problems.length).toBeGreaterThanOrEqual(6);
});

test("a target that is there twice is a problem, and so is data that is", async () => {
  expect(await problemsOf({ "a.yaml": target(GOOD), "b.yaml": target(GOOD) })).toEqual([
    expect.stringContaining("already in a.yaml"),
  ]);
  expect(await problemsOf({ "a.data.yaml": "1", "x/a.data.json": "1" })).toEqual([
    expect.stringContaining("a has data already"),
  ]);
});

test("YAML that is none, grows by its aliases, or says a key twice is a problem with its line", async () => {
  expect(await problemsOf({ "t.yaml": "a: [1\nb: 2\n" })).toEqual([expect.stringMatching(/^t\.yaml:\d+: /)]);
  expect(await problemsOf({ "t.yaml": "a: 1\na: 2\n" })).toEqual([expect.stringMatching(/^t\.yaml:2: /)]);
  let bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (let i = 1; i < 10; i++)
    bomb += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(",")}]\n`;
  expect(await problemsOf({ "x.data.yaml": bomb })).toEqual([expect.stringContaining("alias")]);
});

test("file names that a tool could take for something else are problems", async () => {
  expect(await problemsOf({ "-o.rego": "package x\n" })).toEqual([expect.stringContaining("cannot be used")]);
  expect(await problemsOf({ "sidegate-main.rego": "package sidegate\n" })).toEqual([
    expect.stringContaining("cannot be used"),
  ]);
  expect(await problemsOf({ "a b.rego": "package x\n" })).toEqual([expect.stringContaining("cannot be used")]);
  expect(await problemsOf({ "Bad Name.data.json": "{}" })).toEqual([expect.stringContaining("cannot be used")]);
});

test("a folder without a bottom and a file without an end are not read", async () => {
  const folder = await folderOf({ "big.rego": "" });
  await truncate(path.join(folder, "big.rego"), 5 * 1024 * 1024);
  await symlink(folder, path.join(folder, "again"));
  const result = await readPolicyFolder(folder);
  expect(result.kind === "problems" && result.problems.map((p) => p.message).join()).toMatch(/is over|nested deeper/);
});

test("a folder that is not there is a fault", async () => {
  await expect(readPolicyFolder("/nonexistent/policies")).rejects.toMatchObject({ code: "ENOENT" });
});

const LIBRARY = {
  "targets.rego": "package sidegate.policy.targets\n",
  "targets.data.yaml": "opaque: []\n",
  "telemetry.rego": "package sidegate.policy.telemetry\n",
  "telemetry.data.yaml": "hosts: [t.example]\n",
};

async function withLibrary(
  files: Record<string, string>,
): Promise<{ modules: string[]; data: Record<string, unknown> } | string[]> {
  const own = await read(files);
  if (own.kind === "problems") throw new Error("own folder");
  const all = await addLibrary(own, await folderOf(LIBRARY));
  if (all.kind === "problems") return all.problems.map((p) => p.message);
  return { modules: all.sources.modules.map((file) => file.name), data: Object.fromEntries(all.sources.data) };
}

test("the library's policies come with a folder's own, and the folder's data takes the place of theirs", async () => {
  expect(await withLibrary({ "a.rego": "package sidegate.policy.a\n", "telemetry.data.yaml": "hosts: []\n" })).toEqual({
    modules: ["library/targets.rego", "library/telemetry.rego", "a.rego"],
    data: { targets: { opaque: [] }, telemetry: { hosts: [] } },
  });
});

test("a folder's policy of the same name replaces the library's, with its data", async () => {
  expect(await withLibrary({ "mine.rego": "# mine\npackage sidegate.policy.telemetry\n" })).toEqual({
    modules: ["library/targets.rego", "mine.rego"],
    data: { targets: { opaque: [] } },
  });
});

test("a folder says which of the library it wants, and a name that is not there is a problem", async () => {
  expect(await withLibrary({ "sidegate.yaml": "library: [telemetry]\n" })).toMatchObject({
    modules: ["library/telemetry.rego"],
  });
  expect(await withLibrary({ "sidegate.yaml": "library: []\n" })).toMatchObject({ modules: [] });
  expect(await withLibrary({ "sidegate.yaml": "library: [telemetri]\n" })).toEqual([
    expect.stringContaining("no policy telemetri"),
  ]);
});
