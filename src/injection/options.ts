/**
 * What the cluster's administrator decides about injected pods: one frozen value, the same for webhook, drift check and command
 * line. It is read from untrusted text (a file, chart values); everything wrong in it is reported together.
 */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { MeshSchema, meshFaults } from "./mesh-options.ts";
import { parseQuantity } from "./quantity.ts";
import type { Violation } from "./violation.ts";

const strict = { additionalProperties: false } as const;
const text = Type.String();
const quantities = Type.Record(Type.String(), Type.String());

export const ResourcesSchema = Type.Object(
  { requests: Type.Optional(quantities), limits: Type.Optional(quantities) },
  strict,
);
export type Resources = Static<typeof ResourcesSchema>;

/** One item of a LimitRange's `spec.limits`, of type Container. */
export const LimitRangeSchema = Type.Object({
  min: Type.Optional(quantities),
  max: Type.Optional(quantities),
  default: Type.Optional(quantities),
  defaultRequest: Type.Optional(quantities),
  maxLimitRequestRatio: Type.Optional(quantities),
});
export type ContainerLimitRange = Static<typeof LimitRangeSchema>;

/** Folders and a file, none of them hidden, none of them `..`. */
const SECCOMP_FILE = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

const OptionsSchema = Type.Object(
  {
    image: Type.String({ minLength: 1, maxLength: 1024, description: "The proxy image; by digest in production." }),
    imagePullPolicy: Type.Enum(["IfNotPresent", "Always", "Never"]),
    imagePullSecrets: Type.Array(text, { maxItems: 16 }),
    dataplane: Type.Enum(["auto", "nft", "iptables"]),
    cluster: Type.String({ maxLength: 253, description: "This cluster's name in the record." }),
    tier: Type.Enum(["enforced", "locked"]),
    collector: Type.Object(
      { url: Type.String({ pattern: "^https?://" }), ca: Type.String({ description: "PEM, or empty." }) },
      strict,
    ),
    bundle: Type.Object(
      {
        url: Type.String({ description: "https://… of a bundle server; empty with `configMap`." }),
        configMap: Type.String({ description: "A ConfigMap of the pod's namespace with `bundle.tar.gz`; or empty." }),
        publicKey: Type.String({ description: "PEM of the key that signs bundles." }),
        keyId: Type.String({ description: "The key's id in a bundle's signature." }),
        scope: Type.String({ description: "The scope that a bundle's signature must name." }),
      },
      strict,
    ),
    resolvers: Type.Array(text, { maxItems: 8, description: "address or address:port of the cluster's resolvers." }),
    resources: Type.Object({ init: ResourcesSchema, sidecar: ResourcesSchema }, strict),
    resourceBounds: Type.Object(
      { min: quantities, max: quantities },
      {
        ...strict,
        description: "What a pod's annotation `sidegate.dev/resources` may ask for, by `cpu` and `memory`.",
      },
    ),
    limitRange: Type.Union([LimitRangeSchema, Type.Null()]),
    stateSize: text,
    trustSize: text,
    runtimeClasses: Type.Array(text, { maxItems: 64, description: "RuntimeClasses that isolate as runc does." }),
    seccomp: Type.Object(
      {
        type: Type.Enum(["RuntimeDefault", "Localhost"]),
        localhostProfile: Type.String({
          // The kubelet joins it to its folder and refuses what leads out of it (core/v1 SeccompProfile).
          pattern: SECCOMP_FILE.source,
          maxLength: 253,
          description: "With type Localhost: the file below the kubelet's folder of profiles, on every node of agents.",
        }),
      },
      { ...strict, description: "The seccomp profile of agents' containers." },
    ),
    devices: Type.Array(text, { maxItems: 64, description: "Extended resources that open no network." }),
    silenceTelemetry: Type.Boolean({
      description: "Whether frameworks whose telemetry hosts no target names are told so, by their own variables.",
    }),
    environment: Type.Record(text, text, {
      description: "Set in agents' containers where they have no such variable.",
    }),
    deployers: Type.Array(text, {
      maxItems: 64,
      description:
        "Accounts that deploy for others (a GitOps controller): no persons, and the only ones who name an owner.",
    }),
    exemptions: Type.Array(
      Type.Object(
        {
          namespace: text,
          serviceAccount: text,
          reason: text,
          until: Type.String({ pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description: "The last day, UTC." }),
        },
        strict,
      ),
      { maxItems: 64, description: "Pods that run without the gateway although their namespace has opted in." },
    ),
    mesh: Type.Union([MeshSchema, Type.Null()], {
      description: "A mesh whose proxy may be in the same pod, behind ours; null: each is refused by name.",
    }),
    excludedNamespaces: Type.Array(text, {
      description: "Namespaces that no webhook and no admission policy looks at.",
    }),
  },
  strict,
);
export type InjectionOptions = Readonly<Static<typeof OptionsSchema>>;

const validator = Compile(OptionsSchema);

/** What holds where nobody says otherwise. An image, a collector and a bundle have no default that could be right. */
export const DEFAULT_OPTIONS = {
  imagePullPolicy: "IfNotPresent",
  imagePullSecrets: [],
  dataplane: "auto",
  cluster: "default",
  tier: "enforced",
  resolvers: [],
  resources: {
    init: { requests: { cpu: "20m", memory: "48Mi" }, limits: { memory: "128Mi" } },
    sidecar: { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "256Mi" } },
  },
  resourceBounds: { min: { cpu: "10m", memory: "64Mi" }, max: { cpu: "2", memory: "1Gi" } },
  limitRange: null,
  stateSize: "64Mi",
  trustSize: "8Mi",
  runtimeClasses: [],
  seccomp: { type: "RuntimeDefault", localhostProfile: "sidegate/agent.json" },
  devices: [],
  silenceTelemetry: true,
  environment: {},
  deployers: [],
  exemptions: [],
  mesh: null,
  excludedNamespaces: ["kube-system", "kube-public", "kube-node-lease"],
} as const satisfies Partial<InjectionOptions>;

const DEFAULT_BUNDLE = { url: "", configMap: "", keyId: "sidegate", scope: "sidegate" } as const;

export type OptionsReading =
  | { readonly kind: "options"; readonly options: InjectionOptions }
  | { readonly kind: "malformed"; readonly violations: readonly Violation[] };

/** `value`: parsed JSON or YAML; members that it leaves out come from `DEFAULT_OPTIONS`. */
export function readOptions(value: unknown): OptionsReading {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { kind: "malformed", violations: [{ field: "options", message: "must be an object" }] };
  const given = value as Readonly<Record<string, unknown>>;
  const bundle = { ...DEFAULT_BUNDLE, ...(given["bundle"] as object | undefined) };
  const seccomp = { ...DEFAULT_OPTIONS.seccomp, ...(given["seccomp"] as object | undefined) };
  const merged: unknown = structuredClone({ ...DEFAULT_OPTIONS, ...given, bundle, seccomp });
  if (!validator.Check(merged)) return { kind: "malformed", violations: schemaFaults(merged) };
  const violations = quantityFaults(merged);
  if (merged.bundle.url !== "" && merged.bundle.configMap !== "")
    violations.push({ field: "bundle", message: "url and configMap exclude each other" });
  if (merged.mesh !== null) violations.push(...meshFaults(merged.mesh));
  if (violations.length > 0) return { kind: "malformed", violations };
  return { kind: "options", options: deepFreeze(merged) };
}

/** An unknown member is told once, by its own name. */
function schemaFaults(value: unknown): Violation[] {
  return validator
    .Errors(value)
    .filter(({ keyword }) => keyword !== "additionalProperties")
    .slice(0, 20)
    .map(({ keyword, instancePath, message }) => ({
      field: instancePath.slice(1).replaceAll("/", ".") || "options",
      message: keyword === "boolean" ? "is not known" : message,
    }));
}

function quantityFaults(options: InjectionOptions): Violation[] {
  const { init, sidecar } = options.resources;
  const maps: Record<string, Readonly<Record<string, string>> | undefined> = {
    "resources.init.requests": init.requests,
    "resources.init.limits": init.limits,
    "resources.sidecar.requests": sidecar.requests,
    "resources.sidecar.limits": sidecar.limits,
    "resourceBounds.min": options.resourceBounds.min,
    "resourceBounds.max": options.resourceBounds.max,
    "limitRange.min": options.limitRange?.min,
    "limitRange.max": options.limitRange?.max,
    "limitRange.default": options.limitRange?.default,
    "limitRange.defaultRequest": options.limitRange?.defaultRequest,
    "limitRange.maxLimitRequestRatio": options.limitRange?.maxLimitRequestRatio,
    "": { stateSize: options.stateSize, trustSize: options.trustSize },
  };
  return Object.entries(maps).flatMap(([path, map]) =>
    Object.entries(map ?? {})
      .filter(([, quantity]) => (parseQuantity(quantity) ?? 0) <= 0)
      .map(([name, quantity]) => ({
        field: path === "" ? name : `${path}.${name}`,
        message: `${JSON.stringify(quantity)} is no positive quantity`,
      })),
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
