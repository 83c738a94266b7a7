import { expect, test } from "vitest";
import { readOptions } from "./options.ts";

const NEEDED = {
  image: "proxy:1",
  collector: { url: "https://collector.example", ca: "" },
  bundle: { url: "https://bundles.example", configMap: "", publicKey: "PEM" },
};

function faults(value: unknown): readonly string[] {
  const reading = readOptions(value);
  return reading.kind === "malformed" ? reading.violations.map(({ field }) => field) : [];
}

test("what nobody says comes from the defaults, and the whole is frozen", () => {
  const reading = readOptions(NEEDED);
  expect(reading).toMatchObject({ kind: "options", options: { dataplane: "auto", tier: "enforced" } });
  expect(reading.kind === "options" && Object.isFrozen(reading.options.resources.sidecar.requests)).toBe(true);
});

test("everything wrong is reported together", () => {
  expect(faults({ ...NEEDED, dataplane: "ebpf", tier: "loose", devices: "all" })).toEqual(
    expect.arrayContaining(["dataplane", "tier", "devices"]),
  );
});

test.each([[null], [[]], ["x"], [{}], [{ image: "proxy:1" }]])("%j is refused", (value) => {
  expect(faults(value).length).toBeGreaterThan(0);
});

test.each([
  "",
  "/etc/agent.json",
  "../agent.json",
  "sidegate/../../agent.json",
  "sidegate//agent.json",
  ".hidden",
  "a b",
])("a profile's file %j is none below the kubelet's folder", (localhostProfile) => {
  expect(faults({ ...NEEDED, seccomp: { type: "Localhost", localhostProfile } })).toEqual(["seccomp.localhostProfile"]);
});

test("agents never run without a profile, and a profile of ours has a file's name where nobody says one", () => {
  for (const type of ["Unconfined", "", "localhost"])
    expect(faults({ ...NEEDED, seccomp: { type } })).toEqual(["seccomp.type"]);
  expect(readOptions({ ...NEEDED, seccomp: { type: "Localhost" } })).toMatchObject({
    options: { seccomp: { type: "Localhost", localhostProfile: "sidegate/agent.json" } },
  });
  expect(readOptions(NEEDED)).toMatchObject({ options: { seccomp: { type: "RuntimeDefault" } } });
});

test("a misspelt member is refused, never ignored", () => {
  expect(faults({ ...NEEDED, runtimeClases: ["gvisor"] })).toHaveLength(1);
});

test("quantities have to be positive", () => {
  const resources = { init: {}, sidecar: { requests: { memory: "-1" } } };
  expect(faults({ ...NEEDED, resources, stateSize: "much" })).toEqual([
    "resources.sidecar.requests.memory",
    "stateSize",
  ]);
});

test("a bundle comes from one place", () => {
  expect(faults({ ...NEEDED, bundle: { ...NEEDED.bundle, configMap: "policy" } })).toEqual(["bundle"]);
});
