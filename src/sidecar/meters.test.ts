import { expect, test } from "vitest";
import type { Decision } from "#contract/decision.ts";
import { createRegistry } from "#process/metrics.ts";
import { register } from "#process/register-metrics.ts";
import { SIDECAR_METRICS } from "#process/sidecar-metrics.ts";
import { countVerdicts } from "./meters.ts";

const ALLOW: Decision = {
  effect: "allow",
  code: "",
  message: "",
  advice: "",
  policies: [],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: "",
};

test("each verdict is counted by protocol, verdict and code, also where the same decision comes again and again", () => {
  const registry = createRegistry();
  const counted = countVerdicts(register(registry, SIDECAR_METRICS));
  const denied: Decision = { ...ALLOW, effect: "deny", code: "not_allowed" };
  const own: Decision = { ...ALLOW, effect: "deny", code: "a_code_of_the_policy" };
  const would: Decision = { ...ALLOW, would: { effect: "deny", reasons: [] } };
  for (let n = 0; n < 3; n++) counted("http", "allow", ALLOW, false, 0.02);
  counted("tcp", "allow", ALLOW, false, 0.02);
  counted("http", "deny", denied, false, 0.02);
  counted("http", "deny", denied, true, 0.02);
  counted("http", "deny", own, false, 0.02);
  counted("http", "allow", would, false, 0.02);
  counted("http", "allow", ALLOW, false, 0.02);
  const lines = registry.text().split("\n");
  const value = (series: string): string | undefined => lines.find((line) => line.includes(series))?.split(" ")[1];
  const operations = (protocol: string, verdict: string, code: string): string | undefined =>
    value(`sidegate_operations_total{protocol="${protocol}",verdict="${verdict}",code="${code}"}`);
  expect(operations("http", "allow", "")).toBe("4");
  expect(operations("tcp", "allow", "")).toBe("1");
  expect(operations("http", "deny", "not_allowed")).toBe("2");
  expect(operations("http", "deny", "policy")).toBe("1");
  expect(operations("http", "allow", "would")).toBe("1");
  expect(value("sidegate_audit_folded_records_total")).toBe("1");
  expect(value("sidegate_decision_duration_seconds_count")).toBe("9");
});
