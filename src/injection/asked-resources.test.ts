import { expect, test } from "vitest";
import { askedResources } from "./asked-resources.ts";
import { injectPod } from "./inject.ts";
import { type InjectionOptions, readOptions } from "./options.ts";
import { SAFE_TO_EVICT, safeToEvict } from "./safe-to-evict.ts";

function options(): InjectionOptions {
  const reading = readOptions({
    image: "proxy:1",
    collector: { url: "https://collector.example", ca: "" },
    bundle: { url: "https://bundles.example", publicKey: "PEM" },
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}
const OPTIONS = options();
const pod = (resources: string, more: Record<string, string> = {}) => ({
  metadata: { annotations: { "sidegate.dev/resources": resources, ...more } },
  spec: { containers: [{ name: "app", image: "a:1" }] },
});
const asked = (text: string) => askedResources(pod(text), OPTIONS);

test("an author asks for more within the bounds, and a limit that the values lack is given to init too", () => {
  const { resources, violations } = asked("requests.memory=128Mi, limits.memory=512Mi,limits.cpu=1");
  expect(violations).toEqual([]);
  expect(resources.sidecar).toEqual({
    requests: { cpu: "50m", memory: "128Mi" },
    limits: { memory: "512Mi", cpu: "1" },
  });
  expect(resources.init.limits).toEqual({ memory: "128Mi", cpu: "1" });
});

test("a request above the values' limit raises it; a limit below the values' request lowers that", () => {
  expect(asked("requests.memory=300Mi").resources.sidecar.limits).toEqual({ memory: "300Mi" });
  expect(asked("limits.cpu=20m").resources.sidecar.requests).toMatchObject({ cpu: "20m" });
});

test.each([
  ["limits.memory=32Mi", /outside of 64Mi to 1Gi/],
  ["limits.memory=2Gi", /outside/],
  ["limits.cpu=64", /outside/],
  ["requests.cpu=1m", /outside/],
  ["limits.memory=lots", /is not like/],
  ["limits.memory=-1", /is not like/],
  ["limits.nvidia.com/gpu=1", /is not like/],
  ["requests.memory=512Mi,limits.memory=256Mi", /more than/],
  [`limits.cpu=1,${" ".repeat(300)}`, /longer/],
])("%s is refused with the bounds", (text, why) => {
  const injection = injectPod(pod(text), OPTIONS, () => 1_912_345_678);
  const said =
    injection.kind === "denied" ? injection.violations.map(({ field, message }) => `${field}: ${message}`) : [];
  expect(said.join("\n")).toMatch(why);
  expect(said.join("\n")).toContain("metadata.annotations[sidegate.dev/resources]");
});

test("the autoscaler may empty a node of our volumes; the author's list stays", () => {
  const injection = injectPod(pod("", { [SAFE_TO_EVICT]: "cache, scratch" }), OPTIONS, () => 1_912_345_678);
  if (injection.kind === "denied") throw new Error("denied");
  const text = injection.pod.metadata?.annotations?.[SAFE_TO_EVICT] ?? "";
  expect(text).toBe("cache,scratch,sidegate-trust,sidegate-state");
  expect(safeToEvict(text, [{ name: "sidegate-trust", emptyDir: {} } as never])).toBe(text);
});
