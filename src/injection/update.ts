/**
 * What an update of a running pod breaks. Compares with the pod as it was, never with what this release would inject: a pod that an
 * older release injected has to stay updatable, or its Job's finalizer could never be taken away.
 *
 * Fails closed: whatever bears one of our names may not change at all.
 */
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { equalJson } from "#core/json-diff.ts";
import { forbiddenInContainer } from "./forbidden-container.ts";
import { isRuntimeAnnotation, RUNTIME_READS } from "./forbidden-pod.ts";
import { hasOurVolumeName } from "./forbidden-volume.ts";
import { isInjected } from "./invariants.ts";
import { exemptUid } from "./mesh.ts";
import type { InjectionOptions } from "./options.ts";
import { type Container, type Pod, readPod } from "./pod.ts";
import { hasOurName, placedContainers } from "./pod-containers.ts";
import { describeProfile, effectiveProfile, sameProfile } from "./seccomp-profile.ts";
import type { Violation } from "./violation.ts";

export const LOCKED_ANNOTATIONS = [
  ANNOTATION.injected,
  ANNOTATION.proxyUid,
  ANNOTATION.creator,
  ANNOTATION.owner,
  ANNOTATION.workload,
  ANNOTATION.workloadCreator,
  ANNOTATION.templateWriter,
] as const;

/** `before` and `after`: the pod of an UPDATE, or of its `ephemeralcontainers`, parsed. Empty when the update may pass. */
export function brokenByUpdate(before: unknown, after: unknown, options: InjectionOptions): Violation[] {
  const old = readPod(before);
  const next = readPod(after);
  if (next.kind === "malformed") return [...next.violations];
  if (old.kind === "malformed") return [...old.violations];
  if (!isInjected(old.pod)) return [];
  return [
    ...changedGateway(old.pod, next.pod),
    ...changedStamps(old.pod, next.pod),
    ...changedImages(old.pod, next.pod),
    ...newEphemeral(old.pod, next.pod, options, exemptUid(old.pod)),
  ];
}

function changedGateway(old: Pod, next: Pod): Violation[] {
  const changed: Violation[] = [];
  for (const { container, field } of placedContainers(old)) {
    if (!hasOurName(container)) continue;
    const now = placedContainers(next).find((placed) => placed.field === field);
    if (now === undefined || !equalJson(now.container, container))
      changed.push({ field, message: `${container.name} is the gateway's container and stays as it is` });
  }
  for (const { container, field } of placedContainers(next))
    if (hasOurName(container) && !placedContainers(old).some((o) => o.field === field && hasOurName(o.container)))
      changed.push({ field: `${field}.name`, message: `${container.name} is the gateway's name; use another` });
  return changed;
}

function changedStamps(old: Pod, next: Pod): Violation[] {
  const changed: Violation[] = [];
  for (const name of LOCKED_ANNOTATIONS)
    if (old.metadata?.annotations?.[name] !== next.metadata?.annotations?.[name])
      changed.push({ field: `metadata.annotations[${name}]`, message: "is the gateway's stamp and stays as it is" });
  for (const name of Object.keys(next.metadata?.annotations ?? {}))
    if (isRuntimeAnnotation(name) && old.metadata?.annotations?.[name] !== next.metadata?.annotations?.[name])
      changed.push({ field: `metadata.annotations[${name}]`, message: RUNTIME_READS });
  if (old.metadata?.labels?.[LABEL.inject] !== next.metadata?.labels?.[LABEL.inject])
    changed.push({ field: `metadata.labels[${LABEL.inject}]`, message: "stays as it is while the pod runs" });
  return changed;
}

/**
 * An image's own USER is no field of the pod: a new image could be built to run as the proxy, whose uid can be read by then. A mesh's
 * containers keep their images: one goes out un-judged, the other may write rules.
 */
function changedImages(old: Pod, next: Pod): Violation[] {
  const exempt = exemptUid(old);
  return placedContainers(next)
    .filter(({ list, container }) => list !== "ephemeralContainers" && !hasOurName(container))
    .filter(({ field, container }) => imageAt(old, field) !== container.image)
    .flatMap(({ field, container }) => {
      const uid = uidOf(next, container);
      const add = container.securityContext?.capabilities?.add ?? [];
      if (uid === undefined)
        return [
          {
            field: `${field}.image`,
            message: "a changed image needs an explicit securityContext.runAsUser, outside the gateway's range",
          },
        ];
      return uid === exempt || add.length > 0
        ? [{ field: `${field}.image`, message: "a mesh's containers keep their images while the pod runs" }]
        : [];
    });
}

function newEphemeral(old: Pod, next: Pod, options: InjectionOptions, exempt: number | null): Violation[] {
  const known = new Set((old.spec.ephemeralContainers ?? []).map(({ name }) => name));
  return placedContainers(next)
    .filter(({ list, container }) => list === "ephemeralContainers" && !known.has(container.name))
    .flatMap(({ container, field }) => [
      ...ephemeralFaults(next, container, { field, options, exempt }),
      ...(exempt === null ? [] : besideExempt(next, container, field, exempt)),
    ]);
}

/** A mesh's proxy is no more to be looked into than ours, and nobody runs as it. */
function besideExempt(pod: Pod, container: Container, field: string, exempt: number): Violation[] {
  const faults: Violation[] = [];
  const target = placedContainers(pod).find((placed) => placed.container.name === container.targetContainerName);
  if (target !== undefined && uidOf(pod, target.container) === exempt)
    faults.push({ field: `${field}.targetContainerName`, message: "the mesh's process is not to be looked into" });
  if (uidOf(pod, container) === exempt)
    faults.push({
      field: `${field}.securityContext.runAsUser`,
      message: `${exempt} is the mesh's; what runs as it is not captured. Use another`,
    });
  return faults;
}

interface Beside {
  readonly field: string;
  readonly options: InjectionOptions;
  /** The mesh's uid; null: there is none in the pod. */
  readonly exempt: number | null;
}

function ephemeralFaults(pod: Pod, container: Container, { field, options, exempt }: Beside): Violation[] {
  const ours = theirProfile(pod, exempt);
  const seccomp = { type: ours.type, localhostProfile: ours.localhostProfile ?? "" };
  const faults = forbiddenInContainer(container, field, { ...options, seccomp });
  if (!sameProfile(effectiveProfile(pod, container), ours))
    faults.push({
      field: `${field}.securityContext.seccompProfile`,
      message: `has to be ${describeProfile(ours)}, as of the pod's agents`,
    });
  if (container.targetContainerName !== undefined && hasOurName({ name: container.targetContainerName }))
    faults.push({ field: `${field}.targetContainerName`, message: "the gateway's process is not to be looked into" });
  if (uidOf(pod, container) === undefined)
    faults.push({
      field: `${field}.securityContext.runAsUser`,
      message: "an ephemeral container needs an explicit uid, outside the gateway's range",
    });
  if (container.securityContext?.allowPrivilegeEscalation !== false)
    faults.push({ field: `${field}.securityContext.allowPrivilegeEscalation`, message: "has to be false" });
  if (!(container.securityContext?.capabilities?.drop ?? []).includes("ALL"))
    faults.push({ field: `${field}.securityContext.capabilities.drop`, message: "has to name ALL" });
  for (const [index, { name }] of (container.volumeMounts ?? []).entries())
    if (hasOurVolumeName(name))
      faults.push({ field: `${field}.volumeMounts[${index}].name`, message: `volume ${name} is the gateway's` });
  return faults;
}

interface AgentsProfile {
  readonly type: "RuntimeDefault" | "Localhost";
  readonly localhostProfile?: string;
}

/** As its agents run: what injection wrote on that day, whatever it writes today. A pod without one gets no container without one. */
function theirProfile(pod: Pod, exempt: number | null): AgentsProfile {
  const agent = pod.spec.containers.find((container) => exempt === null || uidOf(pod, container) !== exempt);
  const { type, localhostProfile } = agent?.securityContext?.seccompProfile ?? {};
  return type === "Localhost" && localhostProfile !== undefined
    ? { type, localhostProfile }
    : { type: "RuntimeDefault" };
}

function imageAt(pod: Pod, field: string): string | undefined {
  return placedContainers(pod).find((placed) => placed.field === field)?.container.image;
}

function uidOf(pod: Pod, container: Container): number | undefined {
  return container.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser;
}
