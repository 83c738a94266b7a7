/** From a Freeze object to what a pod is given, who is woken, and what is put on record. */
import { expect, test } from "vitest";
import type { Act, Acts } from "#audit/acts.ts";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { makeRunKey } from "#policy/assemble.ts";
import { openBundle } from "#policy/bundle.ts";
import { fakeKube } from "../../test/support/kube.ts";
import { createFleet, createKnown } from "./fleet.ts";
import { recordGone, workOnFreezes } from "./freezes.ts";
import { createIssuer } from "./issue.ts";
import { observePod } from "./observed.ts";
import { observeFreeze } from "./observed-freeze.ts";

const key = makeRunKey();
const clock = { wallMs: () => 1_000, elapsedMs: () => 0 };

function freezeObject(namespace: string, name: string, spec: object, more: object = {}): KubeObject {
  return {
    kind: "Freeze",
    metadata: { namespace, name, uid: `uid-${name}`, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { by: "ada", reason: "odd traffic", ...spec },
    ...more,
  } as KubeObject;
}

function world() {
  const known = createKnown();
  const issuer = createIssuer({ cluster: "c", key: () => key.signing, clock });
  const fleet = createFleet({ known, own: "sidegate", issuer, clock, checkCaller: false, dns: "", why: () => "none" });
  for (const [namespace, name] of [
    ["team", "a"],
    ["team", "b"],
    ["other", "c"],
  ] as const) {
    const pod = observePod({
      metadata: { namespace, name, uid: `pod-${name}`, annotations: { "sidegate.dev/injected": "1" } },
    });
    if (pod !== null) known.pods.set(`${namespace}/${name}`, pod);
  }
  fleet.recompute();
  const freeze = (object: KubeObject): void => {
    const one = observeFreeze(object, "sidegate");
    known.freezes.set(`${one.namespace}/${one.name}`, one);
  };
  const given = (uid: string) => {
    const offer = fleet.offer(uid, "");
    if (offer.kind === "none") return null;
    const opened = openBundle(offer.issue().archive, { keys: [key.trusted], scope: "c/team" }, null, 0);
    return opened.kind === "open" ? (opened.manifest.metadata.settings.freeze ?? null) : opened.code;
  };
  return { known, fleet, freeze, given };
}

test("a namespace's freeze reaches each of its pods and no other, before any policy was compiled", () => {
  const { fleet, freeze, given } = world();
  expect(given("pod-a")).toBeNull();
  freeze(freezeObject("team", "f1", {}));
  expect([...fleet.recompute()].sort()).toEqual(["pod-a", "pod-b"]);
  expect(given("pod-a")).toMatchObject({ scope: "namespace", by: "ada", reason: "odd traffic", id: "uid-f1" });
  expect(given("pod-c")).toBeNull();
});

test("a pod's freeze concerns that pod; one in the gateway's own namespace concerns everybody; the widest is told", () => {
  const { fleet, freeze, known } = world();
  freeze(freezeObject("team", "f1", { pod: "b" }));
  expect(fleet.recompute()).toEqual(["pod-b"]);
  freeze(freezeObject("sidegate", "f2", {}));
  expect([...fleet.recompute()].sort()).toEqual(["pod-a", "pod-b", "pod-c"]);
  expect([...fleet.assigned.values()].map(({ frozen }) => frozen?.scope)).toEqual(["all", "all", "all"]);
  freeze(freezeObject("sidegate", "f2", { lifted: { by: "eve" } }));
  expect([...fleet.recompute()].sort()).toEqual(["pod-a", "pod-b", "pod-c"]);
  known.freezes.clear();
  expect(fleet.recompute()).toEqual(["pod-b"]);
});

test("an object that cannot be read freezes its namespace", () => {
  const { fleet, freeze } = world();
  freeze(freezeObject("team", "f1", { reason: 7 }));
  expect([...fleet.recompute()].sort()).toEqual(["pod-a", "pod-b"]);
});

test("each freeze, and its end, is put on record once, and a lifted one goes away only when that is there", async () => {
  const { known, fleet, freeze } = world();
  const kube = fakeKube();
  const told: Act[] = [];
  let open = false;
  const acts: Acts = {
    record: (act) => (open ? Promise.resolve(void told.push(act)) : Promise.reject(new Error("no collector"))),
  };
  const faults: unknown[] = [];
  const look = (): void => {
    known.freezes.clear();
    for (const object of kube.all(RESOURCE.freeze)) freeze(object);
    fleet.recompute();
  };
  const round = async (): Promise<void> => {
    look();
    const work = { kube, known, fleet, acts, onFault: (fault: unknown) => void faults.push(fault) };
    await workOnFreezes(work, new AbortController().signal);
  };
  kube.seed(RESOURCE.freeze, [freezeObject("team", "f1", {})]);
  await round();
  expect([told, faults.length]).toEqual([[], 1]);
  open = true;
  await round();
  await round();
  expect(told.map(({ key: k }) => k)).toEqual(["freeze/uid-f1"]);
  expect(told[0]?.members).toMatchObject({ by: "ada", reason: "odd traffic", scope: "namespace", namespace: "team" });
  expect(kube.all(RESOURCE.freeze)).toMatchObject([{ status: { pods: 2, recorded: "frozen" } }]);
  open = false;
  await kube.patch(RESOURCE.freeze, { namespace: "team", name: "f1" }, { spec: { lifted: { by: "eve" } } });
  await round();
  expect(kube.all(RESOURCE.freeze)).toHaveLength(1);
  open = true;
  await round();
  expect(kube.all(RESOURCE.freeze)).toEqual([]);
  expect(told.map(({ act, members }) => [act, members["by"]])).toEqual([
    ["freeze", "ada"],
    ["unfreeze", "eve"],
  ]);
});

test("while the collector is away each freeze's pods are counted all the same, and it is asked once in a round", async () => {
  const { known, fleet, freeze } = world();
  const kube = fakeKube();
  kube.seed(RESOURCE.freeze, [freezeObject("team", "f1", {}), freezeObject("other", "f2", {})]);
  for (const object of kube.all(RESOURCE.freeze)) freeze(object);
  fleet.recompute();
  let asked = 0;
  const acts: Acts = {
    record: () => {
      asked++;
      return Promise.reject(new Error("no collector"));
    },
  };
  const faults: unknown[] = [];
  const work = { kube, known, fleet, acts, onFault: (fault: unknown) => void faults.push(fault) };
  await workOnFreezes(work, new AbortController().signal);
  expect(kube.all(RESOURCE.freeze)).toMatchObject([{ status: { pods: 2 } }, { status: { pods: 1 } }]);
  expect([asked, faults.length]).toEqual([1, 1]);
});

test("a freeze that somebody deleted is on record as ended, by nobody who is known", async () => {
  const told: Act[] = [];
  await recordGone(observeFreeze(freezeObject("team", "f1", {}), "sidegate"), {
    record: (act) => Promise.resolve(void told.push(act)),
  });
  expect(told).toMatchObject([{ key: "unfreeze/uid-f1", members: { by: "", reason: "the object was deleted" } }]);
});
