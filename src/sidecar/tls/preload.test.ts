import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writePreload } from "./preload.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "preload-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("agents get the library, and what it sets is what injection sets", async () => {
  const built = path.join(folder, "built.so");
  await writeFile(built, "code");
  expect(await writePreload(folder, "/trust", built)).toBe(true);
  expect(await readFile(path.join(folder, "ld.so.preload"), "utf8")).toBe("/trust/preload.so\n");
  expect(await readFile(path.join(folder, "preload.so"), "utf8")).toBe("code");
  const lines = (await readFile(path.join(folder, "environment"), "utf8")).split("\n");
  expect(lines).toContain("SSL_CERT_FILE=/trust/ca-bundle.pem");
  expect(lines).toContain("NODE_EXTRA_CA_CERTS=/trust/sidegate-ca.pem");
  expect(lines.some((line) => line.startsWith("JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore="))).toBe(true);
});

test("without the library the list is there and empty, so that its mount is a file", async () => {
  expect(await writePreload(folder, "/trust", path.join(folder, "none.so"))).toBe(false);
  expect(await readFile(path.join(folder, "ld.so.preload"), "utf8")).toBe("");
});
