import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { fakeKube } from "../../test/support/kube.ts";
import { podAccess } from "./access.ts";
import { mayAccess } from "./access-review.ts";

const folder = mkdtempSync(path.join(tmpdir(), "sidegate-account-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a pod reaches the API server with its account's token and authority, over IPv6 as well", async () => {
  writeFileSync(path.join(folder, "token"), "a.b.c\n");
  writeFileSync(path.join(folder, "ca.crt"), "PEM");
  const access = await podAccess("fd00::1", "443", folder);
  expect(access.server.href).toBe("https://[fd00::1]/");
  expect(await access.options()).toEqual({ ca: "PEM", headers: { authorization: "Bearer a.b.c" } });
});

test.each([
  ["allowed", { allowed: true }, true],
  ["not allowed", { allowed: false }, false],
  ["allowed and denied", { allowed: true, denied: true }, false],
  ["not answered", undefined, false],
])("a user who is %s", async (_what, status, expected) => {
  const kube = {
    ...fakeKube(),
    create: (_resource: unknown, object: object) => Promise.resolve({ ...object, status }),
  };
  const question = {
    user: "alice",
    groups: [],
    verb: "get",
    group: "sidegate.dev",
    resource: "records",
    namespace: "team",
  };
  expect(await mayAccess(kube as unknown as Parameters<typeof mayAccess>[0], question)).toBe(expected);
});
