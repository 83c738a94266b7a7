import { expect, test } from "vitest";
import { differences } from "./compare.ts";

const WEBHOOK = {
  name: "a",
  rules: [{ resources: ["pods"], operations: ["CREATE"] }],
  clientConfig: { service: { name: "s", path: "/mutate" } },
};

test("what the API server fills in is no difference", () => {
  const stored = {
    ...WEBHOOK,
    rules: [{ ...WEBHOOK.rules[0], scope: "*" }],
    matchPolicy: "Equivalent",
    objectSelector: {},
    timeoutSeconds: 10,
    clientConfig: { service: { ...WEBHOOK.clientConfig.service, port: 443 }, caBundle: "eA==" },
  };
  expect(differences(WEBHOOK, stored)).toEqual([]);
});

test.each([
  ["a selector that narrows it", { ...WEBHOOK, objectSelector: { matchLabels: { a: "b" } } }, [".objectSelector"]],
  ["a condition that was added", { ...WEBHOOK, matchConditions: [{ name: "never" }] }, [".matchConditions"]],
  ["a rule less", { ...WEBHOOK, rules: [] }, [".rules"]],
  ["an operation less", { ...WEBHOOK, rules: [{ resources: ["pods"], operations: [] }] }, [".rules[0].operations"]],
  ["another time limit", { ...WEBHOOK, timeoutSeconds: 1 }, [".timeoutSeconds"]],
  [
    "another server",
    { ...WEBHOOK, clientConfig: { url: "https://evil.example" } },
    [".clientConfig.service", ".clientConfig.url"],
  ],
])("%s is one, told by its path", (_what, stored, paths) => {
  expect(differences(WEBHOOK, stored)).toEqual(paths);
});

test("says no more than a few of many", () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`m${index}`, index]));
  expect(differences(many, {})).toHaveLength(5);
});
