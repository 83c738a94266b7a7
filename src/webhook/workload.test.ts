import { applyPatch } from "rfc6902";
import { expect, test } from "vitest";
import type { AdmissionRequest } from "./review.ts";
import { stampWorkload } from "./workload.ts";

const DEPLOYERS = { deployers: ["flux"], optedIn: true };
const deployment = (annotations?: Record<string, string>, image = "a:1") => ({
  metadata: { name: "x", ...(annotations === undefined ? {} : { annotations }) },
  spec: { template: { spec: { containers: [{ name: "app", image }] } } },
});
const asked = (user: string, object: unknown, more: object = {}): AdmissionRequest =>
  ({
    uid: "1",
    resource: { group: "apps", version: "v1", resource: "deployments" },
    operation: "CREATE",
    userInfo: { username: user },
    object,
    ...more,
  }) as never;

function patched(request: AdmissionRequest, options = DEPLOYERS): unknown {
  const { answer } = stampWorkload(request, options);
  const object = structuredClone(request.object) as object;
  applyPatch(object, JSON.parse(Buffer.from(answer.response.patch ?? "W10=", "base64").toString()) as never);
  return (object as ReturnType<typeof deployment>).metadata.annotations;
}

test("a workload is stamped with who makes it, and its author's other annotations stay", () => {
  expect(patched(asked("ada", deployment()))).toEqual({
    "sidegate.dev/creator": "ada",
    "sidegate.dev/template-writer": "ada",
  });
  expect(patched(asked("ada", deployment({ note: "x", "sidegate.dev/creator": "eve" })))).toEqual({
    note: "x",
    "sidegate.dev/creator": "ada",
    "sidegate.dev/template-writer": "ada",
  });
});

test("an owner whom nobody may name is taken out with a warning, also a deployer's where the namespace has not opted in", () => {
  const object = deployment({ "sidegate.dev/owner": "grace" });
  expect(patched(asked("flux", object))).toMatchObject({ "sidegate.dev/owner": "grace" });
  expect(patched(asked("flux", object), { ...DEPLOYERS, optedIn: false })).not.toHaveProperty(["sidegate.dev/owner"]);
  const { answer } = stampWorkload(asked("ada", object), DEPLOYERS);
  expect(answer.response.warnings?.join()).toContain("identity.deployers");
});

test("what is right already is not patched, and an update that takes stamps away gets them back", () => {
  const stamped = deployment({ "sidegate.dev/creator": "ada", "sidegate.dev/template-writer": "ada" });
  const same = asked("eve", stamped, { operation: "UPDATE", oldObject: stamped });
  expect(stampWorkload(same, DEPLOYERS)).toMatchObject({ kind: "allowed" });
  expect(patched(asked("eve", deployment(), { operation: "UPDATE", oldObject: stamped }))).toEqual(
    stamped.metadata.annotations,
  );
});

test.each([
  ["a pod", { resource: { group: "", version: "v1", resource: "pods" } }],
  ["a status", { subResource: "status" }],
  ["a deletion", { operation: "DELETE" }],
  ["no object", { object: null }],
])("%s is none of its affair, and is said to be", (_what, more) => {
  expect(stampWorkload(asked("ada", deployment(), more), DEPLOYERS).kind).toBe("misdirected");
});
