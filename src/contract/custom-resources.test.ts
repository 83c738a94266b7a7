import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { crdFiles } from "../../tools/crds.ts";
import { structural } from "./structural-schema.ts";

const FOLDER = path.join(import.meta.dirname, "../../charts/gateway/crds");

test("the committed custom resource definitions are those of the contract (npm exec node tools/crds.ts)", () => {
  const committed = globSync("*.yaml", { cwd: FOLDER }).map((name) => [
    name,
    readFileSync(path.join(FOLDER, name), "utf8"),
  ]);
  expect(new Map(committed as [string, string][])).toEqual(crdFiles());
});

test.each([
  ["a union", { anyOf: [{ type: "string" }, { type: "number" }] }],
  ["a place without a type", { description: "anything" }],
  ["a constant", { const: 1, type: "number" }],
])("%s is no structural schema", (_what, schema) => {
  expect(() => structural(schema)).toThrow(/structural schema/);
});
