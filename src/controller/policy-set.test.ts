import { expect, test } from "vitest";
import { createKnown } from "./fleet.ts";
import { observePolicy, observeTarget } from "./observed.ts";
import { contentOf, setFor, sourcesOf, targetsFor } from "./policy-set.ts";
import { selects } from "./selector.ts";
import { targetVerdict } from "./status.ts";

const policy = (kind: string, namespace: string, name: string, spec: object = {}) =>
  observePolicy({
    kind,
    metadata: { name, uid: `${namespace}/${name}`, generation: 1, ...(namespace === "" ? {} : { namespace }) },
    spec: { module: `package sidegate.policy.${name}\n`, ...spec },
  } as Parameters<typeof observePolicy>[0]);
const names = (policies: Parameters<typeof setFor>[0], namespace: string, pod = {}, labels = {}): string[] =>
  setFor(policies, namespace, { namespace: labels, pod }, false).policies.map(({ name }) => name);

test.each([
  ["no selector", undefined, true],
  ["an empty one", {}, true],
  ["equal labels", { matchLabels: { app: "a" } }, true],
  ["another value", { matchLabels: { app: "b" } }, false],
  ["a label of Object's own", { matchExpressions: [{ key: "constructor", operator: "Exists" as const }] }, false],
  ["In", { matchExpressions: [{ key: "app", operator: "In" as const, values: ["x", "a"] }] }, true],
  ["NotIn, absent", { matchExpressions: [{ key: "other", operator: "NotIn" as const, values: ["a"] }] }, true],
  ["DoesNotExist", { matchExpressions: [{ key: "app", operator: "DoesNotExist" as const }] }, false],
])("%s selects as Kubernetes does", (_what, selector, expected) => {
  expect(selects(selector, { app: "a" })).toBe(expected);
});

test("a pod has the cluster's policies for its namespace and its namespace's own, and nobody else's", () => {
  const policies = [
    policy("ClusterAgentPolicy", "", "everywhere"),
    policy("ClusterAgentPolicy", "", "teams", { namespaceSelector: { matchLabels: { team: "yes" } } }),
    policy("ClusterAgentPolicy", "", "one", {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "a" } },
    }),
    policy("AgentPolicy", "a", "own"),
    policy("AgentPolicy", "a", "labelled", { podSelector: { matchLabels: { app: "x" } } }),
    policy("AgentPolicy", "b", "foreign"),
  ];
  expect(names(policies, "a", { app: "x" }, { team: "yes" })).toEqual([
    "labelled",
    "own",
    "everywhere",
    "one",
    "teams",
  ]);
  expect(names(policies, "b")).toEqual(["foreign", "everywhere"]);
});

test("a namespace cannot take a cluster policy's name, nor lend itself the label that is its name", () => {
  const policies = [
    policy("AgentPolicy", "a", "deny-all", { module: "package sidegate.policy.deny_all\nallow if true\n" }),
    policy("ClusterAgentPolicy", "", "deny-all", {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "a" } },
    }),
  ];
  const set = setFor(policies, "a", { namespace: { "kubernetes.io/metadata.name": "b" }, pod: {} }, false);
  expect(set.policies.map(({ kind }) => kind)).toEqual(["ClusterAgentPolicy"]);
});

test("a policy whose selector cannot be read is in everybody's set: it may be a denial", () => {
  const broken = policy("ClusterAgentPolicy", "", "broken", { podSelector: { matchLabels: { app: 7 } } });
  expect(broken.malformed).not.toBe("");
  expect(names([broken], "a")).toEqual(["broken"]);
});

test("a set is who is in it; its content is what they say", () => {
  const before = policy("AgentPolicy", "a", "p");
  const after = policy("AgentPolicy", "a", "p", { module: "package sidegate.policy.p\nallow if true\n" });
  const [one, two] = [before, after].map((p) => setFor([p], "a", { namespace: {}, pod: {} }, false));
  expect(one?.id).toBe(two?.id);
  const contents = [one, two].map((set) => (set === undefined ? "" : contentOf(sourcesOf(set, []))));
  expect(contents[0]).not.toBe(contents[1]);
});

test("the cluster's targets come first: a namespace cannot replace one by its name", () => {
  const target = (namespace: string, name: string, host: string) =>
    observeTarget({ metadata: { namespace, name }, spec: { hosts: [host], ports: [443] } } as Parameters<
      typeof observeTarget
    >[0]);
  const targets = [
    target("team", "api", "evil.example"),
    target("sidegate", "api", "api.example"),
    target("team", "own", "own.example"),
    target("other", "foreign", "foreign.example"),
  ];
  expect(targetsFor(targets, "sidegate", "team").map(({ spec }) => spec.hosts[0])).toEqual([
    "api.example",
    "own.example",
  ]);
  expect(targetsFor(targets, "sidegate", "").map(({ name }) => name)).toEqual(["api"]);
});

test("THREATS C3: a namespace cannot put a host of the cluster's under a name that no rule of the cluster speaks of", () => {
  const target = (namespace: string, name: string, spec: object) =>
    observeTarget({ metadata: { namespace, name }, spec: { ports: [443], ...spec } } as Parameters<
      typeof observeTarget
    >[0]);
  const cluster = [
    target("sidegate", "corp", { hosts: ["*.corp.example"] }),
    target("sidegate", "api", { hosts: ["api.example"] }),
    target("sidegate", "net", { hosts: ["net.example"], addresses: ["10.1.0.0/16"] }),
    target("sidegate", "broken", { hosts: [7] }),
  ];
  const kept = (name: string, spec: object): boolean =>
    targetsFor([...cluster, target("team", name, spec)], "sidegate", "team").some((one) => one.namespace === "team");
  // An exact host would hide the wildcard, also for other ports; a narrower range the wider one.
  expect(kept("mine", { hosts: ["git.corp.example"] })).toBe(false);
  expect(kept("mine", { hosts: ["*.corp.example"] })).toBe(false);
  expect(kept("mine", { hosts: ["own.example", "api.example"], ports: [8080] })).toBe(false);
  expect(kept("mine", { hosts: ["own.example"], addresses: ["10.1.2.3"] })).toBe(false);
  expect(kept("mine", { hosts: ["own.example"], addresses: ["10.1.0.0/16"] })).toBe(false);
  expect(kept("broken", { hosts: ["own.example"] })).toBe(false);
  for (const spec of [
    { hosts: ["own.example"], addresses: ["10.2.0.0/16"] },
    { hosts: ["own.example"], addresses: ["10.1.2.3"], ports: [5432] },
    // One label, never more; and what lies above a host of the cluster's leaves that one alone.
    { hosts: ["a.git.corp.example"] },
    { hosts: ["corp.example"] },
    { hosts: ["*.example"] },
  ])
    expect(kept("mine", spec)).toBe(true);
  const known = createKnown();
  for (const one of [...cluster, target("team", "mine", { hosts: ["git.corp.example"] })])
    known.targets.set(`${one.namespace}/${one.name}`, one);
  const mine = known.targets.get("team/mine");
  expect(mine && targetVerdict(mine, { known, own: "sidegate" })).toMatchObject({
    status: "False",
    reason: "HostTaken",
    message: expect.stringContaining("corp") as string,
  });
});

test("a bundle's targets say what binds their credential and whose they are, and not where it comes from", () => {
  const target = (namespace: string, name: string, more: object = {}) =>
    observeTarget({
      metadata: { namespace, name },
      spec: {
        hosts: ["db.example"],
        ports: [5432],
        credential: "db",
        credentialFrom: { kind: "bearer", secret: { name: "db" } },
        ...more,
      },
    } as Parameters<typeof observeTarget>[0]);
  const set = setFor([policy("AgentPolicy", "team", "p")], "team", { namespace: {}, pod: {} }, true);
  const told = (targets: ReturnType<typeof target>[]) => sourcesOf(set, targets).targets;
  const [own, cluster] = told([target("team", "own"), target("sidegate", "shared")]);
  expect(JSON.stringify([own, cluster])).not.toContain("credentialFrom");
  expect([own?.ofCluster, cluster?.ofCluster]).toEqual([undefined, true]);
  const bindings = [
    target("team", "own"),
    target("team", "own", { hosts: ["attacker.example"] }),
    target("team", "own", { ports: [5433] }),
    target("team", "own", { upstream: { ca: "PEM" } }),
    target("sidegate", "own"),
  ].map((one) => told([one])[0]?.binding);
  expect(bindings[0]).toBe(own?.binding);
  expect(new Set(bindings).size).toBe(bindings.length);
  // Another Secret is another value of the same credential, not another target.
  const moved = target("team", "own", { credentialFrom: { kind: "bearer", secret: { name: "other" } } });
  expect(told([moved])[0]?.binding).toBe(own?.binding);
});
