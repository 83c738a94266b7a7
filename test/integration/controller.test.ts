/** The controller as processes, on a real API server (no node): from `kubectl apply` to the bundle that a pod's sidecar takes. */
import { createPublicKey } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { BUNDLE_PATH } from "#contract/control-environment.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import { openBundle } from "#policy/bundle.ts";
import { loadPolicy } from "#policy/loaded.ts";
import { createHttpBundleSource } from "#policy/source/http.ts";
import { until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";
import { type Lab, NEEDED, POSSIBLE, type Started, startLab } from "./controller-lab.ts";

let lab: Lab;

function startController(identity: string): Started {
  return lab.start("controller", identity, { SIDEGATE_CLUSTER: "test", SIDEGATE_CALLER_ADDRESS: "any" });
}

const API = "/apis/sidegate.dev/v1alpha1";
const policy = (name: string, module: string, more: object = {}): object => ({
  apiVersion: "sidegate.dev/v1alpha1",
  kind: "AgentPolicy",
  metadata: { namespace: "team", name },
  spec: { podSelector: { matchLabels: { app: "agent" } }, module, ...more },
});
const READS = `package sidegate.policy.reads
allow if { input.target.name == "api"; input.action == "read" }
`;

async function makePod(name: string, labels: Record<string, string>): Promise<{ token: string; uid: string }> {
  const made = await lab.plane.call("POST", "/api/v1/namespaces/team/pods", {
    metadata: { name, labels, annotations: { "sidegate.dev/injected": "yes" } },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const { uid } = made.body["metadata"] as { uid: string };
  const asked = await lab.plane.call("POST", "/api/v1/namespaces/team/serviceaccounts/default/token", {
    spec: { audiences: ["sidegate"], boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid } },
  });
  return { uid, token: (asked.body["status"] as { token: string }).token };
}

interface Trust {
  readonly ca: string;
  readonly publicPem: string;
}

async function trust(): Promise<Trust> {
  let data: Record<string, string> = {};
  await until(10_000, "the runtime ConfigMap", async () => {
    const found = await lab.plane.call("GET", "/api/v1/namespaces/sidegate/configmaps/sidegate-runtime");
    data = (found.body["data"] as Record<string, string> | undefined) ?? {};
    return data["resolvers"] !== undefined;
  });
  return { ca: data["ca.crt"] ?? "", publicPem: data["bundle-key.pem"] ?? "" };
}

async function next(port: number, token: string, etag: string | null): Promise<{ etag: string; archive: Uint8Array }> {
  const { ca } = await trust();
  const source = createHttpBundleSource({
    url: `https://localhost:${port}${BUNDLE_PATH}`,
    token: () => Promise.resolve(token),
    ca,
    waitS: 20,
    pollMs: 200,
  });
  const signal = AbortSignal.timeout(20_000);
  for (;;) {
    try {
      return await source.next(etag, signal);
    } catch (fault) {
      // 503: not compiled or not known yet; the sidecar asks again as well.
      if (signal.aborted || !/answered 503/.test(String(fault))) throw fault;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function load(archive: Uint8Array, scope = "test/team"): Promise<LoadedPolicy> {
  const { publicPem } = await trust();
  const keys = [{ id: "sidegate", publicKey: createPublicKey(publicPem) }];
  const opened = openBundle(archive, { keys, scope }, null, Date.now());
  if (opened.kind === "refused") throw new Error(opened.message);
  const loaded = loadPolicy(opened, { pod: {} });
  if ("kind" in loaded) throw new Error(loaded.message);
  return loaded;
}

function decides(loaded: LoadedPolicy, action: string): string {
  return loaded.decide(
    `"v":1,"protocol":"http","action":"${action}","complete":true,"target":{"name":"api","host":"api.team.svc","port":80,"labels":{}},"run":null,"http":{"method":"GET","path":"/","segments":[],"query":{},"headers":{},"truncated":false}`,
  ).effect;
}

beforeAll(async () => {
  if (!POSSIBLE) return;
  lab = await startLab();
  const ports = [{ port: 80 }];
  lab.apply({ apiVersion: "v1", kind: "Service", metadata: { name: "api", namespace: "team" }, spec: { ports } });
  lab.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kube-dns", namespace: "kube-system" },
    spec: { clusterIP: "10.96.0.10", ports: [{ port: 53, protocol: "UDP" }] },
  });
  await startController("one").port;
});
afterAll(() => lab?.stop());
beforeEach((context) => requireThat(context, POSSIBLE, NEEDED));

test("what is applied reaches the pods that it selects, signed for their namespace, with the Service's address", async () => {
  lab.apply({
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "EgressTarget",
    metadata: { namespace: "sidegate", name: "api" },
    spec: { hosts: ["api.team.svc.cluster.local"], ports: [80], private: true },
  });
  lab.apply(policy("reads", READS));
  const port = (await lab.running[0]?.port) ?? 0;
  const agent = await makePod("agent", { app: "agent" });
  const other = await makePod("other", { app: "other" });
  const given = await load((await next(port, agent.token, null)).archive);
  expect([decides(given, "read"), decides(given, "write")]).toEqual(["allow", "deny"]);
  const service = (await lab.get("/api/v1/namespaces/team/services/api"))["spec"] as { clusterIP: string };
  expect(given.targets).toMatchObject([{ name: "api", addresses: [service.clusterIP] }]);
  const others = await next(port, other.token, null);
  expect(decides(await load(others.archive), "read")).toBe("deny");
  await expect(load(others.archive, "test/elsewhere")).rejects.toThrow(/signed for/);
  await until(10_000, "the status", async () => {
    const { status } = (await lab.get(`${API}/namespaces/team/agentpolicies/reads`)) as {
      status?: { pods: number; conditions: { status: string; reason: string }[] };
    };
    return status?.pods === 1 && status.conditions[0]?.status === "True" && status.conditions[0].reason === "InForce";
  });
});

test("a changed policy reaches a waiting pod, and one that does not compile changes nothing but its status", async () => {
  const port = (await lab.running[0]?.port) ?? 0;
  const { token } = await makePod("waits", { app: "agent" });
  const first = await next(port, token, null);
  const began = performance.now();
  const waiting = next(port, token, first.etag);
  lab.apply(policy("reads", READS.replace('"read"', '"write"')));
  const second = await waiting;
  console.log(`policy change to bundle: ${Math.round(performance.now() - began)} ms`);
  expect(decides(await load(second.archive), "write")).toBe("allow");
  expect((await load(second.archive)).sequence).toBeGreaterThan((await load(first.archive)).sequence);

  lab.apply(policy("reads", `${READS}\nallow if { input.htpp.method == "GET" }\n`));
  await until(10_000, "the status", async () => {
    const { status } = (await lab.get(`${API}/namespaces/team/agentpolicies/reads`)) as {
      status?: { observedGeneration: number; conditions: { status: string; message: string; reason: string }[] };
    };
    const ready = status?.conditions[0];
    return ready?.reason === "DoesNotCompile" && /team\/reads\.rego:4: .*htpp/s.test(ready.message);
  });
  expect((await next(port, token, null)).etag).toBe(second.etag);
  lab.apply(policy("reads", READS));
});

test("a token of another audience, of no pod, or of a pod that is gone gets nothing", async () => {
  const port = (await lab.running[0]?.port) ?? 0;
  const ask = async (token: string): Promise<string> =>
    next(port, token, null).then(
      () => "given",
      (fault: unknown) => String(fault),
    );
  const account = "/api/v1/namespaces/team/serviceaccounts/default/token";
  const asked = async (spec: object): Promise<string> =>
    ((await lab.plane.call("POST", account, { spec })).body["status"] as { token: string }).token;
  expect(await ask(await asked({ audiences: ["sidegate"] }))).toContain("401");
  expect(await ask(await asked({ audiences: ["other"] }))).toContain("401");
  expect(await ask("a.b.c")).toContain("401");
});

test("two replicas: both serve; the leader is killed, the other takes over, and new pods get their bundle", async () => {
  const second = startController("two");
  const port = await second.port;
  const { token } = await makePod("before", { app: "agent" });
  expect(decides(await load((await next(port, token, null)).archive), "read")).toBe("allow");
  const [one] = lab.running;
  if (one !== undefined) await lab.end(one, "SIGKILL");
  const { token: later } = await makePod("after", { app: "agent" });
  expect(decides(await load((await next(port, later, null)).archive), "read")).toBe("allow");
  await until(30_000, "the next leader", () =>
    Promise.resolve(second.lines.some((line) => line["event"] === "leading")),
  );
  lab.apply(policy("reads", READS.replace('"read"', '"admin"')));
  const given = await next(port, later, null).then(async (first) =>
    decides(await load(first.archive), "admin") === "allow" ? first : next(port, later, first.etag),
  );
  expect(decides(await load(given.archive), "admin")).toBe("allow");
  lab.apply(policy("reads", READS));
});

test("asked to end, it gives up the lease and ends", async () => {
  for (const one of lab.running) expect(await lab.end(one, "SIGTERM")).toBe(0);
  const lease = (await lab.get("/apis/coordination.k8s.io/v1/namespaces/sidegate/leases/sidegate-controller")) as {
    spec: { holderIdentity: string };
  };
  expect(lease.spec.holderIdentity).toBe("");
});
