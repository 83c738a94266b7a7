import { expect, test } from "vitest";
import { podSecurityViolation, refusingLevel } from "./pod-security.ts";

const LABEL = "pod-security.kubernetes.io/enforce";

test.each([
  [{}, ""],
  [{ [LABEL]: "privileged" }, ""],
  [{ [LABEL]: "baseline" }, "baseline"],
  [{ [LABEL]: "restricted" }, "restricted"],
  [{ [LABEL]: "restricted", "sidegate.dev/pod-security": "exempt" }, ""],
  [{ "pod-security.kubernetes.io/warn": "restricted" }, ""],
])("a namespace labelled %j is refused by %j", (labels, level) => {
  expect(refusingLevel(labels as Record<string, string>)).toBe(level);
});

test("the refusal names the label, the container and both ways out", () => {
  const { field, message } = podSecurityViolation("restricted");
  expect(field).toContain(LABEL);
  for (const word of [
    "restricted",
    "sidegate-init",
    "NET_ADMIN",
    `${LABEL}=privileged`,
    "sidegate.dev/pod-security=exempt",
  ])
    expect(message).toContain(word);
});
