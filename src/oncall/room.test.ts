import { describe, expect, test } from "vitest";
import { refusedByLimitRange, refusedByQuota } from "./room.ts";

const NEED = {
  init: { requests: { cpu: "20m", memory: "48Mi" }, limits: { memory: "128Mi" } },
  sidecar: { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "256Mi" } },
};
const says = (found: readonly { readonly says: string }[]): string[] => found.map((one) => one.says);
const range = (members: object): object => ({ type: "Container", ...members });

describe("a LimitRange", () => {
  test("with room for both containers refuses nothing", () => {
    expect(refusedByLimitRange(NEED, range({ max: { cpu: "2", memory: "1Gi" }, min: { cpu: "10m" } }))).toEqual([]);
  });

  test("of another type than Container is not ours", () => {
    expect(refusedByLimitRange(NEED, { type: "PersistentVolumeClaim", max: { storage: "1Mi" } })).toEqual([]);
  });

  test.each([
    [{ max: { memory: "200Mi" } }, ["sidegate's limit of 256Mi memory is above its max 200Mi"]],
    [{ min: { memory: "64Mi" } }, ["sidegate-init's request of 48Mi memory is below its min 64Mi"]],
    // A processor limit that it fills in is below what the sidecar asks for.
    [{ default: { cpu: "30m" } }, ["sidegate's request of 50m cpu is above the limit of 30m that it gets there"]],
    [{ maxLimitRequestRatio: { memory: "3" } }, ["sidegate's limit of 256Mi memory is more than 3 times its request"]],
  ])("says what it refuses: %j", (members, expected) => {
    expect(says(refusedByLimitRange(NEED, range(members)))).toEqual(expected);
  });

  test("names the chart's value to change", () => {
    expect(refusedByLimitRange(NEED, range({ max: { memory: "200Mi" } }))[0]?.fix).toMatch(
      /injection\.resources\.sidecar\.limits\.memory/,
    );
  });
});

describe("a ResourceQuota", () => {
  const quota = (hard: object, used: object = {}, more: object = {}): object => ({
    spec: { hard, ...more },
    status: { used },
  });

  test("that demands what a container of ours does not name refuses every pod", () => {
    expect(refusedByQuota(NEED, quota({ "limits.cpu": "4" }), [])).toMatchObject([
      { certain: true, says: "it demands limits.cpu of every container, and sidegate-init and sidegate has none" },
    ]);
  });

  test("is content where a LimitRange fills it in", () => {
    expect(refusedByQuota(NEED, quota({ "limits.cpu": "4" }), [range({ default: { cpu: "200m" } })])).toEqual([]);
  });

  test("that is nearly used has no room for one more gateway", () => {
    expect(
      refusedByQuota(NEED, quota({ "requests.memory": "1Gi" }, { "requests.memory": "1000Mi" }), []),
    ).toMatchObject([{ certain: false, says: "1000Mi of 1Gi requests.memory is used: no room for one more gateway" }]);
    expect(refusedByQuota(NEED, quota({ memory: "1Gi" }, { memory: "100Mi" }), [])).toEqual([]);
  });

  test("counts only what it concerns: objects, and pods without any request, are not ours", () => {
    expect(refusedByQuota(NEED, quota({ "count/secrets": "1", pods: "0" }), [])).toEqual([]);
    expect(refusedByQuota(NEED, quota({ "limits.cpu": "1" }, {}, { scopes: ["BestEffort"] }), [])).toEqual([]);
  });
});
