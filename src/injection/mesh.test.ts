import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { optionsFor } from "./complete-options.ts";
import { injectPod } from "./inject.ts";
import { brokenInvariants } from "./invariants.ts";
import { exemptUid } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { type InjectionOptions, readOptions } from "./options.ts";
import { brokenByUpdate } from "./update.ts";

const [given, manifest] = parseAllDocuments(
  readFileSync(path.join(import.meta.dirname, "golden/chained-mesh.pod.yaml"), "utf8"),
).map((document): unknown => document.toJS());
const MESH = (given as { mesh: MeshOptions }).mesh;

function optionsWith(mesh: unknown, more: object = {}): InjectionOptions {
  const reading = readOptions({
    image: "registry.example/sidegate-proxy@sha256:aaaa",
    collector: { url: "https://sidegate-collector.sidegate.svc:8443", ca: "PEM" },
    bundle: { url: "https://sidegate-controller.sidegate.svc:8443", publicKey: "PEM" },
    mesh,
    ...more,
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}
const CHAIN = optionsWith(MESH);
const UID = 1_947_264_001;

// Attempts reach into pods at any depth.
// oxlint-disable-next-line typescript/no-explicit-any -- manifests, reached into at any depth
type Tree = any;
const made = (edit: (pod: Tree) => void = () => undefined, options = CHAIN) => {
  const pod = structuredClone(manifest) as Tree;
  edit(pod);
  return injectPod(pod, options, () => UID);
};
function injected(edit?: (pod: Tree) => void): Tree {
  const result = made(edit);
  if (result.kind === "denied") throw new Error(JSON.stringify(result.violations));
  return structuredClone(result.pod);
}
const fields = (result: ReturnType<typeof made>): string[] =>
  result.kind === "denied" ? result.violations.map(({ field }) => field) : [];

const proxy = (p: Tree): Tree => p.spec.containers.find((c: Tree) => c.name === "istio-proxy");
const writer = (p: Tree): Tree => p.spec.initContainers.find((c: Tree) => c.name === "istio-init");
const app = (p: Tree): Tree => p.spec.containers.find((c: Tree) => c.name === "app");

test("a pod with the mesh is injected, its uid and ports told to init, and injecting again changes nothing", () => {
  const pod = injected();
  expect(pod.spec.initContainers.map((c: Tree) => c.name)).toEqual(["sidegate-init", "sidegate", "istio-init"]);
  const env = pod.spec.initContainers[0].env.find((e: Tree) => e.name === "SIDEGATE_MESH");
  expect(env.value).toBe("1337:15000,15001,15006,15053,15090");
  expect(exemptUid(pod)).toBe(1337);
  expect(proxy(pod).volumeMounts).toHaveLength(2);
  expect(proxy(pod).env).toHaveLength(2);
  expect(proxy(pod).securityContext).toMatchObject({
    runAsUser: 1337,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  });
  const again = injectPod(pod, CHAIN, () => 0);
  expect(again).toMatchObject({ kind: "injected", patch: [], foreign: [] });
  expect(brokenInvariants(pod, CHAIN)).toEqual([]);
});

test("the mesh's proxy as a native sidecar is the same", () => {
  const pod = injected((p) => {
    p.spec.initContainers.push({ ...proxy(p), restartPolicy: "Always" });
    p.spec.containers = p.spec.containers.filter((c: Tree) => c.name !== "istio-proxy");
  });
  expect(exemptUid(pod)).toBe(1337);
});

test("P15: configured but absent from the pod, nobody's uid is exempt", () => {
  const pod = injected((p) => {
    p.spec.containers = [app(p)];
    p.spec.initContainers = [];
    p.spec.volumes = [];
  });
  expect(exemptUid(pod)).toBeNull();
  expect(JSON.stringify(pod)).not.toContain("1337");
});

test("P15: without mode chain, and outside of namespaces that are ours as a whole, a mesh is refused by name", () => {
  const refused = [expect.stringMatching(/initContainers\[0\]\.name/), expect.stringMatching(/containers\[0\]\.name/)];
  expect(fields(made(undefined, optionsWith(null)))).toEqual(expect.arrayContaining(refused));
  for (const labels of [{}, { "sidegate.dev/inject": "opt-in" }])
    expect(fields(made(undefined, optionsFor(CHAIN, "team", labels)))).toEqual(expect.arrayContaining(refused));
  expect(made(undefined, optionsFor(CHAIN, "team", { "sidegate.dev/inject": "all" })).kind).toBe("injected");
});

test("P15: in tier locked nothing but the gateway goes out", () => {
  const result = made(undefined, optionsWith(MESH, { tier: "locked" }));
  expect(result.kind === "denied" && result.violations[0]?.message).toMatch(/in tier locked/);
});

describe("P15: what bears the mesh's name and is not the mesh", () => {
  const CASES: readonly (readonly [string, string, (p: Tree) => void])[] = [
    ["another image", "containers[0].image", (p) => void (proxy(p).image = "evil:1")],
    ["the same image by another reference", "image", (p) => void (proxy(p).image = "registry.example/istio/proxyv2:1")],
    ["another image that writes rules", "initContainers[0].image", (p) => void (writer(p).image = "evil:1")],
    ["a command", "command", (p) => void (proxy(p).command = ["sh"])],
    ["a command of who writes rules", "command", (p) => void (writer(p).command = ["sh", "-c", "nft flush ruleset"])],
    ["other args", "args", (p) => void (proxy(p).args = ["request", "GET", "http://198.51.100.1"])],
    ["no args", "args", (p) => void delete proxy(p).args],
    ["other args of who writes rules", "args", (p) => void (writer(p).args = ["proxy", "sidecar"])],
    ["a hook", "lifecycle.postStart", (p) => void (proxy(p).lifecycle = { postStart: { exec: { command: ["sh"] } } })],
    ["a hook at the end", "preStop", (p) => void (proxy(p).lifecycle = { preStop: { exec: { command: ["sh"] } } })],
    ["a probe that runs", "livenessProbe", (p) => void (proxy(p).livenessProbe = { exec: { command: ["sh"] } })],
    ["LD_PRELOAD", "env", (p) => void proxy(p).env.push({ name: "LD_PRELOAD", value: "/etc/istio/proxy/x.so" })],
    ["PATH of who writes rules", "env", (p) => void (writer(p).env = [{ name: "PATH", value: "/x" }])],
    ["envFrom", "envFrom", (p) => void (proxy(p).envFrom = [{ configMapRef: { name: "x" } }])],
    [
      "a mount over its program",
      "volumeMounts",
      (p) => void proxy(p).volumeMounts.push({ name: "istio-envoy", mountPath: "/usr/local/bin" }),
    ],
    ["a file mounted at its place", "volumeMounts", (p) => void (proxy(p).volumeMounts[0].subPath = "x")],
    ["a terminal", "stdin", (p) => void (proxy(p).stdin = true)],
    ["another working folder", "workingDir", (p) => void (proxy(p).workingDir = "/etc/istio/proxy")],
    ["another uid", "runAsUser", (p) => void (proxy(p).securityContext.runAsUser = 0)],
    ["no uid", "runAsUser", (p) => void delete proxy(p).securityContext.runAsUser],
    ["a capability", "capabilities", (p) => void (proxy(p).securityContext.capabilities = { add: ["NET_ADMIN"] })],
    ["more capabilities", "capabilities", (p) => void writer(p).securityContext.capabilities.add.push("SYS_ADMIN")],
    ["privileged", "privileged", (p) => void (writer(p).securityContext.privileged = true)],
    ["an unknown privilege", "securityContext.x", (p) => void (proxy(p).securityContext.x = true)],
    [
      "who writes rules, for as long as the pod runs",
      "containers[2].name",
      (p) => {
        p.spec.containers.push(p.spec.initContainers.pop());
      },
    ],
    ["who writes rules, as a sidecar", "initContainers[0].name", (p) => void (writer(p).restartPolicy = "Always")],
    ["its init alone", "initContainers[0].name", (p) => void (p.spec.containers = [app(p)])],
    [
      "the mesh alone among the containers",
      "spec.containers",
      (p) => {
        p.spec.initContainers.push({ ...app(p), restartPolicy: "Always" });
        p.spec.containers = [proxy(p)];
      },
    ],
  ];
  test.each(CASES)("is refused: %s", (_, field, edit) => {
    expect(fields(made(edit))).toEqual(expect.arrayContaining([expect.stringContaining(field)]));
  });
});

describe("P15: everybody else beside a chained mesh", () => {
  const CASES: readonly (readonly [string, string, (p: Tree) => void])[] = [
    ["runs as the mesh's uid", "runAsUser", (p) => void (app(p).securityContext.runAsUser = 1337)],
    [
      "runs as the pod's uid, which is the mesh's",
      "runAsUser",
      (p) => {
        delete app(p).securityContext.runAsUser;
        p.spec.securityContext = { runAsUser: 1337 };
      },
    ],
    ["leaves its uid to its image", "runAsUser", (p) => void delete app(p).securityContext.runAsUser],
    [
      "an init container leaves its uid to its image",
      "initContainers[1]",
      (p) => void p.spec.initContainers.push({ name: "prepare", image: "agent:1" }),
    ],
    [
      "mounts the mesh's folder",
      "volumeMounts",
      (p) => void (app(p).volumeMounts = [{ name: "istio-envoy", mountPath: "/mnt" }]),
    ],
    ["takes one of the mesh's ports", "containerPort", (p) => void app(p).ports.push({ containerPort: 15_001 })],
    ["has a capability", "capabilities", (p) => void (app(p).securityContext.capabilities = { add: ["SETUID"] })],
  ];
  test.each(CASES)("is refused: %s", (_, field, edit) => {
    expect(fields(made(edit))).toEqual(expect.arrayContaining([expect.stringContaining(field)]));
  });

  test("the pod's uid will do where it is another", () => {
    expect(
      made((p) => {
        delete app(p).securityContext.runAsUser;
        p.spec.securityContext = { runAsUser: 1000 };
      }).kind,
    ).toBe("injected");
  });
});

describe("P15: a running pod with a chained mesh", () => {
  const after = (edit: (p: Tree) => void, options = CHAIN): string[] => {
    const before = injected();
    const next = structuredClone(before);
    edit(next);
    return brokenByUpdate(before, next, options).map(({ field }) => field);
  };
  const debug = {
    name: "debug",
    image: "x",
    securityContext: {
      runAsUser: 1000,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };

  test.each([CHAIN, optionsWith(null)])("keeps the mesh's images, whatever the values say by now", (options) => {
    expect(after((p) => void (proxy(p).image = "evil:1"), options)).toEqual(["spec.containers[0].image"]);
    expect(after((p) => void (writer(p).image = "evil:1"), options)).toEqual(["spec.initContainers[2].image"]);
    expect(after((p) => void (app(p).image = "agent:2"), options)).toEqual([]);
  });
  test("a debug container has the agents' seccomp profile, not the mesh's", () => {
    const ours = { type: "Localhost", localhostProfile: "sidegate/agent.json" };
    const asked = (seccompProfile: object): string[] =>
      after((p) => {
        for (const each of [...p.spec.initContainers, ...p.spec.containers])
          if (!String(each.name).startsWith("istio-"))
            each.securityContext = { ...each.securityContext, seccompProfile: ours };
        p.spec.ephemeralContainers = [{ ...debug, securityContext: { ...debug.securityContext, seccompProfile } }];
      }).filter((field) => field.includes("ephemeral"));
    expect(asked(ours)).toEqual([]);
    expect(asked({ type: "RuntimeDefault" })).toEqual(["spec.ephemeralContainers[0].securityContext.seccompProfile"]);
  });
  test("takes no debug container as the mesh's uid or into its process", () => {
    const add = (container: Tree) => after((p) => void (p.spec.ephemeralContainers = [container]));
    expect(add(debug)).toEqual([]);
    expect(add({ ...debug, targetContainerName: "app" })).toEqual([]);
    expect(add({ ...debug, targetContainerName: "istio-proxy" })).toEqual([
      "spec.ephemeralContainers[0].targetContainerName",
    ]);
    expect(add({ ...debug, securityContext: { ...debug.securityContext, runAsUser: 1337 } })).toEqual([
      "spec.ephemeralContainers[0].securityContext.runAsUser",
    ]);
  });
});

test.each([
  ["mesh.uid", { uid: UID }],
  ["mesh.ports", { ports: [15_801] }],
  ["mesh.proxy.container", { proxy: { container: "sidegate", args: [] } }],
  ["mesh.init.containers", { init: { containers: ["istio-proxy"], args: [] } }],
  ["mesh.images", { images: [] }],
  ["mesh.uid", { uid: 0 }],
])("options with another %s are refused", (field, change) => {
  expect(() => optionsWith({ ...MESH, ...change })).toThrow(field);
});
