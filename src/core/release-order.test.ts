import { expect, test } from "vitest";
import { compareReleases } from "./release-order.ts";

test("releases are in the order of Semantic Versioning, section 11, whichever is asked about first", () => {
  const order = [
    "0.1.0-alpha",
    "0.1.0-alpha.1",
    "0.1.0-alpha.beta",
    "0.1.0-beta",
    "0.1.0-beta.2",
    "0.1.0-beta.11",
    "0.1.0-rc.1",
    "0.1.0",
    "0.1.9",
    "0.1.10",
    "0.2.0",
    "1.0.0",
    "10.0.0",
  ];
  for (const [i, a] of order.entries())
    for (const [j, b] of order.entries()) expect(Math.sign(compareReleases(a, b) ?? Number.NaN)).toBe(Math.sign(i - j));
});

test("what a build adds says nothing of the order, nor does a leading v", () => {
  expect(compareReleases("0.1.0+one", "0.1.0+two")).toBe(0);
  expect(compareReleases("v0.1.0", "0.1.0")).toBe(0);
});

test.each(["", "1", "1.2", "latest", "01.2.3", "1.2.3 ", "1.2.3-", "1.2.3\n", `1.2.${"9".repeat(20)}`])(
  "%j is no release, so nothing is known of its order",
  (text) => {
    expect(compareReleases(text, "0.1.0")).toBeNull();
    expect(compareReleases("0.1.0", text)).toBeNull();
  },
);
