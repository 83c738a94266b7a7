import * as fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { compileTexts, loaded, OPA_TIMEOUT_MS, opened, operation } from "../../test/support/policy-texts.ts";
import type { BundleParts } from "./assemble.ts";
import { loadPolicy } from "./loaded.ts";

let parts: BundleParts;
let timed: BundleParts;

beforeAll(async () => {
  parts = (
    await compileTexts({
      policies: {
        billing: `
allow if {
	input.target.name == "billing"
	input.action in {"connect", "read"}
}

deny contains {"code": "secret", "message": "Not this."} if input.http.headers["x-secret"]

deny contains {"code": "page", "message": $"page {input.http.query.page[0]}"} if input.http.query.page[0] == "9"

deny contains {"code": "pod", "message": "Not from here."} if data.sidegate.pod.namespace == "blocked"

deny contains {"code": "loops", "message": "found"} if {
	some a, _ in input.http.headers
	some b, _ in input.http.headers
	some c, _ in input.http.headers
	concat("", [a, b, c]) == "never"
}
`,
      },
      targets: [{ name: "billing", hosts: ["billing.test"], ports: [443], labels: { team: "money" } }],
    })
  ).parts;
  timed = (await compileTexts({ policies: { office: "allow if input.time < 1000" } })).parts;
}, OPA_TIMEOUT_MS);

test("an operation is allowed, denied with its reason, and denied where no policy speaks", () => {
  const policy = loaded(parts);
  expect(policy.decide(operation())).toMatchObject({ effect: "allow", policies: ["billing"] });
  expect(policy.decide(operation({ http: { headers: { "x-secret": "1" } } }))).toMatchObject({
    effect: "deny",
    code: "secret",
    message: "Not this.",
  });
  expect(policy.decide(operation({ http: { query: { page: ["9"] } } }))).toMatchObject({
    code: "page",
    message: "page 9",
  });
  expect(policy.decide(operation({ action: "write" }))).toMatchObject({ effect: "deny", code: "not_allowed" });
});

test("targets come with the bundle, each with its name", () => {
  expect(loaded(parts).targets).toEqual([
    { name: "billing", hosts: ["billing.test"], ports: [443], labels: { team: "money" } },
  ]);
});

test("what the pod is comes from whoever loads the bundle", () => {
  expect(loaded(parts, { pod: { namespace: "blocked" } }).decide(operation())).toMatchObject({ code: "pod" });
});

test("E1: an operation that was not understood completely is denied, also where the field is missing or no boolean", () => {
  const policy = loaded(parts);
  for (const complete of [false, undefined, null, 0, "true"])
    expect(policy.decide(operation({ complete })), String(complete)).toMatchObject({
      effect: "deny",
      code: "incomplete",
    });
});

test("E1: a field that was cut is denied by name", () => {
  expect(loaded(parts).decide(operation({ http: { truncated: true } }))).toMatchObject({
    effect: "deny",
    code: "incomplete",
  });
});

test("E1: an operation without a protocol, without anything, or that is no JSON is denied", () => {
  const policy = loaded(parts);
  for (const input of [operation({ protocol: undefined }), "", '"v":1', "}{", '"action":"read","action":"read"'])
    expect(policy.decide(input), input).toMatchObject({ effect: "deny" });
});

test("E2: out of fuel is a denial with its own code, is not remembered, and the next decision works", () => {
  const policy = loaded(parts);
  const headers = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`h${i}`, ""]));
  const runaway = operation({ http: { headers } });
  expect(policy.decide(runaway)).toMatchObject({ effect: "deny", code: "policy_out_of_fuel" });
  expect(policy.decide(operation())).toMatchObject({ effect: "allow" });
  expect(policy.decide(runaway)).toMatchObject({ effect: "deny", code: "policy_out_of_fuel" });
});

test("E2: an input over the cap is a denial with its own code", () => {
  expect(loaded(parts).decide(operation({ http: { path: "x".repeat(400_000) } }))).toMatchObject({
    code: "input_too_large",
  });
});

test("the same operation gets the same decision, out of the cache too", () => {
  const policy = loaded(parts);
  const uncached = loaded(parts, { cache: null });
  const first = policy.decide(operation());
  expect(policy.decide(operation())).toBe(first);
  expect(uncached.decide(operation())).toEqual(first);
});

test("the cache forgets, and stays right while it does", () => {
  const policy = loaded(parts, { cache: { entries: 4, maxInputChars: 4_096 } });
  for (let n = 0; n < 100; n++) {
    const page = String(n % 11);
    expect(policy.decide(operation({ http: { query: { page: [page] } } })).effect).toBe(
      page === "9" ? "deny" : "allow",
    );
  }
});

test("E9: a policy that reads the time is asked each time, and nothing of it is cached", () => {
  const policy = loaded(timed);
  expect(policy.profile.reads("time")).toBe(true);
  expect(policy.decide(operation({ time: 999 }))).toMatchObject({ effect: "allow" });
  expect(policy.decide(operation({ time: 1_000 }))).toMatchObject({ effect: "deny" });
  expect(policy.decide(operation({ time: 999 }))).toMatchObject({ effect: "allow" });
  // And time that was not given is no time at which anything is allowed.
  expect(policy.decide(operation())).toMatchObject({ effect: "deny" });
});

test("E9: another run, another user or an ended token is another input, so no decision is carried over", () => {
  const policy = loaded(parts);
  const verified = { id: "r", user: "ada", intent: "", verified: true };
  expect(policy.decide(operation({ run: verified }))).toMatchObject({ effect: "allow" });
  expect(policy.decide(operation({ run: { ...verified, verified: false }, action: "write" }))).toMatchObject({
    effect: "deny",
  });
});

test("targets of a wrong shape make a bundle that is refused", () => {
  for (const targets of [7, { a: 7 }, { a: { hosts: [] } }, { a: { hosts: ["x"], ports: ["443"] } }]) {
    const bundle = opened({ ...parts, data: { sidegate: { targets, data: {} } } });
    expect(loadPolicy(bundle, { pod: {}, warmUps: 0 }), JSON.stringify(targets)).toMatchObject({
      kind: "refused",
      code: "bundle_data",
    });
  }
});

test("a module that is none makes a bundle that is refused", () => {
  expect(loadPolicy(opened({ ...parts, wasm: Buffer.from("no module") }), { pod: {}, warmUps: 0 })).toMatchObject({
    kind: "refused",
    code: "bundle_wasm",
  });
});

/** Leaves out what no rule reads, as deep as the profile can tell: more than any lane does. */
function prune(value: unknown, path: string, reads: (path: string) => boolean): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, member]) => [key, path === "" ? key : `${path}.${key}`, member] as const)
      .filter(([, at]) => reads(at))
      .map(([key, at, member]) => [key, prune(member, at, reads)]),
  );
}

test("E1: an operation without what no policy reads is decided as the whole one is", () => {
  const policy = loaded(parts, { cache: null });
  const word = fc.constantFrom("9", "x-secret", "page", "billing", "", "a.b", "__proto__");
  const members = fc.dictionary(word, word, { maxKeys: 3 });
  fc.assert(
    fc.property(
      fc.record({
        v: fc.constant(1),
        protocol: fc.constantFrom("http", "tcp", "tls"),
        action: fc.constantFrom("read", "write", "connect", "credential"),
        complete: fc.boolean(),
        target: fc.record({ name: fc.option(word), host: word, port: fc.nat(65_535), labels: members }),
        run: fc.option(fc.record({ id: word, user: word, intent: word, verified: fc.boolean() })),
        http: fc.record({
          method: word,
          path: word,
          segments: fc.array(word, { maxLength: 3 }),
          query: fc.dictionary(word, fc.array(word, { maxLength: 2 }), { maxKeys: 3 }),
          headers: members,
          contentLength: fc.option(fc.nat()),
          truncated: fc.boolean(),
        }),
      }),
      (full) => {
        const pruned = prune(full, "", (path) => policy.profile.reads(path)) as object;
        const decide = (input: object): string => policy.decide(JSON.stringify(input).slice(1, -1)).text;
        expect(decide(pruned)).toBe(decide(full));
      },
    ),
    { numRuns: 300 },
  );
});
