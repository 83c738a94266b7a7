import { expect, test } from "vitest";
import { injectPod } from "./inject.ts";
import { brokenInvariants } from "./invariants.ts";
import { type InjectionOptions, readOptions } from "./options.ts";
import { namesHost, silencing } from "./telemetry.ts";

function options(environment: Readonly<Record<string, string>>): InjectionOptions {
  const reading = readOptions({
    image: "proxy:1",
    collector: { url: "https://collector.example", ca: "" },
    bundle: { url: "https://bundles.example", publicKey: "PEM" },
    environment,
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}

function envOf(
  env: { name: string; value?: string }[],
  environment = silencing(() => false),
): Map<string, string | undefined> {
  const pod = { spec: { containers: [{ name: "app", image: "a:1", env }] } };
  const injection = injectPod(pod, options(environment), () => 1_912_345_678);
  if (injection.kind === "denied") throw new Error(JSON.stringify(injection.violations));
  expect(brokenInvariants(injection.pod, options({}))).toEqual([]);
  return new Map(injection.pod.spec.containers[0]?.env?.map(({ name, value }) => [name, value]));
}

test("a framework whose host no target names is told to be quiet; what the author set stays", () => {
  const env = envOf([{ name: "CREWAI_DISABLE_TELEMETRY", value: "false" }]);
  expect(env.get("CREWAI_DISABLE_TELEMETRY")).toBe("false");
  expect([env.get("OTEL_SDK_DISABLED"), env.get("DO_NOT_TRACK"), env.get("ANONYMIZED_TELEMETRY")]).toEqual([
    "true",
    "1",
    "False",
  ]);
});

test("an author who exports traces keeps the SDK", () => {
  expect(
    envOf([{ name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: "http://traces" }]).get("OTEL_SDK_DISABLED"),
  ).toBeUndefined();
});

test("where a target names the host, its framework reports as ever, and the general switch stays off", () => {
  const quiet = silencing((host) => namesHost(["*.crewai.com", "api.example"], host));
  expect(quiet["CREWAI_DISABLE_TELEMETRY"]).toBeUndefined();
  expect(quiet["DO_NOT_TRACK"]).toBeUndefined();
  expect(quiet["HF_HUB_DISABLE_TELEMETRY"]).toBe("1");
});
