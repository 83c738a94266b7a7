import { expect, test } from "vitest";
import { POD_CONTROLLERS, workloadOf } from "./owner.ts";

const pod = (...ownerReferences: object[]): object => ({ metadata: { ownerReferences } });
const replicaSet = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "agent-1", controller: true };

test("THREATS P10: an owner counts only from Kubernetes' own controllers", () => {
  for (const creator of POD_CONTROLLERS) expect(workloadOf(pod(replicaSet), creator)).toBe("ReplicaSet/agent-1");
  for (const creator of ["ada", "", "system:serviceaccount:shop:replicaset-controller", "system:masters"])
    expect(workloadOf(pod(replicaSet), creator)).toBe("");
});

test("a pod without a controlling owner, or with two, has none", () => {
  const creator = POD_CONTROLLERS[0];
  for (const other of [{}, undefined, pod(), pod({ ...replicaSet, controller: false }), pod(replicaSet, replicaSet)])
    expect(workloadOf(other, creator)).toBe("");
});
