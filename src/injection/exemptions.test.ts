import { expect, test } from "vitest";
import { exemptionEndMs, exemptionFor } from "./exemptions.ts";

const exemptions = [{ namespace: "team", serviceAccount: "legacy", reason: "moves in March", until: "2026-03-31" }];
const pod = (serviceAccountName?: string) => ({ spec: { serviceAccountName } });
const LAST_MS = Date.parse("2026-03-31T23:59:59.999Z");

test("an exemption holds through its last day, and not a moment longer", () => {
  expect(exemptionFor({ exemptions }, "team", pod("legacy"), LAST_MS)?.reason).toBe("moves in March");
  expect(exemptionFor({ exemptions }, "team", pod("legacy"), LAST_MS + 1)).toBeNull();
});

test.each([
  ["another account", "team", pod("agent")],
  ["no account", "team", pod()],
  ["another namespace", "other", pod("legacy")],
  ["no pod", "team", undefined],
  ["an account that is no text", "team", { spec: { serviceAccountName: ["legacy"] } }],
])("%s is not exempt", (_what, namespace, asked) => {
  expect(exemptionFor({ exemptions }, namespace, asked, 0)).toBeNull();
});

test("who names no account has the default one", () => {
  const ofDefault = [{ namespace: "team", serviceAccount: "default", reason: "a test", until: "2026-03-31" }];
  expect(exemptionFor({ exemptions: ofDefault }, "team", pod(), 0)).not.toBeNull();
});

test("a day that does not exist is long ago", () => {
  expect(exemptionEndMs({ until: "2026-13-40" })).toBe(0);
});
