/** What doctor and status say of a mesh that is chained, and of one that is not. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { injectPod } from "#injection/inject.ts";
import { type InjectionOptions, readOptions } from "#injection/options.ts";
import type { KubeObject } from "#kube/port.ts";
import { checkMesh } from "./check-namespaces.ts";
import type { Facts } from "./facts.ts";
import { meshNotes } from "./status-notes.ts";

const [given, pod] = parseAllDocuments(readFileSync("src/injection/golden/chained-mesh.pod.yaml", "utf8")).map(
  (document): unknown => document.toJS(),
);

function optionsWith(mesh: unknown): InjectionOptions {
  const reading = readOptions({
    image: "registry.example/sidegate-proxy@sha256:aaaa",
    collector: { url: "https://collector.test:8443", ca: "PEM" },
    bundle: { url: "https://controller.test:8443", publicKey: "PEM" },
    mesh,
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}
const CHAIN = optionsWith((given as { mesh: unknown }).mesh);

function facts(options: InjectionOptions | null, labels: Readonly<Record<string, string>>): Facts {
  const namespace = { metadata: { name: "shop", labels: { "sidegate.dev/inject": "all", ...labels } } };
  return {
    optedIn: async () => [namespace],
    injection: async () => ({ options, why: "", data: {} }),
  } as unknown as Facts;
}

describe("doctor", () => {
  const ISTIO = { "istio-injection": "enabled" };
  test.each<readonly [string, InjectionOptions | null, Readonly<Record<string, string>>, string, RegExp]>([
    ["names a chained mesh and its uid", CHAIN, ISTIO, "ok", /Istio is chained: .* uid 1337, un-judged/],
    ["fails where none is chained", optionsWith(null), ISTIO, "fail", /refused by name/],
    ["fails where the options cannot be read", null, ISTIO, "fail", /refused by name/],
    ["fails for another mesh", CHAIN, { "linkerd.io/inject": "enabled" }, "fail", /Linkerd/],
    ["fails for Istio's ambient mode", CHAIN, { "istio.io/dataplane-mode": "ambient" }, "fail", /ambient/],
    ["fails in tier locked", CHAIN, { ...ISTIO, "sidegate.dev/tier": "locked" }, "fail", /refused by name/],
    ["fails where only single pods are ours", CHAIN, { ...ISTIO, "sidegate.dev/inject": "opt-in" }, "fail", /refused/],
  ])("%s", async (_, options, labels, state, says) => {
    expect(await checkMesh(facts(options, labels))).toMatchObject([
      { state, says: expect.stringMatching(says) as unknown },
    ]);
  });
});

test("status names the pods out of which a mesh goes, by namespace", () => {
  const result = injectPod(pod, CHAIN, () => 1_947_264_001);
  const running = (name: string): KubeObject => ({
    ...(result.kind === "injected" ? result.pod : {}),
    metadata: { name, namespace: "shop" },
  });
  const plain = { metadata: { name: "c", namespace: "shop" }, spec: { containers: [{ name: "app" }] } } as KubeObject;
  expect(meshNotes([running("a"), running("b"), plain])).toEqual([
    { of: "shop", says: "2 pods with a chained mesh: behind the gateway its proxy goes out as uid 1337, un-judged" },
  ]);
  expect(meshNotes([plain])).toEqual([]);
});
