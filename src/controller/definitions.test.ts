import { describe, expect, test } from "vitest";
import { customResources } from "#contract/custom-resources.ts";
import { ANNOTATION } from "#contract/names.ts";
import { VERSION } from "#contract/version.ts";
import { KubeError, type KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { createRegistry } from "#process/metrics.ts";
import { register } from "#process/register-metrics.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { createDefinitionKeeper, DefinitionsBehind } from "./definition-keeper.ts";
import { type DefinitionChange, keepDefinitions, standingOf } from "./definitions.ts";
import { CONTROLLER_METRICS } from "./metrics.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- definitions, reached into at any depth
type Tree = any;
const NAME = "egresstargets.sidegate.dev";
const definitions = customResources();
const ours = definitions.find(({ metadata }) => metadata.name === NAME) as Tree;

/** As it is stored, but for what `spoil` does to it; `release` null: from before releases were written down. */
function stored(release: string | null, spoil: (definition: Tree) => void = () => undefined): KubeObject {
  const copy: Tree = structuredClone(ours);
  copy.metadata.annotations = release === null ? {} : { [ANNOTATION.release]: release };
  copy.metadata.managedFields = [
    { manager: "helm", operation: "Apply", time: "2026-01-01T00:00:00Z" },
    { manager: "kube-apiserver", operation: "Update", time: "2026-01-02T00:00:00Z" },
  ];
  spoil(copy);
  return copy as KubeObject;
}
const withoutField = (definition: Tree): void => {
  delete definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.credential;
};
const fieldOf = (definition: Tree): unknown =>
  definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.credential;

function setUp(live: KubeObject | null) {
  const kube = fakeKube();
  if (live !== null) kube.seed(RESOURCE.definition, [live]);
  const changes: DefinitionChange[] = [];
  const keep = (by: "self" | "others" = "self") =>
    keepDefinitions({ kube, definitions: [ours], by, changed: (change) => changes.push(change) });
  const now = (): Tree => kube.all(RESOURCE.definition)[0];
  return { kube, changes, keep, now };
}

describe("a definition of ours", () => {
  test.each([["0.0.9"], [null]])("of an older release (%s) is brought up to this one, and says so", async (release) => {
    const { changes, keep, now } = setUp(stored(release, withoutField));
    expect(await keep()).toEqual([{ name: NAME, state: "current", says: "" }]);
    expect(fieldOf(now())).toEqual(fieldOf(ours));
    expect(now().metadata.annotations[ANNOTATION.release]).toBe(VERSION);
    expect(changes).toEqual([
      expect.objectContaining({ name: NAME, how: "upgraded", from: release ?? "", to: VERSION, by: "helm" }),
    ]);
    expect(changes[0]?.differs.join()).toContain("properties.credential");
  });

  test("that is missing is made, and is kept when the chart is uninstalled", async () => {
    const { changes, keep, now } = setUp(null);
    await keep();
    expect(now().metadata.annotations["helm.sh/resource-policy"]).toBe("keep");
    expect(changes.map(({ how }) => how)).toEqual(["made"]);
  });

  test("that somebody changed is put right", async () => {
    const { changes, keep, now } = setUp(stored(VERSION, withoutField));
    await keep();
    expect(fieldOf(now())).toEqual(fieldOf(ours));
    expect(changes.map(({ how }) => how)).toEqual(["restored"]);
  });

  test("at this release's schema is not touched, whoever applied it", async () => {
    const { kube, changes, keep } = setUp(stored("0.0.9"));
    expect(await keep()).toEqual([{ name: NAME, state: "current", says: "" }]);
    expect([changes, [...kube.calls.keys()]]).toEqual([[], ["get customresourcedefinitions"]]);
  });

  const LEFT: readonly (readonly [string, string, (definition: Tree) => void, string, RegExp])[] = [
    ["of a newer release", "99.0.0", withoutField, "newer", /of a newer release, 99\.0\.0/],
    [
      "of a newer release that has versions of its own",
      "99.0.0",
      (one) => one.spec.versions.push({ ...one.spec.versions[0], name: "v1beta1", storage: false }),
      "newer",
      /newer release/,
    ],
    [
      "of a newer release that ended our version",
      "99.0.0",
      (one) => (one.spec.versions[0].served = false),
      "behind",
      /does not serve this release's version any more/,
    ],
    [
      "whose release is no version",
      "latest",
      withoutField,
      "behind",
      /annotation sidegate\.dev\/release is no release/,
    ],
    [
      "with a version that we would take away",
      "0.0.9",
      (one) => one.spec.versions.push({ ...one.spec.versions[0], name: "v1", storage: false }),
      "behind",
      /has a version v1 that this release does not know/,
    ],
    [
      "that is being deleted",
      "0.0.9",
      (one) => (one.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"),
      "behind",
      /being deleted/,
    ],
  ];
  test.each(LEFT)("%s is never written over", async (_what, release, spoil, state, says) => {
    const live = stored(release, spoil);
    const { kube, changes, keep, now } = setUp(live);
    const before = now();
    expect(await keep()).toEqual([{ name: NAME, state, says: expect.stringMatching(says) as string }]);
    expect([now(), changes, kube.calls.get("apply as sidegate-controller customresourcedefinitions")]).toEqual([
      before,
      [],
      undefined,
    ]);
  });

  test("that a newer release writes while we look is not written over", async () => {
    const { kube, changes, keep, now } = setUp(stored("0.0.9", withoutField));
    const other = fakeKube();
    kube.applyAs = async (...given) => {
      kube.seed(RESOURCE.definition, [stored("99.0.0", withoutField)]);
      other.seed(RESOURCE.definition, kube.all(RESOURCE.definition));
      return other.applyAs(...given);
    };
    expect((await keep()).map(({ state }) => state)).toEqual(["newer"]);
    expect([changes, now().metadata.annotations[ANNOTATION.release]]).toEqual([[], "99.0.0"]);
  });

  test("of this release that differs, where others manage them, is told and keeps nobody from starting: it may be a default of a later Kubernetes", async () => {
    const { keep } = setUp(stored(VERSION, (one) => (one.spec.later = true)));
    expect((await keep("others")).map(({ state }) => state)).toEqual(["changed"]);
    const { keeper, lines } = keeperOf(
      definitions.map((one) => (one.metadata.name === NAME ? stored(VERSION, withoutField) : (one as KubeObject))),
      null,
      "others",
    );
    await keeper.start();
    expect(lines.join()).toMatch(/definitions differ CustomResourceDefinition egresstargets.*was changed/);
    await expect(keeper.round(true)).rejects.toThrow(/was changed/);
  });

  test("that differs only by what the API server fills in is current", async () => {
    const live = stored(VERSION, (one) => (one.spec.later = true));
    const { kube, changes, keep } = setUp(live);
    kube.applyAs = async (resource, object) => {
      const found = await kube.get(resource, { namespace: "", name: object.metadata.name });
      return found as typeof object;
    };
    expect(await keep()).toEqual([{ name: NAME, state: "current", says: "" }]);
    expect(changes).toEqual([]);
  });

  test("that others manage is only looked at", async () => {
    const { changes, keep, now } = setUp(stored("0.0.9", withoutField));
    const [kept] = await keep("others");
    expect(kept?.state).toBe("behind");
    expect(kept?.says).toMatch(/older than this release \(of 0\.0\.9\).*crds\.upgrade.*kubectl apply --server-side/);
    expect([fieldOf(now()), changes]).toEqual([undefined, []]);
  });

  test("that the API server does not let us write is behind, in its words and with both ways out", async () => {
    const { kube, keep } = setUp(stored(null, withoutField));
    kube.applyAs = () => Promise.reject(new KubeError(403, "Forbidden", "User x cannot patch"));
    const [kept] = await keep();
    expect(kept).toMatchObject({ state: "behind" });
    expect(kept?.says).toMatch(
      /cannot be written: User x cannot patch; let the controller .* or set values crds\.upgrade: false and kubectl apply/,
    );
  });

  test("of an API server that is out of order is a fault, not behind", async () => {
    const { kube, keep } = setUp(stored(null, withoutField));
    kube.applyAs = () => Promise.reject(new KubeError(500, "InternalError", "etcd"));
    await expect(keep()).rejects.toThrow("etcd");
  });
});

test("a conversion that somebody adds is a difference, since it would read every policy", () => {
  const live = stored(VERSION, (one) => (one.spec.conversion = { strategy: "Webhook", webhook: {} }));
  expect(standingOf(ours, live)).toMatchObject({ kind: "changed" });
});

function keeperOf(
  live: readonly KubeObject[],
  acts: { record(act: object): Promise<void> } | null = null,
  by: "self" | "others" = "self",
) {
  const kube = fakeKube();
  kube.seed(RESOURCE.definition, live);
  const registry = createRegistry();
  const metrics = register(registry, CONTROLLER_METRICS);
  const lines: string[] = [];
  const log = (event: string, fields: Readonly<Record<string, string>>): void =>
    void lines.push(`${event} ${Object.values(fields).join(" ")}`);
  const keeper = createDefinitionKeeper({ kube, definitions, by, acts, metrics, log });
  return { kube, keeper, lines, text: () => registry.text() };
}

describe("the controller", () => {
  test("makes what is missing at its start, and tells log, metrics and record, once", async () => {
    const told: Record<string, unknown>[] = [];
    let away = true;
    const record = async (act: object): Promise<void> => {
      if (away) throw new Error("the collector is away");
      told.push({ ...act });
    };
    const { keeper, lines, text } = keeperOf([stored("0.0.9", withoutField)], { record });
    await keeper.start();
    expect(lines.filter((line) => line.startsWith("definition written")).length).toBe(definitions.length);
    expect(text()).toContain(`sidegate_definitions{state="current"} ${definitions.length}`);
    expect(text()).toContain('sidegate_definition_changes_total{how="upgraded"} 1');
    await expect(keeper.tell()).rejects.toThrow("away");
    away = false;
    await keeper.tell();
    await keeper.tell();
    expect(told.length).toBe(definitions.length);
    expect(told.find(({ members }) => (members as Tree).name === NAME)).toMatchObject({
      act: "definition",
      members: { how: "upgraded", from: "0.0.9", to: VERSION },
    });
    expect(new Set(told.map(({ key }) => key)).size).toBe(definitions.length);
  });

  test("does not start where a definition stays behind, and names each", async () => {
    const { kube, keeper, text } = keeperOf([stored("latest", withoutField)]);
    kube.applyAs = () => Promise.reject(new KubeError(403, "Forbidden", "may not"));
    const fault: unknown = await keeper.start().catch((what: unknown) => what);
    expect(fault).toBeInstanceOf(DefinitionsBehind);
    for (const { metadata } of definitions) expect(String(fault)).toContain(metadata.name);
    expect(text()).toContain(`sidegate_definitions{state="behind"} ${definitions.length}`);
  });

  test("puts right what somebody changes later when it leads, and only looks when it does not", async () => {
    const { kube, keeper } = keeperOf([]);
    await keeper.start();
    kube.seed(RESOURCE.definition, [stored(VERSION, withoutField)]);
    const now = (): Tree => kube.all(RESOURCE.definition).find(({ metadata }) => metadata.name === NAME);
    await expect(keeper.round(false)).rejects.toThrow(/was changed since this release wrote it/);
    expect(fieldOf(now())).toBeUndefined();
    await keeper.round(true);
    expect(fieldOf(now())).toBeDefined();
  });

  test("says once that a newer release's definitions are left alone", async () => {
    const { keeper, lines } = keeperOf([stored("99.0.0", withoutField)]);
    await keeper.start();
    await keeper.round(true);
    expect(lines.filter((line) => line.includes("newer release"))).toHaveLength(1);
  });
});
