import os from "node:os";
import { beforeAll, expect, test } from "vitest";
import { OPA_TIMEOUT_MS, opaForTests, operation, sourcesOf } from "../../../test/support/policy-texts.ts";
import { explainOperation } from "./explain.ts";

const SOURCES = sourcesOf({
  policies: {
    billing: `allow if {
	input.target.name == "billing"
	input.action == "read"
	short
}

allow if input.action == "connect"

short if count(input.http.segments) < 5

deny contains {"code": "blocked", "message": $"not from {data.sidegate.pod.namespace}"} if data.sidegate.pod.namespace == "blocked"
`,
  },
});
let opa: string;
beforeAll(async () => {
  opa = await opaForTests();
}, OPA_TIMEOUT_MS);

async function explain(change: object = {}, pod: object = {}) {
  const input = JSON.parse(`{${operation({ ...change })}}`) as Record<string, unknown>;
  const explained = await explainOperation(SOURCES, input, { opa, tmp: os.tmpdir(), pod: { ...pod } });
  if (explained.kind === "problems") throw new Error(JSON.stringify(explained.problems));
  return explained;
}

test("the rules that held are named, with their lines", async () => {
  const { decision, rules } = await explain();
  expect(decision.effect).toBe("allow");
  expect(rules.filter((rule) => rule.held).map((rule) => `${rule.file}:${rule.line}`)).toEqual(["billing.rego:3"]);
});

test("a rule that did not hold says at which expression it stopped", async () => {
  const { decision, rules } = await explain({ action: "write" });
  expect(decision).toMatchObject({ effect: "deny", code: "not_allowed" });
  expect(rules.map((rule) => rule.stopped)).toEqual([
    { line: 5, text: 'input.action == "read"' },
    { line: 9, text: 'allow if input.action == "connect"' },
    expect.objectContaining({ line: 13 }),
  ]);
  const long = await explain({ http: { segments: ["a", "b", "c", "d", "e"] } });
  expect(long.rules[0]?.stopped).toEqual({ line: 6, text: "short" });
});

test("a denial is explained with the pod that it was made for", async () => {
  const { decision, rules } = await explain({}, { namespace: "blocked" });
  expect(decision).toMatchObject({
    effect: "deny",
    code: "blocked",
    message: "not from blocked",
    rule: "billing.rego:13",
  });
  expect(rules.find((rule) => rule.rule === "deny")?.held).toBe(true);
});

test("what makes no decision is a denial, explained like any other", async () => {
  const { decision } = await explain({ protocol: undefined });
  expect(decision).toMatchObject({ effect: "deny", code: "not_allowed" });
});
