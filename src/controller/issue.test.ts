import { expect, test } from "vitest";
import { type BundleParts, makeRunKey } from "#policy/assemble.ts";
import { openBundle } from "#policy/bundle.ts";
import { createIssuer, type Surroundings } from "./issue.ts";

const { signing, trusted } = makeRunKey("sidegate");
const parts: BundleParts = {
  wasm: new Uint8Array([0]),
  metadata: {
    reads: [],
    mayHold: false,
    mayMask: false,
    settings: { mode: "enforce", denialDetail: "full" },
    policies: [],
    rules: [],
  },
  data: { sidegate: { targets: { api: { hosts: ["api.a.svc"], ports: [80], addresses: ["10.0.0.9"] } }, data: {} } },
};
const around: Surroundings = {
  settings: { mode: "enforce", denialDetail: "full" },
  addresses: {},
  cluster: { resolvers: ["10.96.0.10"] },
};
const bundle = (id: string, content = "1") => ({ id, content, parts });

function setUp() {
  let now = 1_000;
  const issuer = createIssuer({ cluster: "c", key: () => signing, clock: { wallMs: () => now, elapsedMs: () => now } });
  const open = (archive: Uint8Array, scope = "c/team") => openBundle(archive, { keys: [trusted], scope }, null, now);
  return { issuer, open, pass: (ms: number) => (now += ms) };
}

test("a bundle is signed for one namespace, and refused in another", () => {
  const { issuer, open } = setUp();
  const { archive } = issuer.issue("team", bundle("s"), around);
  expect(open(archive).kind).toBe("open");
  expect(open(archive, "c/other")).toMatchObject({ kind: "refused", code: "bundle_scope" });
  expect(open(archive, "d/team")).toMatchObject({ kind: "refused", code: "bundle_scope" });
});

test("a pod that changes to another set, and back, is always given a higher sequence, also within a millisecond", () => {
  const { issuer, open } = setUp();
  const sequences = ["a", "b", "a", "b", "b"].map((id) => {
    const opened = open(issuer.issue("team", bundle(id), around).archive);
    return opened.kind === "open" ? opened.claims.sequence : 0;
  });
  expect(sequences).toEqual([1_000, 1_001, 1_002, 1_003, 1_003]);
});

test("the tag is of the content alone: equal on every replica, and another one whenever a pod would be given something else", () => {
  const one = setUp().issuer;
  const two = setUp().issuer;
  const tag = one.etag(bundle("s"), around);
  expect(two.etag(bundle("s"), around)).toBe(tag);
  const others = [
    one.etag(bundle("t"), around),
    one.etag(bundle("s", "2"), around),
    one.etag(bundle("s"), { ...around, settings: { mode: "observe", denialDetail: "full" } }),
    one.etag(bundle("s"), { ...around, addresses: { api: ["10.0.0.1"] } }),
  ];
  expect(new Set([tag, ...others]).size).toBe(5);
});

test("mode, a Service's addresses and the resolvers are put in when it is given", () => {
  const { issuer, open } = setUp();
  const changed: Surroundings = {
    ...around,
    settings: { mode: "observe", denialDetail: "full" },
    addresses: { api: ["10.96.1.1", "10.0.0.9"] },
  };
  const opened = open(issuer.issue("team", bundle("s"), changed).archive);
  expect(opened).toMatchObject({
    kind: "open",
    manifest: { metadata: { settings: { mode: "observe" } } },
    data: {
      sidegate: {
        targets: { api: { addresses: ["10.0.0.9", "10.96.1.1"] } },
        cluster: { resolvers: ["10.96.0.10"] },
      },
    },
  });
});

test("a policy that is put back is newer than what another replica issued in between", () => {
  let now = 1_000_000;
  const options = { cluster: "c", key: () => signing, clock: { wallMs: () => now, elapsedMs: () => now } };
  const [one, other] = [createIssuer(options), createIssuer(options)];
  const sequenceOf = (archive: Uint8Array): number => {
    const opened = openBundle(archive, { keys: [trusted], scope: "c/team" }, null, now);
    return opened.kind === "open" ? opened.claims.sequence : 0;
  };
  const before = sequenceOf(one.issue("team", bundle("s"), around).archive);
  now += 2_000;
  const between = sequenceOf(other.issue("team", bundle("s", "2"), around).archive);
  now += 2_000;
  const back = sequenceOf(one.issue("team", bundle("s"), around).archive);
  expect(before).toBeGreaterThan(0);
  expect(between).toBeGreaterThan(before);
  expect(back).toBeGreaterThan(between);
});
