import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import { loaded, OPA_TIMEOUT_MS, opaForTests, operation, sourcesOf } from "../../../test/support/policy-texts.ts";
import { makeRunKey } from "../assemble.ts";
import { buildFolder } from "./build.ts";
import { compilePolicies } from "./compile.ts";
import { readPolicyFolder } from "./folder.ts";
import { addLibrary } from "./library.ts";
import { runOpa } from "./run-opa.ts";

const LIBRARY = path.resolve("policies");
let policy: LoadedPolicy;

beforeAll(async () => {
  const own = sourcesOf({
    policies: {},
    data: { read_only: { read: ["docs"], write: ["tickets"] }, telemetry: { hosts: ["telemetry.crewai.com"] } },
    targets: [
      { name: "docs", hosts: ["docs.example"], ports: [443] },
      { name: "tickets", hosts: ["tickets.example"], ports: [443] },
    ],
  });
  const all = await addLibrary({ kind: "sources", sources: own, library: null }, LIBRARY);
  if (all.kind === "problems") throw new Error(JSON.stringify(all.problems));
  const compiled = await compilePolicies(all.sources, { opa: await opaForTests(), tmp: os.tmpdir() });
  if (compiled.kind === "problems") throw new Error(JSON.stringify(compiled.problems));
  policy = loaded(compiled.parts);
}, OPA_TIMEOUT_MS);

const at = (name: string | null, host: string): Record<string, unknown> => ({
  target: { name, host, port: 443, labels: {} },
});

test("the library's own tests pass", async () => {
  const folder = await readPolicyFolder(LIBRARY);
  if (folder.kind === "problems") throw new Error(JSON.stringify(folder.problems));
  const compiled = await compilePolicies(folder.sources, { opa: await opaForTests(), tmp: os.tmpdir() });
  expect(compiled).toMatchObject({ kind: "compiled", tests: { skipped: 0 } });
  expect(compiled.kind === "compiled" && compiled.tests.passed).toBeGreaterThanOrEqual(14);
  expect(folder.sources.tests.map((file) => file.name)).toEqual(
    folder.sources.modules.map((file) => file.name.replace(".rego", "_test.rego")),
  );
});

test("with the library alone a listed target is read, and nothing else goes", () => {
  expect(policy.decide(operation(at("docs", "docs.example")))).toMatchObject({ effect: "allow" });
  expect(policy.decide(operation({ ...at("docs", "docs.example"), action: "write" }))).toMatchObject({
    code: "read_only",
  });
  expect(policy.decide(operation({ ...at("tickets", "tickets.example"), action: "write" }))).toMatchObject({
    effect: "allow",
  });
  expect(policy.decide(operation(at("billing", "billing.test")))).toMatchObject({ code: "not_allowed" });
  expect(policy.decide(operation(at(null, "unknown.example")))).toMatchObject({ code: "not_allowed" });
});

test("framework telemetry is refused quietly, metadata never so", () => {
  expect(policy.decide(operation(at(null, "telemetry.crewai.com")))).toMatchObject({ code: "telemetry", quiet: true });
  expect(policy.decide(operation(at("docs", "169.254.169.254")))).toMatchObject({
    code: "metadata_address",
    quiet: false,
  });
});

test("no module of the library uses a pattern", async () => {
  const folder = await readPolicyFolder(LIBRARY);
  if (folder.kind === "problems") throw new Error(JSON.stringify(folder.problems));
  for (const { name, text } of folder.sources.modules) expect(text, name).not.toMatch(/regex\.|glob\./);
});

test("opa verifies the bundle that we sign, for its scope and for no other", async () => {
  const opa = await opaForTests();
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-bundle-"));
  try {
    const key = makeRunKey("ours");
    const built = await buildFolder(
      { folder: LIBRARY, library: null, opa, tmp: os.tmpdir() },
      { scope: "team-a", sequence: 7, notAfterMs: null },
      key.signing,
    );
    if (built.kind === "problems") throw new Error(JSON.stringify(built.problems));
    await writeFile(path.join(folder, "bundle.tar.gz"), built.archive);
    await writeFile(path.join(folder, "key.pem"), key.trusted.publicKey.export({ format: "pem", type: "spki" }));
    const verify = (scope: string) =>
      runOpa(opa, {
        args: [
          "build",
          "-b",
          "bundle.tar.gz",
          "--verification-key",
          "key.pem",
          "--verification-key-id",
          "ours",
          "--signing-alg",
          "EdDSA",
          "--scope",
          scope,
          "-o",
          "out.tar.gz",
        ],
        cwd: folder,
      });
    expect(await verify("team-a")).toMatchObject({ status: 0 });
    const other = await verify("team-b");
    expect(other.status).toBe(1);
    expect(other.stdout + other.stderr).toContain("scope mismatch");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("what the library's README teaches compiles, and its tests pass", async () => {
  const blocks = [
    ...(await readFile(path.join(LIBRARY, "README.md"), "utf8")).matchAll(
      /```(?:yaml|rego)\n# my-policies\/(\S+)\n([\s\S]*?)```/g,
    ),
  ];
  const folder = await mkdtemp(path.join(os.tmpdir(), "sidegate-readme-"));
  try {
    for (const [, name = "", text = ""] of blocks) {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await writeFile(path.join(folder, name), text);
    }
    const key = makeRunKey();
    const built = await buildFolder(
      { folder, library: LIBRARY, opa: await opaForTests(), tmp: os.tmpdir() },
      { scope: "local", sequence: 1, notAfterMs: null },
      key.signing,
    );
    expect(built).toMatchObject({ kind: "built", compiled: { tests: { passed: 1 } } });
    expect(blocks.map(([, name]) => name)).toEqual([
      "targets/billing.yaml",
      "billing.rego",
      "billing_test.rego",
      "read_only.data.yaml",
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
