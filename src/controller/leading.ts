/**
 * What only the leader does: compile and store bundles, write statuses, keep the certificates, the runtime ConfigMap and the guarded
 * objects, look for drift. All of it is repeated by the next leader from what is stored; nothing here is remembered by one replica alone.
 */

import type { Acts } from "#audit/acts.ts";
import type { Clock } from "#core/clock.ts";
import { exemptionEndMs } from "#injection/exemptions.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { startCache } from "#kube/cache.ts";
import type { CertificateData } from "#kube/certificates.ts";
import type { Tell } from "#kube/events.ts";
import type { Kube, KubeObject, Resource } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { createDrift, type Drift } from "./drift.ts";
import { recordExemptions } from "./exempt.ts";
import type { Known } from "./fleet.ts";
import { type Desired, GUARDED, readDesired, restore } from "./guard.ts";
import type { ControllerMetrics } from "./metrics.ts";
import { type ToldObservations, tellObservations } from "./observation.ts";
import { keepParameters } from "./parameter-keeper.ts";
import { startRounds } from "./rounds.ts";
import { type ConfigMapObject, type RuntimeValues, writeRuntime } from "./runtime-object.ts";
import { createUndeclaredPorts, type ServicePorts, servicePorts } from "./undeclared-ports.ts";

export interface LeadingOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly own: string;
  /** Name of the ConfigMap with the manifests to guard. */
  readonly guarded: string;
  readonly tell: Tell;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly certificates: () => CertificateData;
  readonly runtime: () => RuntimeValues;
  /** Null while what injection needs is not complete. */
  readonly injection: () => InjectionOptions | null;
  /** Null: there is no collector to tell. */
  readonly acts: Acts | null;
  readonly log: (event: string, fields: Readonly<Record<string, string>>) => void;
  readonly onFault: (where: string, fault: unknown) => void;
}

const GUARD_EVERY_MS = 30_000;
const RUNTIME_EVERY_MS = 10_000;
/** An installer writes the ConfigMap first and the objects soon after: it makes them, and owns them then. */
const INSTALL_MS = 5_000;
const MAX_PODS = 100_000;
const MAX_SERVICES = 50_000;
const PAGE = 500;
const DRIFT_EVERY_MS = 20_000;
const TELL_EVERY_MS = 5_000;

/** Until the signal ends. */
export function startLeading(options: LeadingOptions, signal: AbortSignal): void {
  const { kube, known, own, metrics, onFault } = options;
  startRounds(
    async () => {
      if (await writeRuntime(kube, own, options.runtime())) options.log("runtime written", {});
    },
    { delayMs: 0, everyMs: RUNTIME_EVERY_MS },
    signal,
    (fault) => onFault("runtime", fault),
  ).ask();
  startGuard(options, signal);
  keepParameters(kube, own).catch((fault: unknown) => onFault("parameters", fault));
  const recorded = new Set<string>();
  startRounds(
    async () => {
      const exemptions = options.injection()?.exemptions ?? [];
      const now = options.clock.wallMs();
      const ended = exemptions.filter((one) => exemptionEndMs(one) <= now).length;
      metrics.exemptions.with("in force").value = exemptions.length - ended;
      metrics.exemptions.with("ended").value = ended;
      if (options.acts !== null) await recordExemptions(exemptions, options.acts, recorded, now);
    },
    { delayMs: 0, everyMs: TELL_EVERY_MS },
    signal,
    (fault) => onFault("exemptions", fault),
  ).ask();
  const told: ToldObservations = new Map();
  startRounds(
    () =>
      tellObservations(
        { namespaces: known.namespaces, tell: options.tell, acts: options.acts, onFault: (f) => onFault("observe", f) },
        told,
        options.clock.wallMs(),
      ),
    { delayMs: 0, everyMs: TELL_EVERY_MS },
    signal,
    (fault) => onFault("observe", fault),
  ).ask();

  const drift = createDrift({
    known,
    own,
    tell: options.tell,
    injection: options.injection,
    clock: options.clock,
  });
  const services = new Map<string, Map<string, ServicePorts>>();
  const ports = createUndeclaredPorts((namespace) => services.get(namespace)?.values() ?? [], options.tell);
  startCache<ServicePorts>({
    kube,
    resource: RESOURCE.service,
    maxEntries: MAX_SERVICES,
    project: servicePorts,
    onChange(key, value, before) {
      const namespace = (value ?? before)?.namespace ?? "";
      const its = services.get(namespace) ?? new Map<string, ServicePorts>();
      if (value === undefined) its.delete(key);
      else its.set(key, value);
      if (its.size > 0) services.set(namespace, its);
      else services.delete(namespace);
    },
    onFault: (fault) => onFault("services", fault),
    signal,
  });
  startCache<string>({
    kube,
    resource: RESOURCE.pod,
    maxEntries: MAX_PODS,
    project: (pod) => driftOf(drift, pod, options),
    onChange: (key, value) => {
      if (value === undefined) drift.gone(key);
      count();
    },
    onFault: (fault) => onFault("drift", fault),
    signal,
  });
  // A namespace that opts in, or other options, concern pods that do not change themselves.
  startRounds(
    async () => {
      let continues = "";
      do {
        const page = await kube.list(RESOURCE.pod, {}, { limit: PAGE, continues });
        for (const pod of page.items) {
          driftOf(drift, pod, options);
          ports.look(pod);
        }
        ({ continues } = page);
      } while (continues !== "" && !signal.aborted);
      count();
    },
    { delayMs: 0, everyMs: DRIFT_EVERY_MS },
    signal,
    (fault) => onFault("drift", fault),
  );
  function count(): void {
    for (const what of ["outside", "differs"] as const) metrics.drifted.with(what).value = drift.count(what);
    metrics.exemptPods.with().value = drift.count("exempt");
  }
}

/** Every pod is an entry, if only as "whole": one that goes away must be forgotten. */
function driftOf(drift: Drift, pod: KubeObject, { onFault }: LeadingOptions): string {
  try {
    return drift.look(pod) ?? "";
  } catch (fault) {
    onFault("drift", fault);
    return "";
  }
}

/** The ConfigMap is watched, and so is each kind: whatever changes, all of it is put right. */
function startGuard(options: LeadingOptions, signal: AbortSignal): void {
  const { kube, own, guarded, tell, metrics, certificates, clock, log, onFault } = options;
  let desired: readonly Desired[] = [];
  let wantedSinceMs = clock.elapsedMs();
  const seen = new Map<string, KubeObject["metadata"]>();
  const rounds = startRounds(
    async () => {
      for (const one of desired) {
        if (signal.aborted) return;
        const key = `${one.resource.kind}/${one.object.metadata.name}`;
        const at = {
          ca: certificates()["ca.crt"],
          seen: seen.get(key) ?? null,
          mayCreate: clock.elapsedMs() - wantedSinceMs >= INSTALL_MS,
        };
        try {
          const now = await restore({ kube, tell, restored }, one, at);
          if (now !== null) seen.set(key, now);
        } catch (fault) {
          onFault("guard", fault);
        }
      }
    },
    { delayMs: 20, everyMs: GUARD_EVERY_MS },
    signal,
    (fault) => onFault("guard", fault),
  );
  function restored(resource: Resource, name: string, how: "changed" | "deleted", by: string): void {
    metrics.restored.with(resource.kind, how).add(1);
    log("restored", { kind: resource.kind, name, how, by });
  }
  startCache<true>({
    kube,
    resource: RESOURCE.configMap,
    scope: { namespace: own, fieldSelector: `metadata.name=${guarded}` },
    maxEntries: 1,
    project(object) {
      try {
        desired = readDesired((object as ConfigMapObject).data ?? {});
        wantedSinceMs = clock.elapsedMs();
        const later = setTimeout(() => rounds.ask(), INSTALL_MS + 100);
        signal.addEventListener("abort", () => clearTimeout(later), { once: true });
      } catch (fault) {
        // What we knew stays guarded.
        onFault("guard", fault);
      }
      return true;
    },
    onChange(_key, value) {
      // Taken away on purpose, before an uninstall: what Helm deletes is not put back.
      if (value === undefined) desired = [];
      rounds.ask();
    },
    onFault: (fault) => onFault("guard", fault),
    signal,
  });
  for (const resource of GUARDED)
    startCache<true>({
      kube,
      resource,
      maxEntries: 10_000,
      project: () => true,
      onChange: () => rounds.ask(),
      onFault: (fault) => onFault("guard", fault),
      signal,
    });
}
