import { describe, expect, test } from "vitest";
import { optionsFor } from "#injection/complete-options.ts";
import { injectPod } from "#injection/inject.ts";
import { readOptions } from "#injection/options.ts";
import type { KubeObject } from "#kube/port.ts";
import { optedInAt, type Standing, standingOf } from "./standing.ts";

const reading = readOptions({
  image: "proxy:2",
  collector: { url: "https://collector.example", ca: "" },
  bundle: { url: "https://bundles.example", publicKey: "" },
});
if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
const { options } = reading;
const OPTED_IN = Date.parse("2026-02-01T00:00:00Z");
const NOW = Date.parse("2026-03-01T12:00:00Z");
const namespace = (inject: string): KubeObject => ({
  metadata: { name: "shop", labels: { "sidegate.dev/inject": inject } },
});

interface PodWish {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly created?: string;
  readonly spec?: object;
}
const pod = ({ spec = {}, created = "2026-01-01T00:00:00Z", ...metadata }: PodWish = {}): KubeObject =>
  ({
    metadata: { namespace: "shop", name: "agent", creationTimestamp: created, ...metadata },
    spec: { containers: [{ name: "app", image: "app:1" }], ...spec },
  }) as KubeObject;
const stand = (one: KubeObject, inject = "all", until = "2026-03-01"): Standing =>
  standingOf(one, {
    namespace: namespace(inject),
    optedInMs: OPTED_IN,
    options,
    exemptions: [{ namespace: "shop", serviceAccount: "free", until, reason: "legacy" }],
    nowMs: NOW,
  });

describe("a pod without a gateway", () => {
  test.each<readonly [string, PodWish, RegExp, boolean]>([
    ["made before the label", {}, /^made before the namespace's label$/, true],
    ["made after it", { created: "2026-02-02T00:00:00Z" }, /nothing asked the webhook/, true],
    [
      "that asked by itself and was missed",
      { labels: { "sidegate.dev/inject": "true" } },
      /nothing asked the webhook/,
      true,
    ],
    ["of the host's network", { spec: { hostNetwork: true } }, /^hostNetwork/, false],
    ["with the label false", { labels: { "sidegate.dev/inject": "false" } }, /inject=false/, false],
    ["of the kubelet", { annotations: { "kubernetes.io/config.mirror": "x" } }, /^a static pod/, false],
  ])("%s is outside, and says why", (_what, wish, why, restart) => {
    expect(stand(pod(wish))).toEqual({ kind: "outside", why: expect.stringMatching(why) as string, restart });
  });

  test("is nobody's affair where the namespace leaves it to the pods", () => {
    expect(stand(pod(), "opt-in")).toEqual({ kind: "unasked" });
    expect(stand(pod({ labels: { "sidegate.dev/inject": "true" } }), "opt-in").kind).toBe("outside");
  });

  test("is exempt to the end of the day that is named, and outside from then on", () => {
    const free = pod({ spec: { serviceAccountName: "free" } });
    expect(stand(free)).toEqual({ kind: "exempt", why: "service account free is exempt (until 2026-03-01: legacy)" });
    expect(stand(free, "all", "2026-02-28")).toMatchObject({
      kind: "outside",
      why: "its exemption ended with 2026-02-28",
    });
  });
});

describe("a pod with a gateway", () => {
  const injected = (image: string): KubeObject => {
    const made = injectPod(pod(), optionsFor({ ...options, image }, "shop", {}), () => 1_900_000_001);
    if (made.kind === "denied") throw new Error(JSON.stringify(made.violations));
    return made.pod as unknown as KubeObject;
  };

  test("as it is injected now is inside", () => {
    expect(stand(injected("proxy:2"))).toEqual({ kind: "inside" });
  });

  test("of another image is of an older release, not outside", () => {
    expect(stand(injected("proxy:1"))).toEqual({ kind: "stale", why: "runs proxy:1, new pods proxy:2" });
  });

  test("that was changed is outside, with the field", () => {
    const changed = structuredClone(injected("proxy:2")) as KubeObject & {
      spec: { initContainers: { args?: string[] }[] };
    };
    const [, sidecar] = changed.spec.initContainers;
    if (sidecar !== undefined) sidecar.args = ["--other"];
    expect(stand(changed)).toEqual({
      kind: "outside",
      why: "differs from what is injected: spec.initContainers[1].args",
      restart: true,
    });
  });

  test("that only claims to have one is outside", () => {
    expect(stand(pod({ annotations: { "sidegate.dev/injected": "1" } })).kind).toBe("outside");
  });
});

test("when a namespace opted in, the API server knows", () => {
  const fieldsV1 = { "f:metadata": { "f:labels": { "f:sidegate.dev/inject": {} } } };
  const managedFields = [
    { manager: "kubectl-create", time: "2026-01-01T00:00:00Z", fieldsV1: { "f:metadata": {} } },
    { manager: "kubectl-label", time: "2026-02-01T00:00:00Z", fieldsV1 },
  ];
  expect(optedInAt({ metadata: { name: "shop", managedFields } })).toBe(OPTED_IN);
  expect(optedInAt({ metadata: { name: "shop" } })).toBeNaN();
});
