/** 1,000 pods in 50 namespaces, 100 policies, every replica's work: what each pod is to be given, and who is woken. Prints its figures. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { BundleParts } from "#policy/assemble.ts";
import { makeRunKey } from "#policy/assemble.ts";
import { createFleet, createKnown } from "./fleet.ts";
import { createIssuer } from "./issue.ts";
import { observePod, observePolicy } from "./observed.ts";

const PODS = 1_000;
const NAMESPACES = 50;
const MODULE = `allow if input.action == "read"\n${"# a comment of an author\n".repeat(100)}`;

const PARTS: BundleParts = {
  wasm: new Uint8Array(160 * 1024),
  metadata: {
    reads: [],
    mayHold: false,
    mayMask: false,
    settings: { mode: "enforce", denialDetail: "full" },
    policies: [],
    rules: [],
  },
  data: { sidegate: { targets: {}, data: {} } },
};

function policyAt(n: number, generation: number) {
  const cluster = n < 20;
  const name = `p${n}`;
  const namespace = cluster ? {} : { namespace: `ns-${n % NAMESPACES}` };
  return observePolicy({
    kind: cluster ? "ClusterAgentPolicy" : "AgentPolicy",
    metadata: { name, uid: `policy-${n}`, generation, ...namespace },
    spec: {
      module: `package sidegate.policy.p${n}\n${MODULE}`,
      ...(n % 2 === 0 ? {} : { podSelector: { matchLabels: { tier: String(n % 3) } } }),
    },
  } as Parameters<typeof observePolicy>[0]);
}

test("1,000 pods and 100 policies: reconciled in a fraction of a second, in little memory, and only the pods concerned are woken", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heap = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  const known = createKnown();
  const issuer = createIssuer({
    cluster: "c",
    key: () => makeRunKey().signing,
    clock: { wallMs: () => 1, elapsedMs: () => 1 },
  });
  const fleet = createFleet({
    known,
    own: "sidegate",
    issuer,
    clock: { wallMs: () => 1, elapsedMs: () => performance.now() },
    checkCaller: true,
    dns: "kube-system/kube-dns",
    why: () => "",
  });
  for (let n = 0; n < NAMESPACES; n++)
    known.namespaces.set(`ns-${n}`, {
      labels: { "sidegate.dev/inject": "all" },
      uid: "",
      observeUntilMs: 0,
      observeFault: "",
    });
  for (let n = 0; n < 100; n++) known.policies.set(`policy-${n}`, policyAt(n, 1));
  for (let n = 0; n < PODS; n++) {
    const pod = observePod({
      metadata: {
        name: `pod-${n}`,
        namespace: `ns-${n % NAMESPACES}`,
        uid: `uid-${n}`,
        labels: { app: "agent", tier: String(n % 3), "job-name": `job-${n}` },
        annotations: { "sidegate.dev/injected": "1" },
      },
      status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }] },
    } as Parameters<typeof observePod>[0]);
    if (pod !== null) known.pods.set(pod.uid, pod);
  }
  const start = performance.now();
  fleet.recompute();
  const first = performance.now() - start;
  for (const { set } of fleet.sets.values()) known.stored.set(set.id, { id: set.id, content: "1", parts: PARTS });
  expect(fleet.recompute()).toHaveLength(PODS);
  const again = performance.now();
  expect(fleet.recompute()).toEqual([]);
  const steady = performance.now() - again;

  // One namespace's policy is compiled anew: only its pods are woken.
  const of = "ns-20";
  for (const { set } of [...fleet.assigned.values()].filter(({ pod }) => pod.namespace === of))
    known.stored.set(set.id, { id: set.id, content: "2", parts: PARTS });
  const woken = fleet.recompute();
  expect(woken).toHaveLength(PODS / NAMESPACES);
  expect(woken.every((uid) => fleet.assigned.get(uid)?.pod.namespace === of)).toBe(true);

  expect(fleet.offer("uid-0", "10.0.0.1").kind).toBe("bundle");
  expect(fleet.offer("uid-0", "10.0.0.2")).toMatchObject({ kind: "none", status: 403 });
  expect(fleet.offer("uid-none", "10.0.0.1")).toMatchObject({ kind: "none", status: 503 });
  const issuing = performance.now();
  const offer = fleet.offer("uid-0", "10.0.0.1");
  const size = offer.kind === "bundle" ? offer.issue().archive.length : 0;
  const issued = performance.now() - issuing;
  expect(size).toBeGreaterThan(100);
  const mebibytes = (heap() - before) / 1_048_576;
  console.log(
    `1,000 pods, 100 policies: ${fleet.sets.size} sets; first ${first.toFixed(0)} ms, steady ${steady.toFixed(0)} ms, ` +
      `one archive ${issued.toFixed(0)} ms, heap +${mebibytes.toFixed(1)} MiB, woken by one namespace's change ${woken.length}`,
  );
  expect(fleet.sets.size).toBeLessThanOrEqual(NAMESPACES * 3);
});
