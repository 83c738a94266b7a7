/** The controller as processes, on a real API server (no node): from `kubectl apply` to the bundle that a pod's sidecar takes. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { BUNDLE_PATH } from "#contract/control-environment.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import { openBundle } from "#policy/bundle.ts";
import { loadPolicy } from "#policy/loaded.ts";
import { createHttpBundleSource } from "#policy/source/http.ts";
import { type ControlPlane, findControlPlane, startControlPlane, until } from "../support/control-plane.ts";
import { requireThat } from "../support/require.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const CACHE = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"), "sidegate");
const OPA = process.env["SIDEGATE_OPA"] ?? path.join(CACHE, "opa-1.22.2");
const BIN = findControlPlane();
const POSSIBLE = BIN !== null && existsSync(OPA);

let plane: ControlPlane;
let folder: string;
let processes: Started[] = [];

interface Started {
  readonly child: ChildProcess;
  readonly port: Promise<number>;
  readonly lines: Record<string, unknown>[];
}

function startController(identity: string): Started {
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cmd/controller.ts")],
    {
      cwd: ROOT,
      env: {
        PATH: process.env["PATH"],
        SIDEGATE_CONTROL_NAMESPACE: "sidegate",
        SIDEGATE_IDENTITY: identity,
        SIDEGATE_CLUSTER: "test",
        SIDEGATE_LISTEN_ADDRESS: "127.0.0.1",
        SIDEGATE_LISTEN_NUMBER: "0",
        SIDEGATE_KUBECONFIG: plane.kubeconfig,
        SIDEGATE_OPA: OPA,
        SIDEGATE_CERTIFICATE_NAMES: "localhost",
        SIDEGATE_CALLER_ADDRESS: "any",
      },
      stdio: ["ignore", "inherit", "pipe"],
    },
  );
  const lines: Record<string, unknown>[] = [];
  const port = new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (text) => {
      if (process.env["SHOW"] === "1") console.log(identity, text);
      const line = JSON.parse(text) as Record<string, unknown>;
      lines.push(line);
      if (line["event"] === "serving") resolve(Number(line["port"]));
    });
    child.on("exit", () => reject(new Error(`${identity} ended: ${JSON.stringify(lines.at(-1))}`)));
  });
  port.catch(() => undefined);
  const started = { child, port, lines };
  processes.push(started);
  return started;
}

async function end(one: Started, signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
  processes = processes.filter((other) => other !== one);
  if (one.child.exitCode !== null) return one.child.exitCode;
  const ended = new Promise<number | null>((resolve) => {
    one.child.once("exit", resolve);
  });
  one.child.kill(signal);
  return ended;
}

function kubectl(args: readonly string[], input = ""): { readonly ok: boolean; readonly text: string } {
  const run = spawnSync(plane.kubectl, ["--kubeconfig", plane.kubeconfig, ...args], { input, encoding: "utf8" });
  return { ok: run.status === 0, text: run.stdout + run.stderr };
}

function apply(object: object): void {
  const { ok, text } = kubectl(["apply", "-f", "-"], JSON.stringify(object));
  if (!ok) throw new Error(text);
}

async function object(target: string): Promise<Record<string, unknown>> {
  return (await plane.call("GET", target)).body;
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
  const made = await plane.call("POST", "/api/v1/namespaces/team/pods", {
    metadata: { name, labels, annotations: { "sidegate.dev/injected": "yes" } },
    spec: { containers: [{ name: "app", image: "app:1" }] },
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const { uid } = made.body["metadata"] as { uid: string };
  const asked = await plane.call("POST", "/api/v1/namespaces/team/serviceaccounts/default/token", {
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
    const found = await plane.call("GET", "/api/v1/namespaces/sidegate/configmaps/sidegate-runtime");
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
  if (BIN === null || !POSSIBLE) return;
  plane = await startControlPlane(BIN);
  folder = mkdtempSync(path.join(tmpdir(), "sidegate-controller-"));
  const crds = kubectl(["apply", "-f", path.join(ROOT, "charts/gateway/crds")]);
  if (!crds.ok) throw new Error(crds.text);
  for (const name of ["sidegate", "team"]) apply({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "team" } });
  const ports = [{ port: 80 }];
  apply({ apiVersion: "v1", kind: "Service", metadata: { name: "api", namespace: "team" }, spec: { ports } });
  apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kube-dns", namespace: "kube-system" },
    spec: { clusterIP: "10.96.0.10", ports: [{ port: 53, protocol: "UDP" }] },
  });
  await until(
    10_000,
    "the custom resources",
    async () => (await plane.call("GET", `${API}/egresstargets`)).status === 200,
  );
  startController("one");
  await processes[0]?.port;
});
afterAll(async () => {
  for (const one of processes) await end(one, "SIGKILL");
  await plane?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});
beforeEach((context) =>
  requireThat(context, POSSIBLE, "needs the cluster's programs (test/e2e/cluster/build.sh) and opa in the cache"),
);

test("what is applied reaches the pods that it selects, signed for their namespace, with the Service's address", async () => {
  apply({
    apiVersion: "sidegate.dev/v1alpha1",
    kind: "EgressTarget",
    metadata: { namespace: "sidegate", name: "api" },
    spec: { hosts: ["api.team.svc.cluster.local"], ports: [80], private: true },
  });
  apply(policy("reads", READS));
  const port = (await processes[0]?.port) ?? 0;
  const agent = await makePod("agent", { app: "agent" });
  const other = await makePod("other", { app: "other" });
  const given = await load((await next(port, agent.token, null)).archive);
  expect([decides(given, "read"), decides(given, "write")]).toEqual(["allow", "deny"]);
  const service = (await object("/api/v1/namespaces/team/services/api"))["spec"] as { clusterIP: string };
  expect(given.targets).toMatchObject([{ name: "api", addresses: [service.clusterIP] }]);
  const others = await next(port, other.token, null);
  expect(decides(await load(others.archive), "read")).toBe("deny");
  await expect(load(others.archive, "test/elsewhere")).rejects.toThrow(/signed for/);
  await until(10_000, "the status", async () => {
    const { status } = (await object(`${API}/namespaces/team/agentpolicies/reads`)) as {
      status?: { pods: number; conditions: { status: string; reason: string }[] };
    };
    return status?.pods === 1 && status.conditions[0]?.status === "True" && status.conditions[0].reason === "InForce";
  });
});

test("a changed policy reaches a waiting pod, and one that does not compile changes nothing but its status", async () => {
  const port = (await processes[0]?.port) ?? 0;
  const { token } = await makePod("waits", { app: "agent" });
  const first = await next(port, token, null);
  const began = performance.now();
  const waiting = next(port, token, first.etag);
  apply(policy("reads", READS.replace('"read"', '"write"')));
  const second = await waiting;
  console.log(`policy change to bundle: ${Math.round(performance.now() - began)} ms`);
  expect(decides(await load(second.archive), "write")).toBe("allow");
  expect((await load(second.archive)).sequence).toBeGreaterThan((await load(first.archive)).sequence);

  apply(policy("reads", `${READS}\nallow if { input.htpp.method == "GET" }\n`));
  await until(10_000, "the status", async () => {
    const { status } = (await object(`${API}/namespaces/team/agentpolicies/reads`)) as {
      status?: { observedGeneration: number; conditions: { status: string; message: string; reason: string }[] };
    };
    const ready = status?.conditions[0];
    return ready?.reason === "DoesNotCompile" && /team\/reads\.rego:4: .*htpp/s.test(ready.message);
  });
  expect((await next(port, token, null)).etag).toBe(second.etag);
  apply(policy("reads", READS));
});

test("a token of another audience, of no pod, or of a pod that is gone gets nothing", async () => {
  const port = (await processes[0]?.port) ?? 0;
  const ask = async (token: string): Promise<string> =>
    next(port, token, null).then(
      () => "given",
      (fault: unknown) => String(fault),
    );
  const account = "/api/v1/namespaces/team/serviceaccounts/default/token";
  const asked = async (spec: object): Promise<string> =>
    ((await plane.call("POST", account, { spec })).body["status"] as { token: string }).token;
  expect(await ask(await asked({ audiences: ["sidegate"] }))).toContain("401");
  expect(await ask(await asked({ audiences: ["other"] }))).toContain("401");
  expect(await ask("a.b.c")).toContain("401");
});

test("two replicas: both serve; the leader is killed, the other takes over, and new pods get their bundle", async () => {
  const second = startController("two");
  const port = await second.port;
  const { token } = await makePod("before", { app: "agent" });
  expect(decides(await load((await next(port, token, null)).archive), "read")).toBe("allow");
  const [one] = processes;
  if (one !== undefined) await end(one, "SIGKILL");
  const { token: later } = await makePod("after", { app: "agent" });
  expect(decides(await load((await next(port, later, null)).archive), "read")).toBe("allow");
  await until(30_000, "the next leader", () =>
    Promise.resolve(second.lines.some((line) => line["event"] === "leading")),
  );
  apply(policy("reads", READS.replace('"read"', '"admin"')));
  const given = await next(port, later, null).then(async (first) =>
    decides(await load(first.archive), "admin") === "allow" ? first : next(port, later, first.etag),
  );
  expect(decides(await load(given.archive), "admin")).toBe("allow");
  apply(policy("reads", READS));
});

test("asked to end, it gives up the lease and ends", async () => {
  for (const one of processes) expect(await end(one, "SIGTERM")).toBe(0);
  const lease = (await object("/apis/coordination.k8s.io/v1/namespaces/sidegate/leases/sidegate-controller")) as {
    spec: { holderIdentity: string };
  };
  expect(lease.spec.holderIdentity).toBe("");
});
