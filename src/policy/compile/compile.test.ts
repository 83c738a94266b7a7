import { beforeAll, expect, test } from "vitest";
import type { Target } from "#contract/target.ts";
import {
  compileTexts,
  loaded,
  OPA_TIMEOUT_MS,
  opaForTests,
  operation,
  type Texts,
  tryCompile,
} from "../../../test/support/policy-texts.ts";

beforeAll(async () => {
  await opaForTests();
}, OPA_TIMEOUT_MS);

async function problemsOf(texts: Texts): Promise<string[]> {
  const result = await tryCompile(texts);
  return result.kind === "problems" ? result.problems.map((p) => `${p.file}:${p.line}: ${p.message}`) : [];
}

const one = (body: string): Texts => ({ policies: { one: body } });

test("a mistyped field of the input is a problem with file, line and what there is", async () => {
  const [problem] = await problemsOf(one('allow if input.http.metod == "GET"'));
  expect(problem).toMatch(/^one\.rego:3: undefined ref: input\.http\.metod \(there is: .*method/);
});

test("a comparison of different types is a problem", async () => {
  expect(await problemsOf(one("allow if input.protocol == 7"))).toEqual([
    expect.stringMatching(/^one\.rego:3: match error/),
  ]);
});

test("what a module cannot parse is a problem with its line", async () => {
  expect(await problemsOf(one("allow if {\n\tinput.x ==\n}"))).toEqual([expect.stringMatching(/^one\.rego:\d+: /)]);
});

test.each([
  ["the network", 'allow if http.send({"method": "get", "url": "http://x"}).status_code == 200'],
  ["the process", "allow if opa.runtime().env.HOME"],
  ["a clock", "allow if time.now_ns() > 0"],
  ["randomness", 'allow if rand.intn("x", 2) == 0'],
  ["name servers", 'allow if net.lookup_ip_addr("x")'],
  ["a formatter that differs", 'allow if sprintf("%v", [1]) == "1"'],
  ["what WebAssembly does not have", "allow if semver.is_valid(input.http.path)"],
])("a policy cannot reach %s", async (_what, body) => {
  expect(await problemsOf(one(body))).toEqual([expect.stringContaining("undefined function")]);
});

test("E2: neither can a test, which is an author's code in our network", async () => {
  const tests = {
    "one_test.rego":
      'package sidegate.policy.one_test\n\ntest_x if http.send({"method": "get", "url": "http://x"}).status_code == 200\n',
  };
  expect(await problemsOf({ policies: { one: "allow if input.action" }, tests })).toEqual([
    expect.stringContaining("one_test.rego:3: undefined function"),
  ]);
});

test.each([
  "package sidegate",
  "package sidegate.policy",
  "package sidegate.policy.a.b",
  "package sidegate.data.one",
  "package other",
  'package sidegate.policy["Upper Case"]',
  "package sidegate.policy.one_test",
])("a module in another package than its own is refused: %s", async (line) => {
  expect(await problemsOf({ policies: { one: `${line}\n\nallow if input.action` } })).toEqual([
    expect.stringMatching(/^one\.rego:1: the package must be sidegate\.policy\.<name>/),
  ]);
});

test("two modules of one package are refused", async () => {
  expect(
    await problemsOf({
      policies: { one: "allow if input.action", two: "package sidegate.policy.one\n\nallow if input.action" },
    }),
  ).toEqual([expect.stringContaining("already in one.rego")]);
});

test.each([
  ["another policy", "allow if data.sidegate.policy.two.allow"],
  ["another policy, by import", "import data.sidegate.policy.two as other\n\nallow if other.allow"],
  ["another policy's data", "allow if data.sidegate.data.two.secret"],
  ["all policies", "allow if data.sidegate.policy[_].allow"],
  ["a policy whose name is computed", "allow if data.sidegate.policy[input.action].allow"],
  ["everything", "allow if data[_].x"],
  ["everything, by a name of its own", "allow if {\n\td := data\n\td.sidegate.policy.two.allow\n}"],
  ["the decision", "allow if data.sidegate.decision"],
  ["what somebody else put into data", "allow if data.users.root"],
  ["everything, by walking", "allow if {\n\twalk(data, [_, v])\n\tv == 1\n}"],
  ["another policy in a with", 'allow if input.action == "x" with data.sidegate.policy.two as {}'],
])("a policy that reads %s is refused", async (_what, body) => {
  const problems = await problemsOf({ policies: { one: body, two: "allow if input.action" } });
  expect(problems.length, problems.join("\n")).toBeGreaterThan(0);
  expect(problems.join("\n")).toMatch(/one\.rego:\d+: .*(may not be read here|reads every policy|recursive)/);
});

test("its own data, the targets and the pod may be read", async () => {
  const { parts } = await compileTexts({
    policies: {
      "read-only": `package sidegate.policy["read-only"]

allow if {
	input.target.name in data.sidegate.data["read-only"].names
	data.sidegate.targets[input.target.name].labels.team == data.sidegate.pod.labels.team
}`,
    },
    data: { "read-only": { names: ["billing"] } },
    targets: [{ name: "billing", hosts: ["billing.test"], ports: [443], labels: { team: "money" } }],
  });
  expect(loaded(parts, { pod: { labels: { team: "money" } } }).decide(operation())).toMatchObject({ effect: "allow" });
  expect(loaded(parts, { pod: { labels: { team: "other" } } }).decide(operation())).toMatchObject({ effect: "deny" });
});

test.each([
  ["deny if input.action", "deny must be written as `deny contains … if …`"],
  ["allow contains 1 if input.action", "allow must be written as `allow if …`"],
  ["allow(x) if x", "allow must be written"],
  ["deny[x] := 1 if { some x in input.http.segments }", "deny must be written"],
  ["allow.x if input.action", "allow must be written"],
  ["helper if input.action", "has none of the rules that are asked for"],
])("a rule of a shape that would never be asked is refused: %s", async (body, message) => {
  expect((await problemsOf(one(body))).join("\n")).toContain(message);
});

test("an allow that is anything but true allows nothing", async () => {
  expect(await problemsOf(one('allow := "yes" if input.action == "read"'))).toEqual([
    expect.stringMatching(/^one\.rego:3: allow has a value of the wrong type/),
  ]);
  const { parts } = await compileTexts(one("allow := input.http.headers.x if input.action"));
  expect(loaded(parts).decide(operation({ http: { headers: { x: "yes" } } }))).toMatchObject({ effect: "deny" });
  expect(loaded(parts).decide(operation())).toMatchObject({ effect: "deny", code: "not_allowed" });
});

test("E1: what was not understood completely goes through only where a policy allows exactly that, by name", async () => {
  const { parts } = await compileTexts(
    one('allow if input.action == "read"\n\nallow_incomplete if input.http.path == "/odd"'),
  );
  const policy = loaded(parts);
  expect(policy.decide(operation({ complete: false }))).toMatchObject({ effect: "deny", code: "incomplete" });
  expect(policy.decide(operation({ complete: false, http: { path: "/odd" } }))).toMatchObject({ effect: "allow" });
  expect(policy.decide(operation({ http: { truncated: true, path: "/odd" } }))).toMatchObject({ effect: "allow" });
});

test("an operation on authenticators needs a cluster's policy that names it", async () => {
  const body = 'allow if input.action\n\nallow_credential_action if input.target.name == "billing"';
  expect(await problemsOf(one(body))).toEqual([expect.stringMatching(/^one\.rego:5: .*scope: cluster/)]);
  const { parts } = await compileTexts({ ...one(body), options: { one: { mode: "enforce", scope: "cluster" } } });
  const policy = loaded(parts);
  expect(policy.decide(operation({ action: "credential" }))).toMatchObject({ effect: "allow" });
  expect(
    policy.decide(operation({ action: "credential", target: { name: "other", host: "x", port: 1, labels: {} } })),
  ).toMatchObject({
    code: "credential_action",
  });
  const plain = loaded((await compileTexts(one("allow if input.action"))).parts);
  expect(plain.decide(operation({ action: "credential" }))).toMatchObject({
    effect: "deny",
    code: "credential_action",
  });
});

test("a credential of the cluster's is put in by a policy of the cluster's alone, one of a namespace's by any", async () => {
  const target = (name: string, more: object): Target => ({
    name,
    hosts: [`${name}.example`],
    ports: [443],
    credential: name,
    ...more,
  });
  const texts: Texts = {
    policies: { space: "allow if input.action\n\ncredential := input.target.name" },
    targets: [target("vault", { ofCluster: true }), target("own", {})],
  };
  const at = (name: string | null) => operation({ target: { name, host: "x.example", port: 443, labels: {} } });
  const space = loaded((await compileTexts(texts)).parts);
  expect(space.decide(at("vault"))).toMatchObject({ effect: "allow", credential: null });
  expect(space.decide(at("own"))).toMatchObject({ effect: "allow", credential: "own" });
  const { parts } = await compileTexts({ ...texts, options: { space: { mode: "enforce", scope: "cluster" } } });
  expect(loaded(parts).decide(at("vault"))).toMatchObject({ effect: "allow", credential: "vault" });
});

test("which credentials a policy can name stands in the bundle: a literal, a default, and null for what is computed", async () => {
  const body =
    'allow if input.action\n\ncredential := "a" if input.action == "read"\n\ncredential := input.target.name if input.action == "write"\n\ncredential := "b" if input.action == "admin" else := "c" if input.action == "execute"\n\ndefault credential := "d"';
  const { parts } = await compileTexts(one(body));
  const named = parts.metadata.rules.filter(({ rule }) => rule === "credential").map(({ code }) => code);
  expect(named).toEqual(["a", null, null, "d"]);
});

test("any deny wins over every allow, from whichever policy", async () => {
  const { parts } = await compileTexts({
    policies: {
      generous: "allow if input.action",
      strict: 'deny contains {"code": "no", "message": "No."} if input.http.method == "GET"',
    },
  });
  expect(loaded(parts).decide(operation())).toMatchObject({
    effect: "deny",
    code: "no",
    policies: ["strict"],
    rule: "strict.rego:3",
  });
});

test("a policy in observe mode reports what it would say, and its allow grants nothing", async () => {
  const { parts } = await compileTexts({
    policies: {
      base: 'allow if input.action == "read"',
      trial: 'allow if input.action\n\ndeny contains {"code": "later", "message": ""} if input.http.method == "GET"',
    },
    options: { trial: { mode: "observe", scope: "namespace" } },
  });
  const policy = loaded(parts);
  expect(policy.decide(operation())).toMatchObject({
    effect: "allow",
    policies: ["base"],
    would: { effect: "deny", reasons: [{ policy: "trial", code: "later" }] },
  });
  expect(policy.decide(operation({ action: "write", http: { method: "POST" } }))).toMatchObject({
    effect: "deny",
    code: "not_allowed",
    would: null,
  });
});

test("under observation of everything a denial goes on and is recorded as what it would have been", async () => {
  const { parts } = await compileTexts({ ...one('allow if input.action == "read"'), settings: { mode: "observe" } });
  expect(loaded(parts).decide(operation({ action: "write" }))).toMatchObject({
    effect: "allow",
    would: { effect: "deny", reasons: [{ code: "not_allowed" }] },
  });
});

test("the input paths that rules read are in the manifest, through helpers, functions and names of their own too", async () => {
  const { parts } = await compileTexts(
    one(`allow if helper

helper if {
	i := input.http
	i.method == "GET"
}

deny contains {"code": "x", "message": ""} if long(input.run.user)

long(text) if count(text) > 10

deny contains {"code": "y", "message": ""} if input.http.headers["x.y"]`),
  );
  expect(parts.metadata.reads).toEqual([
    "action",
    "complete",
    "http.headers",
    "http.method",
    "http.truncated",
    "protocol",
    "run.user",
  ]);
  const whole = await compileTexts(one('allow if {\n\twalk(input, [_, v])\n\tv == "x"\n}'));
  expect(whole.parts.metadata.reads).toContain("");
});

test("each rule's place is in the manifest", async () => {
  const { parts } = await compileTexts(
    one(
      'default allow := false\n\nallow if input.action\n\ndeny contains {"code": "a", "message": "m"} if input.http\n\ndeny contains {"code": input.action, "message": "m"} if input.http',
    ),
  );
  expect(parts.metadata.rules).toEqual([
    { policy: "one", rule: "allow", code: null, file: "one.rego", line: 5 },
    { policy: "one", rule: "deny", code: "a", file: "one.rego", line: 7 },
    { policy: "one", rule: "deny", code: null, file: "one.rego", line: 9 },
  ]);
});

test("a test that fails is a problem with its file and line", async () => {
  const tests = {
    "one_test.rego":
      "package sidegate.policy.one_test\n\nimport data.sidegate.policy.one\n\ntest_it_is_so if one.allow\n",
  };
  expect(await problemsOf({ policies: { one: 'allow if input.action == "read"' }, tests })).toEqual([
    "one_test.rego:5: data.sidegate.policy.one_test.test_it_is_so failed",
  ]);
});

test("a test module without tests, or in a package that is none of a test, is a problem", async () => {
  expect(
    await problemsOf({
      ...one("allow if input.action"),
      tests: { "one_test.rego": "package sidegate.policy.one_test\n\nx := 1\n" },
    }),
  ).toHaveLength(1);
  expect(
    await problemsOf({
      ...one("allow if input.action"),
      tests: { "one_test.rego": "package sidegate\n\ntest_x := true\n" },
    }),
  ).toEqual([expect.stringContaining("sidegate.policy.<name>_test")]);
});

test("E2: a test that never ends is stopped", async () => {
  const body = `package sidegate.policy.one_test

test_forever if {
	l := numbers.range(1, 100000)
	some a in l
	some b in l
	some c in l
	a + b + c == -1
}
`;
  expect((await problemsOf({ ...one("allow if input.action"), tests: { "one_test.rego": body } })).join()).toMatch(
    /failed|could not be run|too much time/,
  );
}, 60_000);

test("a policy that asks for what no protocol can carry out is told so", async () => {
  const { warnings } = await compileTexts(
    one('allow if input.action\n\nhold contains {"reason": "look"} if input.action == "write"'),
  );
  expect(warnings).toEqual([{ file: "one.rego", line: 5, message: expect.stringContaining("`hold`") }]);
});

test("data and options without their policy are problems", async () => {
  expect(
    await problemsOf({
      ...one("allow if input.action"),
      data: { typo: {} },
      options: { misspelt: { mode: "observe", scope: "namespace" } },
    }),
  ).toEqual([expect.stringContaining("typo"), expect.stringContaining("misspelt")]);
});
