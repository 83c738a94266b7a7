import { expect, test } from "vitest";
import type { PolicySources } from "#policy/compile/sources.ts";
import { createPolicyCheck } from "./policies.ts";
import type { AdmissionRequest } from "./review.ts";

const asked = (module: string, more: object = {}): AdmissionRequest =>
  ({
    uid: "1",
    resource: { group: "sidegate.dev", version: "v1alpha1", resource: "agentpolicies" },
    operation: "CREATE",
    name: "items",
    namespace: "shop",
    userInfo: { username: "ada" },
    object: { spec: { module } },
    ...more,
  }) as never;

const GOOD = "package sidegate.policy.items\n\nallow if input.action\n";

function counting(answer: () => "good" | "wrong"): {
  seen: PolicySources[];
  check: ReturnType<typeof createPolicyCheck>;
} {
  const seen: PolicySources[] = [];
  const check = createPolicyCheck({
    own: "sidegate",
    compile: (sources) => {
      seen.push(sources);
      return Promise.resolve(
        answer() === "good"
          ? ({ kind: "compiled" } as never)
          : { kind: "problems", problems: [{ file: "shop/items.rego", line: 3, message: "no" }] },
      );
    },
  });
  return { seen, check };
}

test("a policy that was good is not compiled again for a dry run, or by whoever applies the same each minute", async () => {
  const { seen, check } = counting(() => "good");
  for (const more of [{ dryRun: true }, {}, { operation: "UPDATE" }])
    expect(await check(asked(GOOD, more))).toMatchObject({ kind: "allowed" });
  expect(seen).toHaveLength(1);
});

test("the same text under another name, in another namespace, with data or a mode of its own is looked at", async () => {
  const { seen, check } = counting(() => "good");
  const others = [
    {},
    { namespace: "else" },
    { object: { spec: { module: GOOD, data: { a: 1 } } } },
    { object: { spec: { module: GOOD, mode: "observe" } } },
    { object: { spec: { module: GOOD, tests: "package sidegate.policy.items_test" } } },
  ];
  for (const more of others) await check(asked(GOOD, more));
  expect(seen).toHaveLength(others.length);
});

test("what was refused is looked at anew, and what was good before does not speak for it", async () => {
  let answer: "good" | "wrong" = "wrong";
  const { seen, check } = counting(() => answer);
  expect(await check(asked(GOOD))).toMatchObject({ kind: "denied" });
  answer = "good";
  expect(await check(asked(GOOD))).toMatchObject({ kind: "allowed" });
  answer = "wrong";
  expect(await check(asked(`${GOOD}# changed\n`))).toMatchObject({
    kind: "denied",
    answer: { response: { status: { message: expect.stringContaining("shop/items.rego:3: no") } } },
  });
  expect(seen).toHaveLength(3);
});
