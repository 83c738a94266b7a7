import { expect, test } from "vitest";
import type { Act } from "#audit/acts.ts";
import type { KubeObject } from "#kube/port.ts";
import { observationOf, tellObservations } from "./observation.ts";
import { observeNamespace } from "./observed.ts";

const NOW = Date.parse("2026-01-10T00:00:00Z");
const DAY = 86_400_000;

function namespace(until: string | undefined, written?: string, mode = "observe"): KubeObject {
  const object = {
    metadata: {
      name: "team",
      uid: "u1",
      labels: { "sidegate.dev/mode": mode },
      annotations: until === undefined ? {} : { "sidegate.dev/observe-until": until },
      ...(written === undefined
        ? {}
        : {
            managedFields: [
              {
                manager: "kubectl",
                time: written,
                fieldsV1: { "f:metadata": { "f:annotations": { "f:sidegate.dev/observe-until": {} } } },
              },
              { manager: "other", time: "2026-01-09T23:00:00Z", fieldsV1: { "f:metadata": { "f:labels": {} } } },
            ],
          }),
    },
  };
  return object;
}

test.each([
  ["a near date", "2026-01-12T00:00:00Z", undefined, true],
  ["a date in another zone", "2026-01-12T00:00:00+05:00", undefined, true],
  ["exactly 14 days", "2026-01-24T00:00:00Z", undefined, true],
  ["15 days", "2026-01-25T00:00:00Z", undefined, false],
  ["a far date that has come near by waiting", "2026-01-12T00:00:00Z", "2025-12-01T00:00:00Z", false],
  ["a date written lately", "2026-01-12T00:00:00Z", "2026-01-01T00:00:00Z", true],
  ["no date", undefined, undefined, false],
  ["a day alone", "2026-01-12", undefined, false],
  ["words", "soon", undefined, false],
])("THREATS P12: %s: whether a namespace observes", (_what, until, written, observes) => {
  const { untilMs, fault } = observationOf(namespace(until, written), NOW);
  expect([untilMs > NOW, fault === ""]).toEqual([observes, observes]);
});

test("without the label nothing is observed, and nothing is wrong", () => {
  expect(observationOf(namespace("2026-01-12T00:00:00Z", undefined, "enforce"), NOW)).toEqual({
    untilMs: 0,
    fault: "",
  });
});

test("the begin and the end are told once each and put on record; what could not be recorded is told again", async () => {
  const acts: Act[] = [];
  const events: string[] = [];
  let away = true;
  const namespaces = new Map([["team", observeNamespace(namespace("2026-01-12T00:00:00Z"), NOW)]]);
  const told = new Map<string, string>();
  const faults: unknown[] = [];
  const work = {
    namespaces,
    tell: ({ reason }: { reason: string }) => void events.push(reason),
    acts: {
      record(act: Act) {
        if (away) return Promise.reject(new Error("no collector"));
        acts.push(act);
        return Promise.resolve();
      },
    },
    onFault: (fault: unknown) => void faults.push(fault),
  };
  await tellObservations(work, told, NOW);
  expect([faults.length, events.length]).toEqual([1, 0]);
  away = false;
  for (const at of [NOW, NOW + 1_000, NOW + 2 * DAY, NOW + 3 * DAY]) await tellObservations(work, told, at);
  expect(acts.map(({ act, members }) => [act, members["namespace"]])).toEqual([
    ["observe", "team"],
    ["enforce", "team"],
  ]);
  expect(new Set(acts.map(({ key }) => key)).size).toBe(2);
  expect(events).toEqual(["Observing", "Enforced"]);
});

test("an observation that is taken back before its date, and one that cannot begin, are told too", async () => {
  const acts: Act[] = [];
  const events: string[] = [];
  const namespaces = new Map([["team", observeNamespace(namespace("2026-01-12T00:00:00Z"), NOW)]]);
  const told = new Map<string, string>();
  const work = {
    namespaces,
    tell: ({ reason }: { reason: string }) => void events.push(reason),
    acts: { record: (act: Act) => Promise.resolve(void acts.push(act)) },
    onFault: () => undefined,
  };
  await tellObservations(work, told, NOW);
  namespaces.set("team", observeNamespace(namespace(undefined, undefined, "enforce"), NOW));
  await tellObservations(work, told, NOW);
  namespaces.set("team", observeNamespace(namespace("2027-01-12T00:00:00Z"), NOW));
  await tellObservations(work, told, NOW);
  expect(acts.map(({ act }) => act)).toEqual(["observe", "enforce"]);
  expect(events).toEqual(["Observing", "Enforced", "NotObserving"]);
});
