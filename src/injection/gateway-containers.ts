/**
 * Our own two containers and their volumes, written out with every default that the API server would add, so that what runs can be
 * compared with what was injected, field by field.
 */
import { ADMIN_PORT, CONTAINER, PATHS, TOKEN_AUDIENCE, VOLUME } from "#contract/names.ts";
import { BUNDLE_MOUNT, POD_FILES, PROXY_COMMAND, PROXY_ENV } from "#contract/proxy-environment.ts";
import { type MeshOptions, meshText } from "./mesh-options.ts";
import type { InjectionOptions, Resources } from "./options.ts";
import type { Container, Volume } from "./pod.ts";

/** What differs from pod to pod. */
export interface GatewayParts {
  readonly uid: number;
  readonly inbound: readonly number[];
  /** Whose proxy is in this pod; absent: nobody's. */
  readonly mesh?: MeshOptions | null;
  readonly resources: { readonly init: Resources; readonly sidecar: Resources };
}

/** The kubelet renews at 80 % of this, and at the latest after a day; its own minimum is 600. */
const TOKEN_SECONDS = 3600;
/** Octal 0644, as JSON has to say it. */
const FILE_MODE = 420;

const COMMON = {
  terminationMessagePath: "/dev/termination-log",
  terminationMessagePolicy: "File",
} as const;

const SECURITY = {
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: true,
  procMount: "Default",
  seccompProfile: { type: "RuntimeDefault" },
} as const;

/** Writes the rules, proves them, and ends: NET_ADMIN for as long as that takes, and only there. */
export function initContainer(parts: GatewayParts, options: InjectionOptions): Container {
  return ours({
    name: CONTAINER.init,
    image: options.image,
    imagePullPolicy: options.imagePullPolicy,
    command: [...PROXY_COMMAND.init],
    env: environment({
      NODE_OPTIONS: "",
      [PROXY_ENV.uid]: String(parts.uid),
      [PROXY_ENV.dataplane]: options.dataplane,
      [PROXY_ENV.inbound]: parts.inbound.join(","),
      [PROXY_ENV.mesh]: meshText(parts.mesh ?? null),
    }),
    resources: parts.resources.init,
    securityContext: {
      ...SECURITY,
      capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] },
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
    },
    ...COMMON,
  });
}

/** The data plane: a native sidecar, so it starts before every other container and ends after them. */
export function sidecarContainer(parts: GatewayParts, options: InjectionOptions): Container {
  const { collector, bundle } = options;
  const fromFile = bundle.configMap !== "";
  return ours({
    name: CONTAINER.sidecar,
    image: options.image,
    imagePullPolicy: options.imagePullPolicy,
    command: [...PROXY_COMMAND.sidecar],
    restartPolicy: "Always",
    env: [
      ...environment({
        NODE_OPTIONS: "",
        [PROXY_ENV.cluster]: options.cluster,
        [PROXY_ENV.tier]: options.tier,
        [PROXY_ENV.collector]: collector.url,
        [PROXY_ENV.collectorCa]: collector.ca,
        [PROXY_ENV.bundle]: fromFile ? `${BUNDLE_MOUNT}/bundle.tar.gz` : bundle.url,
        [PROXY_ENV.bundleKey]: bundle.publicKey,
        [PROXY_ENV.bundleKeyId]: bundle.keyId,
        [PROXY_ENV.bundleScope]: bundle.scope,
        [PROXY_ENV.resolvers]: options.resolvers.join(","),
      }),
      field(PROXY_ENV.namespace, "metadata.namespace"),
      field(PROXY_ENV.pod, "metadata.name"),
      field(PROXY_ENV.podUid, "metadata.uid"),
      field(PROXY_ENV.podAddresses, "status.podIPs"),
      field(PROXY_ENV.node, "spec.nodeName"),
      field(PROXY_ENV.account, "spec.serviceAccountName"),
    ],
    resources: parts.resources.sidecar,
    startupProbe: {
      httpGet: { path: "/ready", port: ADMIN_PORT, scheme: "HTTP" },
      periodSeconds: 1,
      timeoutSeconds: 1,
      successThreshold: 1,
      failureThreshold: 300,
    },
    securityContext: {
      ...SECURITY,
      capabilities: { drop: ["ALL"] },
      runAsUser: parts.uid,
      runAsGroup: parts.uid,
      runAsNonRoot: true,
    },
    volumeMounts: [
      { name: VOLUME.state, mountPath: PATHS.state },
      { name: VOLUME.trust, mountPath: PATHS.trust },
      { name: VOLUME.token, mountPath: PATHS.token.slice(0, PATHS.token.lastIndexOf("/")), readOnly: true },
      ...(fromFile ? [{ name: VOLUME.bundle, mountPath: BUNDLE_MOUNT, readOnly: true }] : []),
    ],
    ...COMMON,
  });
}

export function gatewayVolumes(options: InjectionOptions): Volume[] {
  const volumes: Written[] = [
    { name: VOLUME.trust, emptyDir: { medium: "Memory", sizeLimit: options.trustSize } },
    { name: VOLUME.state, emptyDir: { medium: "Memory", sizeLimit: options.stateSize } },
    {
      name: VOLUME.token,
      projected: {
        defaultMode: FILE_MODE,
        sources: [
          { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_SECONDS, path: "token" } },
          {
            downwardAPI: {
              items: [item(POD_FILES.labels, "metadata.labels"), item(POD_FILES.annotations, "metadata.annotations")],
            },
          },
        ],
      },
    },
    {
      name: VOLUME.account,
      projected: {
        defaultMode: FILE_MODE,
        sources: [{ downwardAPI: { items: [item("namespace", "metadata.namespace")] } }],
      },
    },
  ];
  if (options.bundle.configMap !== "")
    volumes.push({ name: VOLUME.bundle, configMap: { name: options.bundle.configMap, defaultMode: FILE_MODE } });
  return volumes;
}

/** The pod schema names only what injection reads of an author's containers and volumes; ours have more members. */
interface Written {
  readonly name: string;
  readonly [member: string]: unknown;
}

function ours(container: Written): Container {
  return container;
}

/** The API server leaves out an empty value, and so do we. */
function environment(values: Readonly<Record<string, string>>): { name: string; value?: string }[] {
  return Object.entries(values).map(([name, value]) => (value === "" ? { name } : { name, value }));
}

function field(name: string, fieldPath: string): { name: string; valueFrom: object } {
  return { name, valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } } };
}

function item(path: string, fieldPath: string): object {
  return { path, fieldRef: { apiVersion: "v1", fieldPath } };
}
