import { expect, test } from "vitest";
import { fitResources } from "./resources.ts";

const WANTED = { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "256Mi" } };

test("without a LimitRange the administrator's figures stand", () => {
  expect(fitResources("sidegate", WANTED, null)).toEqual({ kind: "fits", resources: WANTED });
});

test("a maximum lowers the limit, and puts one where there was none", () => {
  expect(fitResources("sidegate", WANTED, { max: { memory: "128Mi", cpu: "1" } })).toEqual({
    kind: "fits",
    resources: { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "128Mi", cpu: "1" } },
  });
});

test("a minimum raises request and limit", () => {
  expect(fitResources("sidegate", WANTED, { min: { memory: "300Mi", cpu: "100m" } })).toEqual({
    kind: "fits",
    resources: { requests: { cpu: "100m", memory: "300Mi" }, limits: { memory: "300Mi" } },
  });
});

test("a ratio raises the request, because a lower limit could kill the container", () => {
  expect(fitResources("sidegate", WANTED, { maxLimitRequestRatio: { memory: "2" } })).toEqual({
    kind: "fits",
    resources: { requests: { cpu: "50m", memory: String(128 * 2 ** 20) }, limits: { memory: "256Mi" } },
  });
});

test("a maximum below what the container needs is a violation that names it", () => {
  expect(fitResources("sidegate", WANTED, { max: { memory: "32Mi" } })).toMatchObject({
    kind: "impossible",
    violation: { field: "LimitRange.max.memory" },
  });
});
