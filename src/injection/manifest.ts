/**
 * Manifests as people keep them in files: pods, and the workloads of `apps` and `batch` that make pods from a template. Finds each
 * pod in one and injects it in place; what else a file holds is left alone, and said to be.
 */
import type { PatchOperation } from "#core/json-diff.ts";
import { type Injection, injectPod } from "./inject.ts";
import { brokenInvariants } from "./invariants.ts";
import { fieldPath } from "./look-alike.ts";
import type { InjectionOptions } from "./options.ts";
import type { Violation } from "./violation.ts";

/** Group (without version) and kind → where the pod or its template lies, as a JSON Pointer. */
const PLACES: ReadonlyMap<string, string> = new Map([
  ["/Pod", ""],
  ["/PodTemplate", "/template"],
  ["/ReplicationController", "/spec/template"],
  ["apps/Deployment", "/spec/template"],
  ["apps/ReplicaSet", "/spec/template"],
  ["apps/StatefulSet", "/spec/template"],
  ["apps/DaemonSet", "/spec/template"],
  ["batch/Job", "/spec/template"],
  ["batch/CronJob", "/spec/jobTemplate/spec/template"],
]);

export type ManifestInjection =
  | {
      readonly kind: "injected";
      readonly patch: readonly PatchOperation[];
      readonly pods: number;
      readonly warnings: readonly Violation[];
    }
  | { readonly kind: "denied"; readonly violations: readonly Violation[] };

/** `manifest`: one parsed document. Fields of violations are told from the document's root. A `List` is walked, one level deep. */
export function injectManifest(manifest: unknown, options: InjectionOptions, drawUid: () => number): ManifestInjection {
  const patch: PatchOperation[] = [];
  const warnings: Violation[] = [];
  const violations: Violation[] = [];
  const places = podPlaces(manifest);
  for (const { pointer, pod } of places) {
    const injection: Injection = injectPod(pod, options, drawUid);
    const at = ({ field, message }: Violation): Violation => ({ field: fieldAt(pointer, field), message });
    if (injection.kind === "denied") violations.push(...injection.violations.map(at));
    else {
      patch.push(...injection.patch.map((operation) => ({ ...operation, path: pointer + operation.path })));
      warnings.push(...injection.warnings.map(at));
    }
  }
  if (violations.length > 0) return { kind: "denied", violations };
  return { kind: "injected", patch, pods: places.length, warnings };
}

export interface ManifestCheck {
  readonly pods: number;
  readonly violations: readonly Violation[];
}

/** What is broken in a manifest's pods: of running ones (`kubectl get pods -o yaml`), or of files before they are applied. */
export function checkManifest(manifest: unknown, options: InjectionOptions): ManifestCheck {
  const places = podPlaces(manifest);
  const violations = places.flatMap(({ pointer, pod }) =>
    brokenInvariants(pod, options).map(({ field, message }) => ({ field: fieldAt(pointer, field), message })),
  );
  return { pods: places.length, violations };
}

interface PodPlace {
  readonly pointer: string;
  readonly pod: unknown;
}

function podPlaces(manifest: unknown): PodPlace[] {
  const { apiVersion, kind, items } = members(manifest);
  if (apiVersion === "v1" && kind === "List" && Array.isArray(items))
    return items.flatMap((item: unknown, index) =>
      members(item)["kind"] === "List"
        ? []
        : podPlaces(item).map(({ pointer, pod }) => ({ pointer: `/items/${index}${pointer}`, pod })),
    );
  const version = typeof apiVersion === "string" ? apiVersion : "";
  const group = version.includes("/") ? version.slice(0, version.indexOf("/")) : "";
  const pointer = PLACES.get(`${group}/${String(kind)}`);
  if (pointer === undefined) return [];
  let pod: unknown = manifest;
  for (const token of pointer.split("/").slice(1)) pod = members(pod)[token];
  return [{ pointer, pod }];
}

function members(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function fieldAt(pointer: string, field: string): string {
  const prefix = fieldPath(pointer).replace(/^\./, "");
  return prefix === "" ? field : `${prefix}.${field}`;
}
