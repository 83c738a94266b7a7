/**
 * How one pod stands to the gate: inside and as it should be, inside but of another release, or outside, and why. Pure.
 *
 * Errs towards outside: what cannot be read, or bears our names without being ours, is no gateway.
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { ANNOTATION, CONTAINER } from "#contract/names.ts";
import { optionsFor } from "#injection/complete-options.ts";
import { exemptionEndMs } from "#injection/exemptions.ts";
import { brokenInvariants } from "#injection/invariants.ts";
import type { InjectionOptions } from "#injection/options.ts";
import type { KubeObject } from "#kube/port.ts";
import { at, listAt, textAt } from "./members.ts";

export type Standing =
  | { readonly kind: "inside" }
  /** Not asked for: not shown, but counted. */
  | { readonly kind: "unasked" }
  | { readonly kind: "exempt"; readonly why: string }
  /** As an older release injected it, or other options did. */
  | { readonly kind: "stale"; readonly why: string }
  | { readonly kind: "outside"; readonly why: string; readonly restart: boolean };

export interface Exemption {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** As the values have them; "" where the cluster does not say. */
  readonly until: string;
  readonly reason: string;
}

export interface StandingOptions {
  readonly namespace: KubeObject;
  /** When the namespace opted in, in wall milliseconds; NaN where it does not say. */
  readonly optedInMs: number;
  /** Null: injection's options cannot be read, so nothing can be compared. */
  readonly options: InjectionOptions | null;
  readonly exemptions: readonly Exemption[];
  readonly nowMs: number;
}

/** Where the cluster does not say until when, an exemption has no end that could be known. */
export function hasEnded({ until }: Exemption, nowMs: number): boolean {
  return until !== "" && exemptionEndMs({ until }) <= nowMs;
}

export function standingOf(
  pod: KubeObject,
  { namespace, optedInMs, options, exemptions, nowMs }: StandingOptions,
): Standing {
  const { labels = {}, annotations = {} } = pod.metadata;
  if (annotations[ANNOTATION.injected] !== undefined) return injectedPod(pod, namespace, options);
  const asked = labels[NAMESPACE_LABEL.inject];
  const all = namespace.metadata.labels?.[NAMESPACE_LABEL.inject] === "all";
  if (!all && asked !== "true") return { kind: "unasked" };
  const account = textAt(pod, "spec", "serviceAccountName") || "default";
  const exemption = exemptions.find(
    (one) => one.namespace === pod.metadata.namespace && one.serviceAccount === account,
  );
  if (exemption !== undefined && !hasEnded(exemption, nowMs)) return { kind: "exempt", why: exemptionText(exemption) };
  if (exemption !== undefined)
    return { kind: "outside", why: `its exemption ended with ${exemption.until}`, restart: true };
  return { kind: "outside", ...whyOutside(pod, optedInMs, asked) };
}

export function exemptionText({ serviceAccount, until, reason }: Exemption): string {
  const details = [until === "" ? "" : `until ${until}`, reason].filter((part) => part !== "");
  return `service account ${serviceAccount} is exempt${details.length === 0 ? "" : ` (${details.join(": ")})`}`;
}

function injectedPod(pod: KubeObject, namespace: KubeObject, options: InjectionOptions | null): Standing {
  if (options === null) return { kind: "inside" };
  const whole = optionsFor(options, namespace.metadata.name, namespace.metadata.labels ?? {});
  const sidecar = listAt(pod, "spec", "initContainers").find((one) => textAt(one, "name") === CONTAINER.sidecar);
  const image = textAt(sidecar, "image");
  const broken = brokenInvariants(pod, whole);
  if (broken.length === 0) return { kind: "inside" };
  if (image !== "" && image !== whole.image) return { kind: "stale", why: `runs ${image}, new pods ${whole.image}` };
  const [first] = broken;
  const more = broken.length > 1 ? ` (and ${broken.length - 1} more)` : "";
  return { kind: "outside", why: `differs from what is injected: ${first?.field ?? ""}${more}`, restart: true };
}

function whyOutside(
  pod: KubeObject,
  optedInMs: number,
  asked: string | undefined,
): { readonly why: string; readonly restart: boolean } {
  if (pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined)
    return {
      why: `a static pod of node ${textAt(pod, "spec", "nodeName")}: the kubelet makes it, no admission sees it`,
      restart: false,
    };
  if (at(pod, "spec", "hostNetwork") === true)
    return {
      why: "hostNetwork: it has no network of its own to guard; take spec.hostNetwork out of its template",
      restart: false,
    };
  if (asked === "false")
    return {
      why: `its label ${NAMESPACE_LABEL.inject}=false keeps it outside; take it out of its template`,
      restart: false,
    };
  const created = Date.parse(pod.metadata.creationTimestamp ?? "");
  if (asked !== "true" && created <= optedInMs) return { why: "made before the namespace's label", restart: true };
  return { why: "made while nothing asked the webhook and no policy refused it", restart: true };
}

/** The API server notes when each label was last set, and by whom. */
export function optedInAt({ metadata }: KubeObject): number {
  const times = (metadata.managedFields ?? [])
    .filter((entry) => at(entry, "fieldsV1", "f:metadata", "f:labels", `f:${NAMESPACE_LABEL.inject}`) !== undefined)
    .map(({ time }) => Date.parse(time ?? ""))
    .filter((time) => !Number.isNaN(time));
  return times.length === 0 ? Number.NaN : Math.max(...times);
}
