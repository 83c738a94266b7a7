import { expect, test } from "vitest";
import type { Act } from "#audit/acts.ts";
import { recordExemptions } from "./exempt.ts";

const one = { namespace: "team", serviceAccount: "legacy", reason: "moves in March", until: "2026-03-31" };
const END = Date.parse("2026-04-01T00:00:00Z");

test("an exemption is on record once when it begins to hold and once when it has ended; a changed one is another", async () => {
  const told: Act[] = [];
  const recorded = new Set<string>();
  const acts = { record: (act: Act) => Promise.resolve(void told.push(act)) };
  for (const now of [END - 2, END - 1, END, END + 1]) await recordExemptions([one], acts, recorded, now);
  expect(told.map(({ act }) => act)).toEqual(["exemption", "exemption-ended"]);
  expect(told[0]?.members).toEqual(one);
  await recordExemptions([{ ...one, until: "2026-05-31" }], acts, recorded, END + 1);
  expect(told.map(({ act }) => act)).toEqual(["exemption", "exemption-ended", "exemption"]);
  // The next leader says the same, under the same keys.
  await recordExemptions([one], acts, new Set(), END);
  expect(told[3]?.key).toBe(told[1]?.key);
});

test("what the collector did not take is told again", async () => {
  const recorded = new Set<string>();
  await expect(
    recordExemptions([one], { record: () => Promise.reject(new Error("away")) }, recorded, 0),
  ).rejects.toThrow("away");
  expect(recorded.size).toBe(0);
});
