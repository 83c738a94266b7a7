import { expect, test } from "vitest";
import { POD_CONTROLLERS } from "#injection/owner.ts";
import type { Outcome } from "./outcome.ts";
import { createOwnerEvents } from "./owner-events.ts";
import type { AdmissionRequest } from "./review.ts";

const request = (more: object = {}, uid = "u1"): AdmissionRequest =>
  ({
    namespace: "team",
    userInfo: { username: POD_CONTROLLERS[0] },
    object: {
      metadata: { ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "r", uid, controller: true }] },
    },
    ...more,
  }) as never;
const outcome = (kind: Outcome["kind"], message = ""): Outcome =>
  ({ kind, reason: "", answer: { response: { status: { message } } } }) as never;

function events() {
  const said: string[] = [];
  let nowMs = 0;
  const clock = { wallMs: () => 0, elapsedMs: () => nowMs };
  const tell = createOwnerEvents({
    clock,
    tell: ({ about, reason, message }) => void said.push(`${about.metadata.name} ${reason} ${message}`),
  });
  return { tell, said, pass: (ms: number) => void (nowMs += ms) };
}

test("the same refusal of a workload's pods is told once an hour, another one at once", () => {
  const { tell, said, pass } = events();
  for (let n = 0; n < 50; n++) tell(request(), outcome("denied", "spec.hostNetwork: no"));
  tell(request(), outcome("denied", "spec.hostPID: no"));
  tell(request({}, "u2"), outcome("denied", "spec.hostPID: no"));
  expect(said).toHaveLength(3);
  pass(3_600_000);
  tell(request(), outcome("denied", "spec.hostNetwork: no"));
  expect(said).toHaveLength(4);
});

test("whoever poses as the API server and invents owners writes few Events, and keeps no other namespace's from being written", () => {
  const { tell, said, pass } = events();
  for (let n = 0; n < 200; n++) tell(request({}, `invented-${n}`), outcome("denied", "no"));
  expect(said).toHaveLength(30);
  tell(request({ namespace: "bank" }, "u1"), outcome("denied", "no"));
  expect(said).toHaveLength(31);
  pass(10_000);
  for (let n = 200; n < 210; n++) tell(request({}, `invented-${n}`), outcome("denied", "no"));
  expect(said).toHaveLength(32);
  for (let n = 0; n < 1_000; n++) tell(request({ namespace: `n${n}` }, `more-${n}`), outcome("denied", "no"));
  expect(said.length).toBeLessThanOrEqual(332);
});

test.each([
  ["a dry run", request({ dryRun: true }), outcome("denied", "no")],
  ["a pod that nobody owns", request({ object: { metadata: {} } }), outcome("denied", "no")],
  ["an owner whom a pod's author invented", request({ userInfo: { username: "eve" } }), outcome("denied", "no")],
  ["what is none of ours", request(), outcome("misdirected")],
])("%s leaves no Event", (_what, asked, came) => {
  const { tell, said } = events();
  tell(asked, came);
  expect(said).toEqual([]);
});
