/** The second lock is written from what injection writes: a changed injection without a changed lock does not land. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  ADMISSION_POLICIES,
  ADMISSION_POLICIES_FILE,
  admissionPoliciesText,
  TARGETS_POLICY,
} from "../../tools/admission-policies.ts";

test("the chart's admission policies are what tools/admission-policies.ts writes", () => {
  expect(readFileSync(ADMISSION_POLICIES_FILE, "utf8")).toBe(admissionPoliciesText());
});

test("the chart's targets policy is the library's", () => {
  expect(readFileSync(TARGETS_POLICY.to, "utf8")).toBe(readFileSync(TARGETS_POLICY.from, "utf8"));
});

test("each refusal says what it is about, and each policy is bound somewhere", () => {
  const bindings = readFileSync("charts/gateway/templates/admission/_policies.tpl", "utf8");
  for (const policy of ADMISSION_POLICIES) {
    expect(bindings).toContain(`"policy" "${policy.name}"`);
    expect(policy.checks.length).toBeGreaterThan(0);
    for (const { message } of policy.checks) expect(message).not.toMatch(/undefined|\[object/);
  }
});

test("the controller may put right exactly the policies and bindings that the chart makes", () => {
  const template = readFileSync("charts/gateway/templates/admission/_policies.tpl", "utf8");
  const bindings = [...template.matchAll(/"name" "([a-z-]+)"/g)].map((match) => match[1]);
  const rights = /define "sidegate.lockNames"[^[]*\[([^\]]*)\]/.exec(template)?.[1]?.split(", ") ?? [];
  expect(rights).toEqual(
    [...new Set([...bindings, ...ADMISSION_POLICIES.map(({ name }) => name)])].toSorted((a = "", b = "") =>
      a < b ? -1 : 1,
    ),
  );
});
