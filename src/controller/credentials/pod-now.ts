/**
 * Whether the pod that asks is there and fit now: asked of the API server itself, because a watch may be late, and a token outlives
 * its pod.
 *
 * What only differs by release (our own containers, after an upgrade) is none of this: a running pod's are guarded by admission.
 * So a pod that admission does not look at is refused, whatever it bears: there, containers of our names are anybody's. And what would
 * run past the gateway is: then no credential is handed out.
 */
import { ANNOTATION } from "#contract/names.ts";
import type { PodIdentity } from "#identity/pod-token.ts";
import { optionsFor } from "#injection/complete-options.ts";
import { hasOurVolumeName } from "#injection/forbidden-volume.ts";
import { injectPod } from "#injection/inject.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { hasOurName } from "#injection/pod-containers.ts";
import type { Kube, KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { NOBODY_LOOKED, timeOf, whyUnguarded } from "../guarded.ts";
import type { Labels } from "../selector.ts";

interface PodObject extends KubeObject {
  readonly spec?: {
    readonly serviceAccountName?: string;
    readonly initContainers?: readonly { readonly name: string }[];
    readonly volumes?: readonly { readonly name: string }[];
  };
  readonly status?: { readonly phase?: string };
}

/** Null: it is. Rejects where the API server cannot be asked. */
export async function whyNotNow(
  kube: Kube,
  identity: PodIdentity,
  options: { readonly injection: InjectionOptions | null; readonly namespaceLabels: Labels },
): Promise<string | null> {
  const { namespace, pod: name, uid } = identity;
  const pod = await kube.get<PodObject>(RESOURCE.pod, { namespace, name });
  if (pod === null || pod.metadata.uid !== uid) return "the pod is gone";
  if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return "the pod has ended";
  if (pod.metadata.annotations?.[ANNOTATION.injected] === undefined) return "the pod has no gateway";
  const { injection, namespaceLabels } = options;
  if (injection === null) return "it is not known here (yet) what injection makes of a pod";
  const { labels = {}, creationTimestamp } = pod.metadata;
  const serviceAccount = pod.spec?.serviceAccountName ?? "default";
  const about = { namespace, labels, serviceAccount, madeMs: timeOf(creationTimestamp) };
  const unguarded = whyUnguarded(about, injection, namespaceLabels);
  if (unguarded !== null) return `${unguarded}: ${NOBODY_LOOKED}`;
  const again = injectPod(pod, optionsFor(injection, namespace, namespaceLabels), () => {
    throw new Error("an injected pod has a uid");
  });
  if (again.kind === "injected") return null;
  const theirs = again.violations.find(({ field }) => !isOurs(pod, field));
  return theirs === undefined ? null : `the pod runs past the gateway: ${theirs.field}: ${theirs.message}`;
}

function isOurs({ spec = {} }: PodObject, field: string): boolean {
  const container = /^spec\.initContainers\[(\d+)\]/.exec(field)?.[1];
  if (container !== undefined) {
    const found = spec.initContainers?.[Number(container)];
    return found !== undefined && hasOurName(found);
  }
  const volume = /^spec\.volumes\[(\d+)\]/.exec(field)?.[1];
  return volume !== undefined && hasOurVolumeName(spec.volumes?.[Number(volume)]?.name ?? "");
}
