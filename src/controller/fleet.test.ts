import { expect, test } from "vitest";
import type { Exemption } from "#injection/exemptions.ts";
import { type BundleParts, makeRunKey } from "#policy/assemble.ts";
import { openBundle } from "#policy/bundle.ts";
import { createFleet, createKnown } from "./fleet.ts";
import { createIssuer } from "./issue.ts";
import { observePod } from "./observed.ts";

const { signing, trusted } = makeRunKey("sidegate");
const PARTS: BundleParts = {
  wasm: new Uint8Array([0]),
  metadata: {
    reads: [],
    mayHold: false,
    mayMask: false,
    settings: { mode: "enforce", denialDetail: "full" },
    policies: [],
    rules: [],
  },
  data: { sidegate: { targets: {}, data: {} } },
};

const OPTED_IN = { "sidegate.dev/inject": "all" };

function setUp() {
  let nowMs = 1_000;
  const clock = { wallMs: () => nowMs, elapsedMs: () => nowMs };
  const known = createKnown();
  const injection: { excludedNamespaces: string[]; exemptions: Exemption[] } = {
    excludedNamespaces: [],
    exemptions: [],
  };
  const issuer = createIssuer({ cluster: "c", key: () => signing, clock });
  const fleet = createFleet({
    known,
    own: "sidegate",
    issuer,
    clock,
    checkCaller: true,
    dns: "",
    injection: () => injection,
    why: () => "not compiled",
  });
  known.namespaces.set("team", { labels: OPTED_IN, uid: "n", observeUntilMs: 0, observeFault: "" });
  const pod = observePod({
    metadata: {
      namespace: "team",
      name: "agent",
      uid: "u1",
      creationTimestamp: "2026-06-01T00:00:00Z",
      annotations: { "sidegate.dev/injected": "1" },
    },
    spec: { serviceAccountName: "worker" },
    status: { podIPs: [{ ip: "10.0.0.7" }] },
  } as Parameters<typeof observePod>[0]);
  if (pod !== null) known.pods.set("team/agent", pod);
  fleet.recompute();
  const [set] = fleet.sets.keys();
  known.stored.set(set ?? "", { id: set ?? "", content: "1", parts: PARTS });
  fleet.recompute();
  const settings = () => {
    const offer = fleet.offer("u1", "10.0.0.7");
    if (offer.kind !== "bundle") throw new Error(offer.why);
    const opened = openBundle(offer.issue().archive, { keys: [trusted], scope: "c/team" }, null, nowMs);
    if (opened.kind !== "open") throw new Error(opened.message);
    return opened.manifest.metadata.settings;
  };
  return { known, fleet, injection, settings, pass: (ms: number) => void (nowMs += ms) };
}

test("THREATS P4: a pod's token brings its bundle to the pod's own address, and nothing to a copy of it elsewhere", () => {
  const { fleet } = setUp();
  expect(fleet.offer("u1", "10.0.0.7").kind).toBe("bundle");
  expect(fleet.offer("u1", "10.0.0.8")).toMatchObject({ kind: "none", status: 403 });
  expect(fleet.offer("u2", "10.0.0.7")).toMatchObject({ kind: "none", status: 503 });
});

test("a namespace under observation has its date in the bundle, and enforces when it is over", () => {
  const { known, fleet, settings, pass } = setUp();
  known.namespaces.set("team", { labels: OPTED_IN, uid: "n", observeUntilMs: 5_000, observeFault: "" });
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings()).toMatchObject({ mode: "observe", observeUntilMs: 5_000 });
  pass(4_000);
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings().mode).toBe("enforce");
});

test("THREATS P5: what only looks injected is given no bundle: not opted in, excluded, exempt now or when it was made; a freeze reaches it all the same", () => {
  const { known, fleet, injection, settings } = setUp();
  const team = { uid: "n", observeUntilMs: 0, observeFault: "" };
  const refused = (why: string): void => {
    expect(fleet.recompute()).toEqual(["u1"]);
    expect(fleet.offer("u1", "10.0.0.7")).toMatchObject({ kind: "none", why: expect.stringContaining(why) as string });
  };
  const given = (): void => {
    expect(fleet.recompute()).toEqual(["u1"]);
    expect(settings()).not.toHaveProperty("freeze");
  };
  known.namespaces.set("team", { ...team, labels: { "sidegate.dev/inject": "opt-in" } });
  refused("opted in");
  known.namespaces.set("team", { ...team, labels: OPTED_IN });
  given();
  injection.excludedNamespaces.push("team");
  refused("excluded");
  injection.excludedNamespaces.pop();
  given();
  const exemption = { namespace: "team", serviceAccount: "worker", reason: "a test", until: "2026-06-01" };
  injection.exemptions.push(exemption);
  refused("exempt");
  const frozen = { scope: "namespace", by: "ada", reason: "odd", since: "", id: "f1" } as const;
  const freeze = { namespace: "team", name: "f", uid: "f1", pod: null, frozen, lifted: null, status: {} };
  known.freezes.set("team/f", freeze);
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings()).toMatchObject({ freeze: { by: "ada" } });
  known.freezes.clear();
  injection.exemptions.splice(0, 1, { ...exemption, until: "2026-05-31" });
  given();
});

test("a pod of a namespace that has too much to be kept is frozen, and says so, until it has less", () => {
  const { known, fleet, settings } = setUp();
  known.leftOut.set("policies", new Map([["team", "2026-06-02T00:00:00.000Z"]]));
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings().freeze).toMatchObject({ by: "the gateway", id: "left-out-policies" });
  known.leftOut.clear();
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings()).not.toHaveProperty("freeze");
});
