import * as fc from "fast-check";
import { applyPatch } from "rfc6902";
import { expect, test } from "vitest";
import { ANNOTATION, CONTAINER, PROXY_UID, VOLUME } from "#contract/names.ts";
import { type Injection, injectPod } from "./inject.ts";
import { brokenInvariants } from "./invariants.ts";
import { type InjectionOptions, readOptions } from "./options.ts";
import type { Pod } from "./pod.ts";

function options(changed: object = {}): InjectionOptions {
  const reading = readOptions({
    image: "registry.example/proxy:1",
    collector: { url: "https://collector.example", ca: "" },
    bundle: { url: "https://bundles.example", configMap: "", publicKey: "PEM" },
    ...changed,
  });
  if (reading.kind === "malformed") throw new Error(JSON.stringify(reading.violations));
  return reading.options;
}
const OPTIONS = options();
const UID = 1_912_345_678;

function inject(pod: unknown, o = OPTIONS): Extract<Injection, { kind: "injected" }> {
  const injection = injectPod(pod, o, () => UID);
  if (injection.kind === "denied") throw new Error(JSON.stringify(injection.violations));
  return injection;
}

function denials(pod: unknown, o = OPTIONS): readonly string[] {
  const injection = injectPod(pod, o, () => UID);
  return injection.kind === "denied" ? injection.violations.map(({ field }) => field) : [];
}

const plain = () => ({ spec: { containers: [{ name: "app", image: "a:1" }] } });

test("our two containers come first, init before sidecar", () => {
  const { pod } = inject({ spec: { ...plain().spec, initContainers: [{ name: "own" }] } });
  expect(pod.spec.initContainers?.map(({ name }) => name)).toEqual([CONTAINER.init, CONTAINER.sidecar, "own"]);
});

test("an init container that another webhook put in front of ours is moved behind them", () => {
  const { pod } = inject(plain());
  const meddled = {
    ...pod,
    spec: { ...pod.spec, initContainers: [{ name: "early" }, ...(pod.spec.initContainers ?? [])] },
  };
  expect(inject(meddled).pod.spec.initContainers?.map(({ name }) => name)).toEqual([
    CONTAINER.init,
    CONTAINER.sidecar,
    "early",
  ]);
});

test("a stamp without our containers does not choose the uid", () => {
  const forged = { ...plain(), metadata: { annotations: { [ANNOTATION.proxyUid]: String(PROXY_UID.first) } } };
  const { pod, uid } = inject(forged);
  expect(uid).toBe(UID);
  expect(pod.metadata?.annotations?.[ANNOTATION.proxyUid]).toBe(String(UID));
});

test("a taken away init container is put back with the pod's own uid", () => {
  const { pod } = inject(plain());
  const without = { ...pod, spec: { ...pod.spec, initContainers: pod.spec.initContainers?.slice(1) } };
  const again = injectPod(without, OPTIONS, () => UID + 1);
  expect(again).toMatchObject({ kind: "injected", uid: UID, pod });
});

test.each([
  ["command", ["sh"]],
  ["args", ["--inspect"]],
  ["lifecycle", { postStart: { exec: { command: ["sh"] } } }],
  ["livenessProbe", { exec: { command: ["sh"] } }],
  ["image", "other:1"],
  ["restartPolicy", "Never"],
  ["envFrom", [{ secretRef: { name: "x" } }]],
  ["stdin", true],
  ["workingDir", "/work"],
  ["resizePolicy", [{ resourceName: "memory", restartPolicy: "RestartContainer" }]],
])("a sidecar with another %s is a look-alike", (member, value) => {
  const { pod } = inject(plain());
  const [init, sidecar] = pod.spec.initContainers ?? [];
  const changed = { ...pod, spec: { ...pod.spec, initContainers: [init, { ...sidecar, [member]: value }] } };
  expect(denials(changed).some((field) => field.startsWith(`spec.initContainers[1].${member}`))).toBe(true);
});

test("a sidecar with one variable or one mount more is a look-alike", () => {
  const { pod } = inject(plain());
  const [init, sidecar] = pod.spec.initContainers ?? [];
  const more = { ...sidecar, env: [...(sidecar?.env ?? []), { name: "NODE_EXTRA_CA_CERTS", value: "/x" }] };
  expect(denials({ ...pod, spec: { ...pod.spec, initContainers: [init, more] } })).toHaveLength(1);
  const mounted = {
    ...sidecar,
    volumeMounts: [...(sidecar?.volumeMounts ?? []), { name: "work", mountPath: "/work" }],
  };
  expect(denials({ ...pod, spec: { ...pod.spec, initContainers: [init, mounted] } })).toHaveLength(1);
});

test("what a LimitRange and the API server fill in is no difference", () => {
  const { pod } = inject(plain());
  const filled = pod.spec.initContainers?.map((container) => ({
    ...container,
    resizePolicy: [
      { resourceName: "cpu", restartPolicy: "NotRequired" },
      { resourceName: "memory", restartPolicy: "NotRequired" },
    ],
    resources: {
      ...container.resources,
      limits: { ...container.resources?.limits, cpu: "1", "ephemeral-storage": "1Gi" },
    },
  }));
  const again = injectPod({ ...pod, spec: { ...pod.spec, initContainers: filled } }, OPTIONS, () => UID);
  expect(again).toMatchObject({ kind: "injected", patch: [] });
});

test("THREATS P6: what a later Kubernetes invents is refused where it may be a privilege or a way out, and named", () => {
  const [app] = plain().spec.containers;
  const volumes = [
    { name: "a", image: { reference: "evil:1" } },
    { name: "b", projected: { sources: [{ podCertificate: { signerName: "a.b/c" } }] } },
    { name: "c", fromTomorrow: {} },
  ];
  const security = { fromTomorrow: true };
  const spec = { containers: [{ ...app, securityContext: security }], securityContext: security, volumes };
  const metadata = {
    annotations: { "io.kubernetes.cri-o.userns-mode": "auto", "team.example/io.kubernetes.cri-o.x": "" },
  };
  expect(denials({ metadata, spec }).toSorted()).toEqual([
    "metadata.annotations[io.kubernetes.cri-o.userns-mode]",
    "spec.containers[0].securityContext.fromTomorrow",
    "spec.securityContext.fromTomorrow",
    "spec.volumes[0].image",
    "spec.volumes[1].projected.sources[0].podCertificate",
    "spec.volumes[2].fromTomorrow",
  ]);
});

test("a second container of our name is refused", () => {
  const { pod } = inject(plain());
  const twice = {
    ...pod,
    spec: { ...pod.spec, initContainers: [...(pod.spec.initContainers ?? []), { name: CONTAINER.sidecar }] },
  };
  expect(denials(twice)).toEqual(["spec.initContainers[2].name"]);
});

test("another agent container does not get at the authority's key", () => {
  const { pod } = inject(plain());
  const [app] = pod.spec.containers;
  for (const mount of [
    { name: VOLUME.state, mountPath: "/k" },
    { name: VOLUME.state, mountPath: "/k", subPath: "x", readOnly: true },
    { name: VOLUME.token, mountPath: "/t", readOnly: true },
    { name: VOLUME.trust, mountPath: "/var/run/sidegate/trust" },
  ]) {
    const other = { name: "other", volumeMounts: [mount] };
    expect(denials({ ...pod, spec: { ...pod.spec, containers: [app, other] } })).toEqual([
      "spec.containers[1].volumeMounts[0].name",
    ]);
  }
});

test.each(["/var/run/sidegate", "/run/sidegate/trust", "/var/run/../run/sidegate/x", "//var/run/sidegate/"])(
  "%s cannot be mounted over",
  (mountPath) => {
    const pod = { spec: { containers: [{ name: "app", volumeMounts: [{ name: "w", mountPath }] }] } };
    expect(denials(pod)).toEqual(["spec.containers[0].volumeMounts[0].mountPath"]);
  },
);

const LOCALHOST = { type: "Localhost", localhostProfile: "sidegate/agent.json" } as const;

test("THREATS P6: with a profile of ours, every container of the author's gets it, and the gateway's own keep the runtime's", () => {
  const o = options({ seccomp: { type: "Localhost" } });
  const { pod } = inject(
    {
      spec: {
        securityContext: { seccompProfile: { type: "RuntimeDefault" } },
        initContainers: [
          { name: "first", securityContext: { seccompProfile: { type: "RuntimeDefault" } } },
          { name: "native", restartPolicy: "Always" },
        ],
        containers: [{ name: "app" }, { name: "second", securityContext: { seccompProfile: LOCALHOST } }],
      },
    },
    o,
  );
  const profiles = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(({ name, securityContext }) => [
    name,
    securityContext?.seccompProfile,
  ]);
  expect(profiles).toEqual([
    [CONTAINER.init, { type: "RuntimeDefault" }],
    [CONTAINER.sidecar, { type: "RuntimeDefault" }],
    ...["first", "native", "app", "second"].map((name) => [name, LOCALHOST]),
  ]);
  expect(injectPod(pod, o, () => UID + 1)).toMatchObject({ kind: "injected", patch: [] });
  expect(brokenInvariants(pod, o)).toEqual([]);
});

test("THREATS P6: no author chooses another profile, at the pod or at a container, nor ours where it is not given", () => {
  const ours = options({ seccomp: { type: "Localhost" } });
  const others = [
    { type: "Unconfined" },
    { type: "Localhost", localhostProfile: "mine.json" },
    { type: "Localhost" },
    { type: "Localhost", localhostProfile: "sidegate/../mine.json" },
    { type: "Later" },
  ];
  for (const o of [OPTIONS, ours])
    for (const seccompProfile of [...others, ...(o === OPTIONS ? [LOCALHOST] : [])]) {
      const { spec } = plain();
      const securityContext = { seccompProfile };
      expect(denials({ spec: { ...spec, securityContext } }, o)).toEqual(["spec.securityContext.seccompProfile.type"]);
      for (const list of ["initContainers", "ephemeralContainers"])
        expect(denials({ spec: { ...spec, [list]: [{ name: "x", securityContext }] } }, o)).toEqual([
          `spec.${list}[0].securityContext.seccompProfile.type`,
        ]);
    }
});

test("a pod from before the profile was asked for is told apart from one that has it", () => {
  const ours = options({ seccomp: { type: "Localhost" } });
  expect(brokenInvariants(inject(plain()).pod, ours).map(({ field }) => field)).toEqual([
    "spec.containers[0].securityContext.seccompProfile.type",
    "spec.containers[0].securityContext.seccompProfile.localhostProfile",
  ]);
  expect(brokenInvariants(inject(plain(), ours).pod, OPTIONS).map(({ field }) => field)).toEqual([
    "spec.containers[0].securityContext.seccompProfile.type",
  ]);
});

test("a token that is still mounted elsewhere stays, and is reported", () => {
  const token = { name: "kube-api-access-abcde", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } };
  const container = {
    name: "app",
    volumeMounts: [
      { name: token.name, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
      { name: token.name, mountPath: "/second" },
    ],
  };
  const { pod, foreign } = inject({ spec: { containers: [container], volumes: [token] } });
  expect(foreign).toEqual(["volume:kube-api-access-abcde:token:kubernetes"]);
  expect(pod.spec.volumes?.map(({ name }) => name)).toContain(token.name);
});

test("no credential's value stands in patch, warnings or annotation", () => {
  const env = [{ name: "OPENAI_API_KEY", value: "the-value-itself" }];
  const injection = inject({ spec: { containers: [{ name: "app", env }] } });
  expect(injection.foreign).toEqual(["app:env:OPENAI_API_KEY"]);
  expect(JSON.stringify([injection.warnings, injection.pod.metadata])).not.toContain("the-value-itself");
});

test("a member that is null counts as absent", () => {
  expect(
    inject({ metadata: { annotations: null }, spec: { ...plain().spec, volumes: null, initContainers: null } }).uid,
  ).toBe(UID);
});

test.each([
  [null],
  [3],
  ["pod"],
  [[]],
  [{}],
  [{ spec: {} }],
  [{ spec: { containers: [] } }],
  [{ spec: { containers: [null] } }],
])("%j is no pod", (value) => {
  expect(denials(value).length).toBeGreaterThan(0);
});

test("an injected pod keeps its invariants, a plain one has none", () => {
  expect(brokenInvariants(inject(plain()).pod, OPTIONS)).toEqual([]);
  expect(brokenInvariants(plain(), OPTIONS).map(({ field }) => field)).toEqual(["spec.initContainers"]);
});

test("what was taken from a running pod's agent is named", () => {
  const { pod } = inject(plain());
  const [app] = pod.spec.containers;
  const loosened = { ...pod, spec: { ...pod.spec, containers: [{ ...app, securityContext: {} }] } };
  expect(brokenInvariants(loosened, OPTIONS).map(({ field }) => field)).toEqual([
    "spec.containers[0].securityContext.allowPrivilegeEscalation",
    "spec.containers[0].securityContext.capabilities",
    "spec.containers[0].securityContext.seccompProfile",
  ]);
});

const name = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const some = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });
const env = fc.array(
  fc.oneof(
    fc.record({
      name: fc.constantFrom("A", "SSL_CERT_FILE", "JAVA_TOOL_OPTIONS", "NODE_EXTRA_CA_CERTS", "API_KEY"),
      value: fc.string(),
    }),
    fc.record({
      name: fc.constantFrom("B", "SSL_CERT_FILE", "JAVA_TOOL_OPTIONS"),
      valueFrom: fc.constantFrom(
        { secretKeyRef: { name: "s", key: "k" } },
        { fieldRef: { fieldPath: "metadata.name" } },
      ),
    }),
  ),
  { maxLength: 4 },
);
// Every second pod asks for something that is refused.
const mount = (hostile: boolean) =>
  fc.record(
    {
      name: fc.constantFrom("v1", "v2", "v3", ...(hostile ? [VOLUME.trust, VOLUME.state] : [])),
      mountPath: fc.constantFrom(
        "/data",
        "/etc/ssl/certs",
        "/etc",
        "/run/secrets",
        "/var/run/secrets/kubernetes.io/serviceaccount",
        ...(hostile ? ["/var/run", "/var/run/sidegate/trust"] : []),
      ),
      readOnly: fc.boolean(),
      subPath: fc.constantFrom("a", "b"),
    },
    { requiredKeys: ["name", "mountPath"] },
  );
const security = (hostile: boolean) =>
  fc.record(
    {
      runAsUser: fc.constantFrom(0, 1000, 2_000_000_000, ...(hostile ? [UID] : [])),
      allowPrivilegeEscalation: fc.boolean(),
      privileged: fc.constantFrom(false, hostile),
      seccompProfile: fc.constantFrom({ type: "RuntimeDefault" }, { type: hostile ? "Unconfined" : "RuntimeDefault" }),
      capabilities: fc.constantFrom({ drop: ["NET_RAW"] }, {}, { add: [] }, { add: hostile ? ["NET_ADMIN"] : [] }),
    },
    { requiredKeys: [] },
  );
const container = (hostile: boolean) =>
  fc.record({
    name,
    image: fc.constantFrom("a:1", "b:2"),
    env: some(env),
    ports: some(
      fc.array(
        fc.record({
          containerPort: fc.constantFrom(80, hostile ? 15_890 : 8080),
          protocol: fc.constantFrom("TCP", "UDP"),
        }),
        { maxLength: 2 },
      ),
    ),
    volumeMounts: some(fc.uniqueArray(mount(hostile), { selector: (m) => m.mountPath, maxLength: 3 })),
    securityContext: some(security(hostile)),
    readinessProbe: some(fc.constant({ httpGet: { port: 9090 } })),
  });
const containers = (hostile: boolean, minLength: number) =>
  fc.uniqueArray(container(hostile), { selector: (c) => c.name, minLength, maxLength: 3 });
const annotation = fc.constantFrom("a/b", ANNOTATION.proxyUid, ANNOTATION.foreignCredentials, ANNOTATION.inboundPorts);
const pods = fc.boolean().chain((hostile) =>
  fc.record({
    metadata: some(fc.record({ annotations: some(fc.dictionary(annotation, fc.constantFrom("", "8080"))) })),
    spec: fc.record({
      containers: containers(hostile, 1),
      initContainers: some(containers(hostile, 0)),
      volumes: fc.constantFrom(
        [],
        [
          { name: "v1", emptyDir: {} },
          { name: "v2", configMap: { name: "c" } },
          { name: "v3", secret: { secretName: "s" } },
        ],
        [
          { name: "v1", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
          { name: "v2", emptyDir: {} },
        ],
      ),
      automountServiceAccountToken: some(fc.boolean()),
      imagePullSecrets: some(fc.constant([{ name: "mine" }])),
    }),
  }),
);

/** As it comes over the wire: without members that are undefined. */
const wire = (value: unknown): Pod => JSON.parse(JSON.stringify(value)) as Pod;

test("injecting what was injected changes nothing, and the patch leads there", { timeout: 60_000 }, () => {
  let injected = 0;
  const more = options({
    imagePullSecrets: ["pull"],
    limitRange: { min: { cpu: "100m" }, max: { cpu: "1" } },
    seccomp: { type: "Localhost", localhostProfile: "other/agent.json" },
  });
  fc.assert(
    fc.property(pods, fc.boolean(), (generated, changed) => {
      const o = changed ? more : OPTIONS;
      const pod = wire(generated);
      const first = injectPod(pod, o, () => UID);
      if (first.kind === "denied") return;
      injected++;
      const patched = structuredClone(pod);
      expect(applyPatch(patched, structuredClone(first.patch) as never).filter((fault) => fault !== null)).toEqual([]);
      expect(patched).toEqual(wire(first.pod));
      const second = injectPod(patched, o, () => UID + 1);
      expect(second).toMatchObject({ kind: "injected", patch: [], uid: UID });
      expect(brokenInvariants(patched, o)).toEqual([]);
    }),
    { numRuns: 400 },
  );
  expect(injected).toBeGreaterThan(100);
});

test("no injected pod has a container that could act as the proxy", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(pods, (generated) => {
      const injection = injectPod(wire(generated), OPTIONS, () => UID);
      if (injection.kind === "denied") return;
      for (const { name: who, securityContext, volumeMounts } of [
        ...injection.pod.spec.containers,
        ...(injection.pod.spec.initContainers ?? []).slice(2),
      ]) {
        expect(securityContext, who).toMatchObject({
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
        });
        expect(securityContext?.capabilities?.add).toBeUndefined();
        expect(securityContext?.privileged).not.toBe(true);
        expect(securityContext?.runAsUser).not.toBe(UID);
        for (const { name: volume, readOnly } of volumeMounts ?? []) {
          expect([VOLUME.state, VOLUME.token]).not.toContain(volume);
          expect(volume !== VOLUME.trust || readOnly === true).toBe(true);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("an author's own Java store stays where it is, with a warning", () => {
  const volumeMounts = [{ name: "mine", mountPath: "/etc/ssl/certs/java/cacerts", subPath: "store" }];
  const { pod, warnings } = inject({
    spec: {
      containers: [{ name: "app", image: "a:1", volumeMounts }],
      volumes: [{ name: "mine", secret: { secretName: "s" } }],
    },
  });
  const at = (pod.spec.containers[0]?.volumeMounts ?? []).filter(({ mountPath }) => mountPath.endsWith("java/cacerts"));
  expect(at.map(({ name }) => name)).toEqual(["mine", VOLUME.trust]);
  expect(warnings.map(({ field }) => field)).toContain("spec.containers[0].volumeMounts[/etc/ssl/certs/java/cacerts]");
});
