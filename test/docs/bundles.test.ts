/** What is inside the processes' bundles, read from what the bundler says of itself. `make test` builds them before. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface Meta {
  readonly inputs: Readonly<Record<string, unknown>>;
}

function packagesIn(bundle: string): string[] {
  const file = `dist/${bundle}.meta.json`;
  expect(existsSync(file), `${file} is missing: run make build`).toBe(true);
  const { inputs } = JSON.parse(readFileSync(file, "utf8")) as Meta;
  expect(Object.keys(inputs).length).toBeGreaterThan(5);
  const names = Object.keys(inputs).map((input) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

test("the sidecar holds no Kubernetes client, no fastify, no node-forge and no schema library", () => {
  const packages = packagesIn("sidecar");
  for (const heavy of [
    "@kubernetes/client-node",
    "fastify",
    "node-forge",
    "prom-client",
    "pino",
    "commander",
    "typebox",
    "yaml",
  ])
    expect(packages).not.toContain(heavy);
});

test("the sidecar needs no package beyond SASLprep, which only a password outside ASCII loads", () => {
  const saslprep = ["@mongodb-js/saslprep", "memory-pager", "sparse-bitfield"];
  expect(packagesIn("sidecar").filter((name) => !saslprep.includes(name))).toEqual([]);
});

test("init, and the keeper of a run's namespace, need no package at all", () => {
  expect(packagesIn("init")).toEqual([]);
  expect(packagesIn("run-inner")).toEqual([]);
});

test("the collector, which a run on a laptop starts too, holds no Kubernetes client", () => {
  expect(packagesIn("collector")).not.toContain("@kubernetes/client-node");
});
