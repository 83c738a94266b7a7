import { expect, test } from "vitest";
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

function setUp() {
  let nowMs = 1_000;
  const clock = { wallMs: () => nowMs, elapsedMs: () => nowMs };
  const known = createKnown();
  const issuer = createIssuer({ cluster: "c", key: () => signing, clock });
  const fleet = createFleet({
    known,
    own: "sidegate",
    issuer,
    clock,
    checkCaller: true,
    dns: "",
    why: () => "not compiled",
  });
  const pod = observePod({
    metadata: { namespace: "team", name: "agent", uid: "u1", annotations: { "sidegate.dev/injected": "1" } },
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
  return { known, fleet, settings, pass: (ms: number) => void (nowMs += ms) };
}

test("THREATS P4: a pod's token brings its bundle to the pod's own address, and nothing to a copy of it elsewhere", () => {
  const { fleet } = setUp();
  expect(fleet.offer("u1", "10.0.0.7").kind).toBe("bundle");
  expect(fleet.offer("u1", "10.0.0.8")).toMatchObject({ kind: "none", status: 403 });
  expect(fleet.offer("u2", "10.0.0.7")).toMatchObject({ kind: "none", status: 503 });
});

test("a namespace under observation has its date in the bundle, and enforces when it is over", () => {
  const { known, fleet, settings, pass } = setUp();
  known.namespaces.set("team", { labels: {}, uid: "n", observeUntilMs: 5_000, observeFault: "" });
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings()).toMatchObject({ mode: "observe", observeUntilMs: 5_000 });
  pass(4_000);
  expect(fleet.recompute()).toEqual(["u1"]);
  expect(settings().mode).toBe("enforce");
});
