import { loadPolicy } from "@open-policy-agent/opa-wasm";
import { beforeAll, expect, test } from "vitest";
import { compileTexts, OPA_TIMEOUT_MS, operation } from "../../test/support/policy-texts.ts";
import { createEvaluator, EVALUATOR_LIMITS, type Evaluator, type EvaluatorLimits } from "./evaluator.ts";
import { WasmError } from "./wasm-binary.ts";

let wasm: Uint8Array;
const DATA = JSON.stringify({ sidegate: { targets: {}, data: { work: { big: "x".repeat(100) } }, pod: {} } });

beforeAll(async () => {
  const { parts } = await compileTexts({
    policies: {
      work: `
import data.sidegate.data.work as config

allow if input.action == "read"

# Four nested loops over what the agent sends.
deny contains {"code": "loops", "message": "found"} if {
	input.action == "execute"
	some a, _ in input.http.headers
	some b, _ in input.http.headers
	some c, _ in input.http.headers
	some d, _ in input.http.headers
	concat("", [a, b, c, d]) == "never"
}

# Memory: each step doubles.
deny contains {"code": "memory", "message": "found"} if {
	input.action == "admin"
	some i, _ in input.http.headers
	x := concat(i, [config.big | some _ in numbers.range(1, 4000)])
	count(x) == 7
}

deny contains {"code": "pattern", "message": "found"} if {
	input.action == "write"
	some pattern, text in input.http.headers
	regex.match(pattern, text)
}
`,
    },
    data: { work: { big: "x" } },
  });
  wasm = parts.wasm;
}, OPA_TIMEOUT_MS);

function evaluator(limits: Partial<EvaluatorLimits> = {}): Evaluator {
  return createEvaluator(wasm, DATA, { ...EVALUATOR_LIMITS, ...limits });
}

function headers(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`h${i}`, "v"]));
}

const EASY = operation();
const RUNAWAY = operation({ action: "execute", http: { headers: headers(100) } });

test("E2: a policy that would run for minutes is stopped, and the next decision works", () => {
  const policy = evaluator();
  expect(policy.evaluate(RUNAWAY)).toMatchObject({ kind: "fault", code: "policy_out_of_fuel" });
  expect(policy.evaluate(EASY)).toMatchObject({ kind: "result" });
});

test("E2: fuel is counted, not timed: the same input stops or ends at exactly the same step", () => {
  const input = operation({ action: "execute", http: { headers: headers(5) } });
  const measured = evaluator();
  measured.evaluate(input);
  const needed = measured.fuelUsed;
  expect(needed).toBeGreaterThan(1_000);
  for (let round = 0; round < 3; round++) {
    expect(evaluator({ fuel: needed + 1, fuelPerChar: 0 }).evaluate(input)).toMatchObject({ kind: "result" });
    expect(evaluator({ fuel: needed, fuelPerChar: 0 }).evaluate(input)).toMatchObject({ code: "policy_out_of_fuel" });
  }
});

test("E2: a thousand stopped evaluations leave nothing behind", () => {
  const policy = evaluator({ fuel: 20_000, fuelPerChar: 0 });
  const before = policy.evaluate(EASY);
  for (let n = 0; n < 1_000; n++) expect(policy.evaluate(RUNAWAY).kind).toBe("fault");
  expect(policy.evaluate(EASY)).toEqual(before);
});

test("E2: a policy that fills its memory is a fault, and the next decision works", () => {
  const policy = evaluator({ maxPages: 32, fuel: 1_000_000_000 });
  expect(policy.evaluate(operation({ action: "admin", http: { headers: headers(400) } }))).toMatchObject({
    kind: "fault",
    code: "policy_error",
  });
  expect(policy.evaluate(EASY)).toMatchObject({ kind: "result" });
});

test("E2: deep JSON is a fault or a decision, and the next decision works", () => {
  const policy = evaluator();
  for (const depth of [100, 10_000, 60_000]) {
    const deep = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    policy.evaluate(`${EASY},"deep":${deep}`);
    expect(policy.evaluate(EASY)).toMatchObject({ kind: "result" });
  }
});

test("E2: an input over the cap is not evaluated", () => {
  const policy = evaluator();
  const large = operation({ http: { path: "x".repeat(1_000_000) } });
  expect(policy.evaluate(large)).toMatchObject({ kind: "fault", code: "input_too_large" });
  expect(policy.evaluate(operation({ http: { path: "é".repeat(200_000) } }))).toMatchObject({ kind: "result" });
  expect(policy.evaluate(EASY)).toMatchObject({ kind: "result" });
});

test("E2: patterns that blow up elsewhere end here", () => {
  const policy = evaluator();
  const evil = [
    ["(a+)+$", `${"a".repeat(5_000)}!`],
    ["((((a{100}){100}){100}){100})", "aaaa"],
    ["(x+x+)+y", "x".repeat(10_000)],
    ["[", "x"],
  ];
  for (const [pattern, text] of evil) {
    policy.evaluate(operation({ action: "write", http: { headers: { [pattern ?? ""]: text } } }));
    expect(policy.evaluate(EASY), pattern).toMatchObject({ kind: "result" });
  }
});

test("text that is no JSON is a fault, not a decision", () => {
  const policy = evaluator();
  for (const text of ['"v":', '"v":1}{', "\u0000", '"a":"\ud800"', "]", '"v":1,'])
    expect(policy.evaluate(text), JSON.stringify(text)).not.toMatchObject({
      kind: "result",
      text: expect.stringContaining("allow"),
    });
  expect(policy.evaluate(EASY)).toMatchObject({ kind: "result" });
});

test("a second operation's text cannot be smuggled into the first", () => {
  const policy = evaluator();
  const smuggled = `"v":1,"protocol":"http","action":"admin","complete":true}\u0000{${EASY}`;
  const answer = policy.evaluate(smuggled);
  expect(answer.kind === "result" && answer.text.includes("work")).toBe(false);
});

test("ten thousand evaluations give what the first gave", () => {
  const policy = evaluator();
  const first = policy.evaluate(EASY);
  for (let n = 0; n < 10_000; n++) policy.evaluate(operation({ http: { path: `/${n % 13}`.repeat(1 + (n % 50)) } }));
  expect(policy.evaluate(EASY)).toEqual(first);
});

test("a module that wants more memory than is given, or is none, is refused when it is loaded", () => {
  expect(() => evaluator({ maxPages: 1 })).toThrow(WasmError);
  expect(() => createEvaluator(wasm, JSON.stringify({ x: "y".repeat(40_000_000) }))).toThrow(WasmError);
  expect(() => createEvaluator(wasm, "{")).toThrow(WasmError);
  expect(() => createEvaluator(new Uint8Array(100), "{}")).toThrow(WasmError);
});

test("decides as OPA's own loader of the same module does", async () => {
  const policy = evaluator();
  const oracle = await loadPolicy(Buffer.from(wasm));
  oracle.setData(JSON.parse(DATA) as object);
  const operations = [
    EASY,
    operation({ action: "write", http: { headers: { "^v": "v1", "[": "x" } } }),
    operation({ action: "execute", http: { headers: headers(3) } }),
    operation({ complete: false }),
    operation({ action: "credential", http: { path: "/\u{1f600}/é/\u2028" } }),
    operation({ protocol: undefined }),
  ];
  for (const members of operations) {
    const ours = policy.evaluate(members);
    const theirs: unknown = oracle.evaluate(JSON.parse(`{${members}}`), "sidegate/decision");
    expect(ours.kind === "result" && JSON.parse(ours.text), members).toEqual(theirs);
  }
});
