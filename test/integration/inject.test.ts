/** `sidegate inject` as a person or a pipeline runs it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

const SIDEGATE = path.join(import.meta.dirname, "../../bin/sidegate");
const POD = `# mine
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec:
  containers:
    - {name: app, image: a} # the agent
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-inject-"));
  writeFileSync(path.join(folder, "key.pem"), "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n");
  writeFileSync(path.join(folder, "pod.yaml"), POD);
  writeFileSync(
    path.join(folder, "options.yaml"),
    "image: proxy:2\ncollector: {url: https://collector.example}\nbundle: {url: https://bundles.example, publicKey: PEM}\ncluster: blue\n",
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

function inject(argv: readonly string[], input = "") {
  const given = [
    "--image",
    "proxy:1",
    "--collector",
    "https://collector.example",
    "--bundle",
    "https://bundles.example",
  ];
  const flags = [...given, "--bundle-key", path.join(folder, "key.pem"), ...argv];
  return spawnSync(SIDEGATE, ["inject", ...flags], { input, encoding: "utf8", timeout: 60_000 });
}

test("a file is injected to standard output, its comments kept", () => {
  const { status, stdout } = inject(["-f", path.join(folder, "pod.yaml")]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^# mine\n/);
  expect(stdout).toContain("# the agent");
  const pod = parse(stdout) as { spec: { initContainers: { name: string; image: string }[] } };
  expect(pod.spec.initContainers.map(({ name, image }) => `${name} ${image}`)).toEqual([
    "sidegate-init proxy:1",
    "sidegate proxy:1",
  ]);
});

test("standard input is read without a file, and what was injected stays as it is", () => {
  const once = inject([], POD);
  const twice = inject([], once.stdout);
  expect([once.status, twice.status]).toEqual([0, 0]);
  expect(twice.stdout).toBe(once.stdout);
});

test("several documents come out as one List in JSON", () => {
  const { stdout } = inject(["--json"], `${POD}---\n${POD}`);
  expect(JSON.parse(stdout)).toMatchObject({ kind: "List", items: [{ kind: "Pod" }, { kind: "Pod" }] });
});

test("a denied pod ends with 1, names each field, and prints no manifest", () => {
  const { status, stdout, stderr } = inject([], POD.replace("spec:", "spec:\n  hostNetwork: true\n  hostPID: true"));
  expect(status).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toContain("spec.hostNetwork: ");
  expect(stderr).toContain("spec.hostPID: ");
});

test("--check tells a pod that was injected from one that was not", () => {
  const whole = inject(["--check"], inject([], POD).stdout);
  expect([whole.status, whole.stdout]).toEqual([0, "whole: 1\n"]);
  const plain = inject(["--check"], POD);
  expect(plain.status).toBe(1);
  expect(plain.stderr).toContain("spec.initContainers: ");
});

test("options come from a file, and flags win over them", () => {
  const flags = ["inject", "--options", path.join(folder, "options.yaml"), "--image", "proxy:3"];
  const { status, stdout } = spawnSync(SIDEGATE, flags, { input: POD, encoding: "utf8", timeout: 60_000 });
  expect(status).toBe(0);
  expect(stdout).toContain("image: proxy:3");
  expect(stdout).toContain("value: blue");
});

test("a namespace's LimitRange is read from its manifest", () => {
  const file = path.join(folder, "range.yaml");
  writeFileSync(
    file,
    "apiVersion: v1\nkind: LimitRange\nspec: {limits: [{type: Pod, max: {memory: 1Mi}}, {type: Container, max: {memory: 200Mi}}]}\n",
  );
  const { status, stdout } = inject(["--limit-range", file], POD);
  expect(status).toBe(0);
  expect(stdout).toContain("memory: 200Mi");
});

test.each([
  ["no options", ["inject"]],
  ["an unknown flag", ["inject", "--imagine"]],
  ["a wrong value", ["inject", "--image", "p", "--collector", "ftp://x", "--bundle", "https://b"]],
])("%s is wrong usage: exit code 2", (_what, argv) => {
  const { status, stderr } = spawnSync(SIDEGATE, argv, { input: POD, encoding: "utf8", timeout: 60_000 });
  expect(status).toBe(2);
  expect(stderr).not.toBe("");
});
