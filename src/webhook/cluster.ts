/**
 * What the webhook has of the control plane: its certificate out of the one Secret (made, renewed and taken over while it runs), and
 * the injection options completed with what is only known at run time. Stand-alone, both come from files alone.
 *
 * Errs towards refusing: while something is missing, options throw, and a review that needs them is answered with a refusal.
 */
import path from "node:path";
import { CONTROL_ENV, CONTROL_OBJECT, CONTROL_SERVICE, NAMESPACE_LABEL } from "#contract/control-environment.ts";
import type { Clock } from "#core/clock.ts";
import { completeOptions, optionsFor, type RuntimeData } from "#injection/complete-options.ts";
import { containerRange, mergeRanges } from "#injection/limit-range.ts";
import type { ContainerLimitRange, InjectionOptions } from "#injection/options.ts";
import { NOBODY } from "#injection/people.ts";
import { refusingLevel } from "#injection/pod-security.ts";
import { namesHost, silencing } from "#injection/telemetry.ts";
import { fileAccess, podAccess } from "#kube/access.ts";
import { type AccessQuestion, mayAccess } from "#kube/access-review.ts";
import { startCache } from "#kube/cache.ts";
import { keepCertificates } from "#kube/certificate-keeper.ts";
import { createKube } from "#kube/client.ts";
import { createTell } from "#kube/events.ts";
import type { KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { servingNames } from "#kube/serving-names.ts";
import { absolutePath, type Config, list, oneOf, setting, text } from "#process/config.ts";
import { pollFiles } from "#process/polled-files.ts";
import { type Behind, createBehind } from "./behind.ts";
import { readCertificate, type ServingCertificate } from "./certificate.ts";
import { createOwnerEvents, type OwnerEvents } from "./owner-events.ts";

export interface Side {
  /** What is served now. */
  certificate(): ServingCertificate;
  /** As the pods of this namespace have them. Throws while they are not complete. */
  options(namespace: string): InjectionOptions;
  ready(): boolean;
  /** Who stands behind a pod that a controller makes. */
  readonly behind: Behind;
  /** Whether the namespace has opted in as a whole. */
  optedIn(namespace: string): boolean;
  readonly ownerEvents: OwnerEvents;
  /** Pod Security's level of the namespace that refuses our init container. */
  podSecurity(namespace: string): "" | "baseline" | "restricted";
  /** Whether a user may do something, as the API server says; null: there is none to ask. */
  readonly may: ((question: AccessQuestion) => Promise<boolean>) | null;
}

/** Settings of a webhook that has an API server to ask. */
export const CLUSTER_SHAPE = {
  namespace: setting(CONTROL_ENV.namespace, text({ maxLength: 63 }), { fallback: "" }),
  kubeconfig: setting(CONTROL_ENV.kubeconfig, absolutePath(), { fallback: "" }),
  apiHost: setting("KUBERNETES_SERVICE_HOST", text(), { fallback: "" }),
  apiPort: setting("KUBERNETES_SERVICE_PORT", text(), { fallback: "443" }),
  names: setting(CONTROL_ENV.names, list(text(), 16), { fallback: [] }),
  certificatesBy: setting<"self" | "secret">(CONTROL_ENV.certificatesBy, oneOf("self", "secret"), { fallback: "self" }),
  credentialNamespaces: setting(CONTROL_ENV.credentialNamespaces, list(text(), 1_000), { fallback: [] }),
  opa: setting(CONTROL_ENV.opa, absolutePath(), { fallback: "/usr/local/bin/opa" }),
} as const;

export interface SideOptions {
  readonly clock: Clock;
  /** As the file has them. */
  readonly injection: () => InjectionOptions;
  readonly onCertificate: (next: ServingCertificate) => void;
  readonly onFault: (what: string, fault: unknown) => void;
}

const CERTIFICATES_EVERY_MS = 5_000;
const FILES_EVERY_MS = 10_000;
const MAX_NAMESPACES = 20_000;
const MAX_RANGES = 20_000;
const MAX_TARGETS = 10_000;

/** `folder`: with tls.crt and tls.key. Throws where they cannot be read. */
export function standAlone(folder: string, { injection, onCertificate, onFault }: SideOptions): Side {
  const certificate = pollFiles({
    paths: ["tls.crt", "tls.key"].map((name) => path.join(folder, name)),
    parse: readCertificate,
    everyMs: FILES_EVERY_MS,
    onChange: onCertificate,
    onFault: (fault) => onFault("certificate", fault),
  });
  return {
    certificate: () => certificate.current,
    options: injection,
    ready: () => true,
    behind: () => NOBODY,
    optedIn: () => false,
    ownerEvents: () => undefined,
    podSecurity: () => "",
    may: null,
  };
}

/** Rejects where the API server cannot be reached. For the life of the process. */
export async function joinCluster(config: Config<typeof CLUSTER_SHAPE>, options: SideOptions): Promise<Side> {
  const { clock, injection, onCertificate, onFault } = options;
  const { namespace, kubeconfig, apiHost, apiPort } = config;
  const kube = createKube(kubeconfig === "" ? await podAccess(apiHost, apiPort) : await fileAccess(kubeconfig));
  const names = [...servingNames(Object.values(CONTROL_SERVICE), namespace), ...config.names];
  const keep = {
    kube,
    secret: { namespace, name: CONTROL_OBJECT.certificates },
    names,
    clock,
    by: config.certificatesBy,
  };
  const read = async (): Promise<ServingCertificate> => {
    const data = await keepCertificates(keep);
    return readCertificate([data["tls.crt"], data["tls.key"]]);
  };
  let certificate = await read();
  let runtime: RuntimeData = {};
  const { signal } = new AbortController();

  const timer = setInterval(() => {
    void read()
      .then((next) => {
        if (next.cert === certificate.cert) return;
        certificate = next;
        onCertificate(next);
      })
      .catch((fault: unknown) => onFault("certificate", fault));
  }, CERTIFICATES_EVERY_MS);
  timer.unref();

  // Whose are left out is refused by the API server itself, or its frameworks are told to be quiet: neither is anybody else's affair.
  const fair = { spared: namespace, onLeftOut: () => undefined };
  const namespaces = startCache<Readonly<Record<string, string>>>({
    kube,
    resource: RESOURCE.namespace,
    project: ({ metadata }) => metadata.labels ?? {},
    onChange: () => undefined,
    onFault: (fault) => onFault("namespaces", fault),
    maxEntries: MAX_NAMESPACES,
    signal,
  });
  const told = startCache<RuntimeData>({
    kube,
    resource: RESOURCE.configMap,
    scope: { namespace, fieldSelector: `metadata.name=${CONTROL_OBJECT.runtime}` },
    project: (object) => (object as KubeObject & { readonly data?: RuntimeData }).data ?? {},
    onChange: (_key, value) => {
      runtime = value ?? runtime;
    },
    onFault: (fault) => onFault("runtime", fault),
    maxEntries: 1,
    signal,
  });
  const ranges = startCache<ContainerLimitRange>({
    kube,
    resource: RESOURCE.limitRange,
    project: containerRange,
    onChange: () => undefined,
    onFault: (fault) => onFault("limit ranges", fault),
    maxEntries: MAX_RANGES,
    fair,
    signal,
  });
  // Until targets are known nothing is named: whoever reports then is refused anyway.
  const quiet = new Map<string, Readonly<Record<string, string>>>();
  const targets = startCache<readonly string[]>({
    kube,
    resource: RESOURCE.egressTarget,
    project: hostsOf,
    onChange: () => quiet.clear(),
    onFault: (fault) => onFault("targets", fault),
    maxEntries: MAX_TARGETS,
    fair,
    signal,
  });
  await Promise.all([namespaces.synced, told.synced, ranges.synced]);
  const quietIn = (asked: string): Readonly<Record<string, string>> => {
    let found = quiet.get(asked);
    if (found === undefined) {
      const its = [...targets.entries].filter(
        ([key]) => key.startsWith(`${asked}/`) || key.startsWith(`${namespace}/`),
      );
      const hosts = its.flatMap(([, one]) => one);
      quiet.set(asked, (found = silencing((host) => namesHost(hosts, host))));
    }
    return found;
  };
  const rangeOf = (asked: string): ContainerLimitRange | null => {
    if (ranges.entries.size === 0) return null;
    const its = [...ranges.entries].filter(([key]) => key.startsWith(`${asked}/`)).map(([, range]) => range);
    return mergeRanges(its);
  };

  return {
    certificate: () => certificate,
    options(asked) {
      const complete = completeOptions(injection(), runtime);
      if (complete === null) throw new Error(`the controller has not yet written ${CONTROL_OBJECT.runtime}`);
      const its = optionsFor(complete, asked, namespaces.get(asked) ?? {});
      return {
        ...its,
        limitRange: its.limitRange ?? rangeOf(asked),
        ...(its.silenceTelemetry ? { environment: { ...quietIn(asked), ...its.environment } } : {}),
      };
    },
    ready: () => completeOptions(injection(), runtime) !== null,
    behind: createBehind({ kube, clock, onFault: (fault) => onFault("workload", fault) }),
    optedIn: (asked) => namespaces.get(asked)?.[NAMESPACE_LABEL.inject] === "all",
    podSecurity: (asked) => refusingLevel(namespaces.get(asked) ?? {}),
    ownerEvents: createOwnerEvents({ tell: createTell(kube, clock, (fault) => onFault("events", fault)), clock }),
    may: (question) => mayAccess(kube, question),
  };
}

function hostsOf(target: KubeObject): readonly string[] {
  const { spec } = target as KubeObject & { readonly spec?: { readonly hosts?: unknown } };
  return Array.isArray(spec?.hosts) ? spec.hosts.filter((host) => typeof host === "string") : [];
}
