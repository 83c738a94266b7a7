import { expect, test } from "vitest";
import { POD_CONTROLLERS } from "#injection/owner.ts";
import type { Kube, KubeObject } from "#kube/port.ts";
import { createBehind } from "./behind.ts";
import type { AdmissionRequest } from "./review.ts";

const reference = (kind: string, uid = "u1", apiVersion = kind.endsWith("Job") ? "batch/v1" : "apps/v1") => ({
  apiVersion,
  kind,
  name: "agent",
  uid,
  controller: true,
});
const object = (uid: string, creator: string, owner?: object): KubeObject =>
  ({
    metadata: {
      name: "agent",
      uid,
      annotations: creator === "" ? {} : { "sidegate.dev/creator": creator },
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
  }) as KubeObject;
const podBy = (username: string, ...ownerReferences: object[]): AdmissionRequest =>
  ({ userInfo: { username }, namespace: "team", object: { metadata: { ownerReferences } } }) as never;
const BY = POD_CONTROLLERS[0];

function finder(objects: Readonly<Record<string, KubeObject | Error>>) {
  const asked: string[] = [];
  const faults: unknown[] = [];
  let nowMs = 0;
  const kube = {
    get(resource: { readonly kind: string }) {
      asked.push(resource.kind);
      const found = objects[resource.kind];
      return found instanceof Error ? Promise.reject(found) : Promise.resolve(found ?? null);
    },
  } as unknown as Kube;
  const clock = { wallMs: () => 0, elapsedMs: () => nowMs };
  const behind = createBehind({ kube, clock, onFault: (fault) => faults.push(fault) });
  return { behind, asked, faults, pass: (ms: number) => void (nowMs += ms) };
}

test("a controller's pod has the people of its workload, asked for once for many pods, and again after a while", async () => {
  const f = finder({ ReplicaSet: object("u1", "alice") });
  const pod = podBy(BY, reference("ReplicaSet"));
  for (let n = 0; n < 3; n++) expect((await f.behind(pod)).creator).toBe("alice");
  expect(f.asked).toEqual(["ReplicaSet"]);
  f.pass(5_000);
  await f.behind(pod);
  expect(f.asked).toHaveLength(2);
});

test("a CronJob's Job has its CronJob's people; a Job that somebody made, his own", async () => {
  const above = reference("CronJob", "u2");
  const cron = finder({ Job: object("u1", "", above), CronJob: object("u2", "alice") });
  expect((await cron.behind(podBy(BY, reference("Job")))).creator).toBe("alice");
  const forged = finder({ Job: object("u1", "eve", above), CronJob: object("u2", "alice") });
  expect((await forged.behind(podBy(BY, reference("Job")))).creator).toBe("eve");
});

test("THREATS P10: a Job from before anybody looked does not get a CronJob's people by referring to it; one that was made of it does", async () => {
  const above = reference("CronJob", "u2");
  const template = (image: string, labels: object = {}) => ({
    metadata: { labels },
    spec: { containers: [{ image }] },
  });
  const cronJob = { ...object("u2", "alice"), spec: { jobTemplate: { spec: { template: template("a:1") } } } };
  const job = (image: string): KubeObject => {
    const labels = { "batch.kubernetes.io/job-name": "agent", "job-name": "agent", "controller-uid": "u1" };
    return { ...object("u1", "", above), spec: { template: template(image, labels) } } as KubeObject;
  };
  const forged = finder({ Job: job("evil:1"), CronJob: cronJob });
  expect((await forged.behind(podBy(BY, reference("Job")))).creator).toBe("");
  const made = finder({ Job: job("a:1"), CronJob: cronJob });
  expect((await made.behind(podBy(BY, reference("Job")))).creator).toBe("alice");
});

test.each([
  ["a person's pod, whatever it refers to", podBy("eve", reference("ReplicaSet"))],
  ["a pod without a workload", podBy(BY)],
  ["a workload of another uid", podBy(BY, reference("ReplicaSet", "other"))],
  ["a kind that we do not know", podBy(BY, reference("Rollout", "u1", "argoproj.io/v1alpha1"))],
  ["a kind of another group", podBy(BY, reference("ReplicaSet", "u1", "evil.example/v1"))],
])("%s: nobody is behind it", async (_what, pod) => {
  expect((await finder({ ReplicaSet: object("u1", "alice") }).behind(pod)).creator).toBe("");
});

test("what cannot be asked is nobody, and told", async () => {
  const f = finder({ ReplicaSet: new Error("away") });
  expect((await f.behind(podBy(BY, reference("ReplicaSet")))).creator).toBe("");
  expect(f.faults).toHaveLength(1);
});
