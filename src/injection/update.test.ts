import { expect, test } from "vitest";
import { ANNOTATION, LABEL, PROXY_UID, VOLUME } from "#contract/names.ts";
import { injectPod } from "./inject.ts";
import { type InjectionOptions, readOptions } from "./options.ts";
import type { Container, Pod } from "./pod.ts";
import { brokenByUpdate } from "./update.ts";

const reading = readOptions({
  image: "proxy:1",
  collector: { url: "https://collector.example", ca: "" },
  bundle: { url: "https://bundles.example", configMap: "", publicKey: "PEM" },
});
if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
const { options } = reading;

function injected(by: InjectionOptions): Pod {
  const injection = injectPod(
    {
      metadata: { name: "agent", labels: { [LABEL.inject]: "true" } },
      spec: { containers: [{ name: "app", image: "a:1" }] },
    },
    by,
    () => PROXY_UID.first,
  );
  if (injection.kind === "denied") throw new Error(JSON.stringify(injection.violations));
  return injection.pod;
}
const pod = injected(options);

/** An older release's pod: valid then, and not what this release would inject. */
const old: Pod = {
  ...pod,
  spec: { ...pod.spec, initContainers: pod.spec.initContainers?.map((c) => ({ ...c, image: "proxy:0.9" })) },
} as Pod;

function fields(after: unknown, before: unknown = pod): readonly string[] {
  return brokenByUpdate(before, after, options).map(({ field }) => field);
}

function agentWith(changed: Partial<Container>, at = 0): Pod {
  const containers = pod.spec.containers.map((c, index) => (index === at ? { ...c, ...changed } : c));
  return { ...pod, spec: { ...pod.spec, containers } };
}

const HARMLESS = {
  runAsUser: 1000,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

function debug(changed: object, pod = injected(options)): Pod {
  const container = {
    name: "debugger",
    image: "busybox",
    securityContext: HARMLESS,
    ...changed,
  };
  return { ...pod, spec: { ...pod.spec, ephemeralContainers: [container] } };
}

test("a pod of an older release stays updatable", () => {
  const finalised = {
    ...old,
    metadata: { ...old.metadata, finalizers: [], labels: { ...old.metadata?.labels, a: "b" } },
  };
  expect(fields(finalised, old)).toEqual([]);
});

test("our container's image cannot be exchanged in a running pod", () => {
  expect(fields(old)).toEqual(["spec.initContainers[0]", "spec.initContainers[1]"]);
});

test("stamps and the opt-in label stay as they are", () => {
  const annotations = { ...pod.metadata?.annotations, [ANNOTATION.proxyUid]: "1900000001" };
  expect(fields({ ...pod, metadata: { ...pod.metadata, annotations, labels: {} } })).toEqual([
    `metadata.annotations[${ANNOTATION.proxyUid}]`,
    `metadata.labels[${LABEL.inject}]`,
  ]);
});

test("a new image needs an explicit uid, since its own may be the proxy's", () => {
  expect(fields(agentWith({ image: "a:2" }))).toEqual(["spec.containers[0].image"]);
  const explicit = (image: string) => agentWith({ image, securityContext: { runAsUser: 1000 } });
  expect(fields(explicit("a:2"), explicit("a:1"))).toEqual([]);
});

test("an ephemeral container without capability and with a uid may look into the agent", () => {
  expect(fields(debug({ targetContainerName: "app" }))).toEqual([]);
});

test.each([
  ["securityContext.runAsUser", { securityContext: { ...HARMLESS, runAsUser: undefined } }],
  ["securityContext.runAsUser", { securityContext: { ...HARMLESS, runAsUser: PROXY_UID.last } }],
  [
    "securityContext.capabilities.add",
    { securityContext: { ...HARMLESS, capabilities: { drop: ["ALL"], add: ["SYS_PTRACE"] } } },
  ],
  ["securityContext.capabilities.drop", { securityContext: { ...HARMLESS, capabilities: {} } }],
  ["securityContext.seccompProfile", { securityContext: { ...HARMLESS, seccompProfile: undefined } }],
  ["targetContainerName", { targetContainerName: "sidegate" }],
  ["volumeMounts[0].name", { volumeMounts: [{ name: VOLUME.state, mountPath: "/s" }] }],
])("an ephemeral container is refused for its %s", (field, changed) => {
  expect(fields(debug(changed))).toEqual([`spec.ephemeralContainers[0].${field}`]);
});

test("an ephemeral container runs with the profile of the pod's agents, whatever is injected by now", () => {
  const ours = { type: "Localhost", localhostProfile: "sidegate/agent.json" } as const;
  const switched = { ...options, seccomp: ours };
  const tried = (
    by: InjectionOptions,
    now: InjectionOptions,
    seccompProfile: object | undefined,
  ): readonly string[] => {
    const before = injected(by);
    const after = debug({ securityContext: { ...HARMLESS, seccompProfile } }, before);
    return brokenByUpdate(before, after, now).map(({ field }) => field.replace("spec.ephemeralContainers[0].", ""));
  };
  for (const now of [options, switched]) {
    expect(tried(switched, now, ours)).toEqual([]);
    expect(tried(options, now, { type: "RuntimeDefault" })).toEqual([]);
    expect(tried(switched, now, { type: "RuntimeDefault" })).toEqual(["securityContext.seccompProfile"]);
    expect(tried(switched, now, undefined)).toEqual(["securityContext.seccompProfile"]);
    for (const by of [options, switched])
      for (const other of [{ type: "Unconfined" }, { type: "Localhost", localhostProfile: "mine.json" }])
        expect(tried(by, now, other)).toEqual([
          "securityContext.seccompProfile.type",
          "securityContext.seccompProfile",
        ]);
  }
});

test("an ephemeral container with a name of ours is refused", () => {
  expect(fields(debug({ name: "sidegate-init" }))).toContain("spec.ephemeralContainers[0].name");
});

test("a pod that was never injected is not held to anything here", () => {
  const plain = { spec: { containers: [{ name: "app", image: "a:1" }] } };
  expect(fields({ spec: { containers: [{ name: "app", image: "a:2" }] } }, plain)).toEqual([]);
});
