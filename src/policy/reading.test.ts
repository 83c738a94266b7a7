import { expect, test } from "vitest";
import type { Settings } from "#contract/policy-port.ts";
import { faultDecision } from "./outcome.ts";
import { readDecision } from "./reading.ts";

const ENFORCE: Settings = { mode: "enforce", denialDetail: "full" };
const OBSERVE: Settings = { mode: "observe", denialDetail: "full" };

const deny = (policy: string, rule: unknown): unknown => ({ policy, rule });

/** `[{policy, rule}, …]` as a decision has it: policy → rules. */
function byPolicy(member: unknown): unknown {
  if (
    !Array.isArray(member) ||
    member.length === 0 ||
    !member.every((item) => typeof item === "object" && item !== null && "policy" in item)
  )
    return member;
  const out: Record<string, unknown[]> = {};
  for (const { policy, rule } of member as { policy: string; rule: unknown }[]) (out[policy] ??= []).push(rule);
  return out;
}

function read(decision: object, settings = ENFORCE): ReturnType<typeof readDecision> {
  const { credential, ...rest } = decision as { credential?: { policy: string; rule: unknown }[] };
  const result: Record<string, unknown> = Object.fromEntries(
    Object.entries(rest).map(([key, member]) => [key, byPolicy(member)]),
  );
  if (credential !== undefined)
    result["credential"] = Object.fromEntries(credential.map(({ policy, rule }) => [policy, rule]));
  return readDecision(JSON.stringify([{ result: { protocol: "http", ...result } }]), settings);
}

test("deny beats hold beats allow, and nothing is a denial", () => {
  const no = deny("a", { code: "no", message: "No." });
  const hold = { policy: "b", rule: { reason: "ask", approvers: ["ada"] } };
  expect(read({ allow: ["x"] })).toMatchObject({ effect: "allow", policies: ["x"], code: "" });
  expect(read({ allow: ["x"], deny: [no] })).toMatchObject({ effect: "deny", code: "no", policies: ["a"] });
  expect(read({ allow: ["x"], deny: [no], hold: [hold] })).toMatchObject({ effect: "deny", code: "no" });
  expect(read({})).toMatchObject({ effect: "deny", code: "not_allowed" });
  expect(read({ allow: [] })).toMatchObject({ effect: "deny", code: "not_allowed" });
  expect(readDecision("[]", ENFORCE)).toMatchObject({ effect: "deny", code: "not_allowed" });
});

test("a hold on a protocol that cannot hold is a denial", () => {
  expect(read({ protocol: "tcp", allow: ["x"], hold: [{ policy: "b", rule: { reason: "ask" } }] })).toMatchObject({
    effect: "deny",
    code: "obligation_unsupported",
  });
});

test("a mask or a credential on a protocol that cannot carry it is a denial", () => {
  const mask = { policy: "b", rule: { selector: "$.email", with: "token" } };
  expect(read({ protocol: "tcp", allow: ["x"], mask: [mask] })).toMatchObject({
    effect: "deny",
    code: "obligation_unsupported",
  });
  expect(read({ protocol: "tcp", allow: ["x"], credential: [{ policy: "b", rule: "c" }] })).toMatchObject({
    effect: "deny",
    code: "obligation_unsupported",
    credential: null,
  });
  expect(read({ protocol: "carrier-pigeon", allow: ["x"], mask: [mask] })).toMatchObject({ effect: "deny" });
});

test("two different credentials are a conflict, twice the same is none", () => {
  const credential = (policy: string, rule: string): unknown => ({ policy, rule });
  expect(read({ allow: ["x"], credential: [credential("a", "one"), credential("b", "two")] }).deny).toContainEqual(
    expect.objectContaining({ code: "conflict" }),
  );
  expect(read({ allow: ["x"], credential: [credential("a", "one"), credential("b", "one")] }).deny).not.toContainEqual(
    expect.objectContaining({ code: "conflict" }),
  );
});

test("E1: a denial of any shape denies: text, number, empty, without code or message", () => {
  for (const rule of ["plain text", 7, null, {}, [], { code: 3 }, { code: "" }, { message: "m" }, true])
    expect(read({ allow: ["x"], deny: [deny("a", rule)] }).effect, JSON.stringify(rule)).toBe("deny");
  expect(read({ allow: ["x"], deny: [deny("a", "plain text")] })).toMatchObject({
    code: "denied",
    message: "plain text",
  });
});

test("E1: a decision that cannot be read denies", () => {
  for (const decision of [
    { allow: "yes" },
    { allow: { x: 1 } },
    { allow: [1] },
    { allow: ["x"], deny: "none" },
    { allow: ["x"], deny: { a: "bare" } },
    { allow: ["x"], deny: ["bare"] },
    { allow: ["x"], hold: [{ policy: "b", rule: 7 }] },
    { allow: ["x"], hold: [{ policy: "b", rule: { ttl: "soon" } }] },
    { allow: ["x"], hold: [{ policy: "b", rule: { shape: "any" } }] },
    { allow: ["x"], mask: [{ policy: "b", rule: {} }] },
    { allow: ["x"], credential: [{ policy: "b", rule: 7 }] },
  ])
    expect(read(decision), JSON.stringify(decision)).toMatchObject({ effect: "deny", code: "policy_error" });
  for (const text of ["", "{", "7", "null", '[{"result":true}]', '[{"result":null}]', "[7]"])
    expect(readDecision(text, ENFORCE).effect, text).toBe("deny");
});

test("a member that nobody knows could be an obligation, so it is a denial", () => {
  expect(read({ allow: ["x"], rate_limit: { a: [{ per_minute: 3 }] } })).toMatchObject({
    effect: "deny",
    code: "obligation_unsupported",
  });
});

test("what the gateway says itself comes first, then by policy and code", () => {
  const decision = read({
    deny: [
      deny("z", { code: "b", message: "" }),
      deny("b", { code: "y", message: "" }),
      deny("sidegate", { code: "incomplete", message: "" }),
    ],
  });
  expect(decision.deny.map(({ policy }) => policy)).toEqual(["sidegate", "b", "z"]);
  expect(decision.code).toBe("incomplete");
});

test("in observe mode a denial goes on and says what would have been", () => {
  const no = deny("a", { code: "no", message: "No." });
  expect(read({ allow: ["x"], deny: [no] }, OBSERVE)).toMatchObject({
    effect: "allow",
    would: { effect: "deny", reasons: [{ policy: "a", code: "no", message: "No." }] },
  });
  expect(read({}, OBSERVE)).toMatchObject({
    effect: "allow",
    would: { effect: "deny", reasons: [{ code: "not_allowed" }] },
  });
  expect(read({ allow: ["x"] }, OBSERVE)).toMatchObject({ effect: "allow", would: null });
});

test("in observe mode a denial that says always is still one, and no credential goes out for what would be denied", () => {
  const always = deny("metadata", { code: "metadata_address", message: "", always: true });
  expect(read({ allow: ["x"], deny: [always] }, OBSERVE)).toMatchObject({
    effect: "deny",
    code: "metadata_address",
    would: null,
  });
  expect(
    read({ deny: [deny("a", { code: "no", message: "" })], credential: [{ policy: "b", rule: "c" }] }, OBSERVE)
      .credential,
  ).toBeNull();
});

test("what a policy in observe mode says is reported and does not count", () => {
  const decision = read({ allow: ["x"], observed_deny: [deny("new", { code: "later", message: "Not yet." })] });
  expect(decision).toMatchObject({
    effect: "allow",
    would: { effect: "deny", reasons: [{ policy: "new", code: "later", message: "Not yet." }] },
  });
});

test("a fault is a denial in observe mode too", () => {
  expect(faultDecision("policy_out_of_fuel", "")).toMatchObject({ effect: "deny", code: "policy_out_of_fuel" });
});

test("a refusal is quiet only when everything that refuses is", () => {
  const quiet = deny("telemetry", { code: "telemetry", message: "", quiet: true });
  expect(read({ deny: [quiet] }).quiet).toBe(true);
  expect(read({ deny: [quiet, deny("a", { code: "no", message: "" })] }).quiet).toBe(false);
});

test("the record's text is JSON members with everything that was decided", () => {
  const decision = read({
    deny: [deny("a", { code: "no", message: 'say "no"\n' }), deny("b", { code: "nope", message: "" })],
  });
  expect(JSON.parse(`{${decision.text}}`)).toEqual({
    effect: "deny",
    code: "no",
    message: 'say "no"\n',
    policies: ["a"],
    deny: [
      { policy: "a", code: "no", message: 'say "no"\n' },
      { policy: "b", code: "nope", message: "" },
    ],
  });
});

test("a text that a policy made of the operation is bounded, and says that it was cut", () => {
  const { message } = read({ deny: [deny("a", { code: "no", message: "\u{1f600}".repeat(5_000) })] });
  expect(message.length).toBeLessThan(1_100);
  expect(message).toMatch(/… \(10000 characters\)$/);
  expect(message.isWellFormed()).toBe(true);
});

test("nobody can change a decision", () => {
  const decision = read({ allow: ["x"] });
  expect(Object.isFrozen(decision)).toBe(true);
  expect(() => (decision.policies as string[]).push("y")).toThrow(TypeError);
});
