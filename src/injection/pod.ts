/**
 * The part of a Kubernetes Pod (core/v1) that injection reads, as a schema: one source for the types and for the check of what a
 * person wrote in a file. Members that are not named here are carried along untouched.
 *
 * Fails closed: a member that has another type than Kubernetes gives it is a violation that names it, never a guess.
 */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Violation } from "./violation.ts";

const text = Type.String();
const int = Type.Integer();
const bool = Type.Boolean();
const optional = Type.Optional;
const stringMap = Type.Record(text, text);
const anything = Type.Object({});

const Port = Type.Union([int, text]);
/** `httpGet` and `tcpSocket` of probes and of lifecycle handlers; `grpc` of probes. */
const Handler = Type.Object({
  httpGet: optional(Type.Object({ host: optional(text), port: Port })),
  tcpSocket: optional(Type.Object({ host: optional(text), port: Port })),
  grpc: optional(Type.Object({ port: int })),
  exec: optional(anything),
});

const Profile = Type.Object({ type: optional(text), localhostProfile: optional(text) });
const ContainerSecurity = Type.Object({
  privileged: optional(bool),
  allowPrivilegeEscalation: optional(bool),
  capabilities: optional(Type.Object({ add: optional(Type.Array(text)), drop: optional(Type.Array(text)) })),
  procMount: optional(text),
  runAsUser: optional(int),
  runAsGroup: optional(int),
  runAsNonRoot: optional(bool),
  readOnlyRootFilesystem: optional(bool),
  seccompProfile: optional(Profile),
  appArmorProfile: optional(Profile),
  seLinuxOptions: optional(stringMap),
  windowsOptions: optional(anything),
});

const KeyRef = Type.Object({ name: optional(text), key: optional(text) });
const Env = Type.Object({
  name: text,
  value: optional(text),
  valueFrom: optional(Type.Object({ secretKeyRef: optional(KeyRef) })),
});
const VolumeMount = Type.Object({
  name: text,
  mountPath: text,
  subPath: optional(text),
  subPathExpr: optional(text),
  readOnly: optional(bool),
});
const Quantities = Type.Record(text, Type.Union([text, Type.Number()]));

export const ContainerSchema = Type.Object({
  name: text,
  image: optional(text),
  env: optional(Type.Array(Env)),
  envFrom: optional(Type.Array(Type.Object({ secretRef: optional(Type.Object({ name: optional(text) })) }))),
  ports: optional(
    Type.Array(
      Type.Object({ name: optional(text), containerPort: int, hostPort: optional(int), protocol: optional(text) }),
    ),
  ),
  resources: optional(
    Type.Object({
      requests: optional(Quantities),
      limits: optional(Quantities),
      claims: optional(Type.Array(anything)),
    }),
  ),
  securityContext: optional(ContainerSecurity),
  volumeMounts: optional(Type.Array(VolumeMount)),
  volumeDevices: optional(Type.Array(anything)),
  livenessProbe: optional(Handler),
  readinessProbe: optional(Handler),
  startupProbe: optional(Handler),
  lifecycle: optional(Type.Object({ postStart: optional(Handler), preStop: optional(Handler) })),
  restartPolicy: optional(text),
  targetContainerName: optional(text),
});
export type Container = Static<typeof ContainerSchema>;

export const VolumeSchema = Type.Object({
  name: text,
  secret: optional(Type.Object({ secretName: optional(text) })),
  projected: optional(
    Type.Object({
      sources: optional(
        Type.Array(
          Type.Object({
            serviceAccountToken: optional(Type.Object({ audience: optional(text), path: optional(text) })),
            secret: optional(Type.Object({ name: optional(text) })),
          }),
        ),
      ),
    }),
  ),
});
export type Volume = Static<typeof VolumeSchema>;

const PodSecurity = Type.Object({
  runAsUser: optional(int),
  runAsNonRoot: optional(bool),
  seccompProfile: optional(Profile),
  appArmorProfile: optional(Profile),
  seLinuxOptions: optional(stringMap),
  sysctls: optional(Type.Array(anything)),
  windowsOptions: optional(anything),
});

const PodSpecSchema = Type.Object({
  containers: Type.Array(ContainerSchema, { minItems: 1 }),
  initContainers: optional(Type.Array(ContainerSchema)),
  ephemeralContainers: optional(Type.Array(ContainerSchema)),
  volumes: optional(Type.Array(VolumeSchema)),
  securityContext: optional(PodSecurity),
  serviceAccountName: optional(text),
  automountServiceAccountToken: optional(bool),
  imagePullSecrets: optional(Type.Array(Type.Object({ name: optional(text) }))),
  hostNetwork: optional(bool),
  hostPID: optional(bool),
  hostIPC: optional(bool),
  hostUsers: optional(bool),
  shareProcessNamespace: optional(bool),
  runtimeClassName: optional(text),
  resourceClaims: optional(Type.Array(anything)),
  os: optional(Type.Object({ name: optional(text) })),
  nodeSelector: optional(stringMap),
  dnsPolicy: optional(text),
  dnsConfig: optional(anything),
  hostAliases: optional(Type.Array(anything)),
});
export type PodSpec = Static<typeof PodSpecSchema>;

export const PodSchema = Type.Object({
  metadata: optional(
    Type.Object({
      name: optional(text),
      generateName: optional(text),
      namespace: optional(text),
      labels: optional(stringMap),
      annotations: optional(stringMap),
    }),
  ),
  spec: PodSpecSchema,
});
/** A pod, or a workload's pod template: the two have the same `metadata` and `spec`. */
export type Pod = Static<typeof PodSchema>;

const validator = Compile(PodSchema);

/** Our own cap: Kubernetes has none, but a request body ends at 3 MiB. More containers than this is no agent. */
const MAX_CONTAINERS = 128;

export type PodReading =
  | { readonly kind: "pod"; readonly pod: Pod }
  | { readonly kind: "malformed"; readonly violations: readonly Violation[] };

/** `value`: parsed JSON or YAML. Members with the value null count as absent, as Kubernetes reads them. */
export function readPod(value: unknown): PodReading {
  const pod = withoutNulls(value);
  if (!validator.Check(pod)) {
    const faults = validator.Errors(pod).slice(0, 10);
    return {
      kind: "malformed",
      violations: faults.map((fault) => ({
        field: fieldOf(fault.instancePath),
        message: `${fault.message}, as Kubernetes defines a Pod`,
      })),
    };
  }
  const spec = pod.spec;
  const count = spec.containers.length + (spec.initContainers?.length ?? 0) + (spec.ephemeralContainers?.length ?? 0);
  if (count > MAX_CONTAINERS)
    return {
      kind: "malformed",
      violations: [{ field: "spec.containers", message: `more than ${MAX_CONTAINERS} containers` }],
    };
  return { kind: "pod", pod };
}

/** The same object where nothing in it is null, which is nearly always: so nothing is copied before something is found. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    let items: unknown[] | null = null;
    for (let index = 0; index < value.length; index++) {
      const item: unknown = value[index];
      const kept = withoutNulls(item);
      if (kept !== item) (items ??= [...(value as unknown[])])[index] = kept;
    }
    return items ?? value;
  }
  const members = value as Readonly<Record<string, unknown>>;
  let same = true;
  for (const key of Object.keys(members)) {
    const member = members[key];
    same = member !== null && withoutNulls(member) === member;
    if (!same) break;
  }
  if (same) return value;
  const kept = Object.entries(members).filter(([, member]) => member !== null);
  return Object.fromEntries(kept.map(([key, member]) => [key, withoutNulls(member)]));
}

/** `/spec/containers/0/name` as people write it: `spec.containers[0].name`. */
function fieldOf(pointer: string): string {
  const path = pointer
    .split("/")
    .slice(1)
    .map((token) => (/^\d+$/.test(token) ? `[${token}]` : `.${token}`))
    .join("");
  return path.replace(/^\./, "") || "pod";
}
