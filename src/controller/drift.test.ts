import { expect, test } from "vitest";
import { applyJson } from "#core/json-apply.ts";
import { optionsFor } from "#injection/complete-options.ts";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import type { KubeObject } from "#kube/port.ts";
import { createDrift } from "./drift.ts";
import { createKnown } from "./fleet.ts";

function optionsOf(): InjectionOptions {
  const reading = readOptions({
    image: "proxy:1",
    cluster: "c",
    collector: { url: "https://collector.example", ca: "PEM" },
    bundle: { url: "https://bundles.example", publicKey: "PEM" },
  });
  if (reading.kind !== "options") throw new Error("options");
  return reading.options;
}
const OPTIONS = optionsOf();

function setUp(inject: string, options = OPTIONS, nowMs = 0) {
  const known = createKnown();
  known.namespaces.set("team", {
    labels: { "sidegate.dev/inject": inject },
    uid: "",
    observeUntilMs: 0,
    observeFault: "",
  });
  const told: string[] = [];
  const drift = createDrift({
    known,
    injection: () => options,
    clock: { wallMs: () => nowMs, elapsedMs: () => 0 },
    own: "sidegate",
    tell: ({ reason, message }) => void told.push(`${reason}: ${message}`),
  });
  return { drift, told };
}

const plain = (labels: Record<string, string> = {}): KubeObject =>
  ({
    metadata: { namespace: "team", name: "agent", labels },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  }) as KubeObject;

function injected(): KubeObject {
  const pod = plain();
  const result = injectPod(pod, optionsFor(OPTIONS, "team", {}), () => 1_900_000_007);
  if (result.kind === "denied") throw new Error("denied");
  return applyJson(pod, result.patch) as KubeObject;
}

test("a pod as it was injected is whole; one that runs without a gateway is outside, and said to be once", () => {
  const { drift, told } = setUp("all");
  expect(drift.look(injected())).toBeNull();
  expect(drift.look(plain())).toBe("outside");
  drift.look(plain());
  expect(told).toHaveLength(1);
  expect(told[0]).toContain("OutsideTheGateway");
  expect(drift.count("outside")).toBe(1);
  drift.gone("team/agent");
  expect(drift.count("outside")).toBe(0);
});

test("a pod whose gateway was changed differs, and the field is named", () => {
  const { drift, told } = setUp("all");
  const pod = structuredClone(injected()) as KubeObject & { spec: { initContainers: { image: string }[] } };
  const [, sidecar] = pod.spec.initContainers;
  if (sidecar !== undefined) sidecar.image = "other:1";
  expect(drift.look(pod)).toBe("differs");
  expect(told[0]).toMatch(/GatewayDiffers: spec\.initContainers/);
});

test.each([
  ["in a namespace that has not opted in", "opt-in", {}, null],
  ["in such a namespace, but opted in itself", "opt-in", { "sidegate.dev/inject": "true" }, "outside"],
  ["that would like to take itself out", "all", { "sidegate.dev/inject": "false" }, "outside"],
])("a pod without a gateway %s", (_what, namespace, labels, expected) => {
  expect(setUp(namespace).drift.look(plain(labels as Record<string, string>))).toBe(expected);
});

test("a running pod that is exempt is neither outside nor forgotten, and outside when the exemption has ended", () => {
  const exemptions = [{ namespace: "team", serviceAccount: "default", reason: "moves", until: "2026-03-31" }];
  const end = Date.parse("2026-04-01T00:00:00Z");
  const during = setUp("all", { ...OPTIONS, exemptions }, end - 1);
  expect(during.drift.look(plain())).toBe("exempt");
  expect([during.drift.count("exempt"), during.drift.count("outside"), during.told.length]).toEqual([1, 0, 0]);
  expect(setUp("all", { ...OPTIONS, exemptions }, end).drift.look(plain())).toBe("outside");
});
