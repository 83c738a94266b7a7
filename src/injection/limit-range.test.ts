import { expect, test } from "vitest";
import { containerRange, mergeRanges } from "./limit-range.ts";

test("of a namespace's LimitRanges the narrower bound counts, and only what is said of containers", () => {
  const one = containerRange({
    spec: {
      limits: [
        { type: "Container", max: { memory: "1Gi", cpu: "2" }, min: { memory: "32Mi" } },
        { type: "Pod", max: { memory: "1Mi" } },
      ],
    },
  });
  const other = containerRange({
    spec: { limits: [{ type: "Container", max: { memory: "512Mi" }, min: { memory: "64Mi" } }] },
  });
  if (one === null || other === null) throw new Error("no range");
  expect(mergeRanges([one, other])).toEqual({ max: { memory: "512Mi", cpu: "2" }, min: { memory: "64Mi" } });
});

test.each([
  [undefined],
  [{}],
  [{ spec: { limits: "x" } }],
  [{ spec: { limits: [null, { type: "Container", max: 1 }] } }],
])("%# says nothing of containers", (object) => {
  expect(containerRange(object)).toBeNull();
});
