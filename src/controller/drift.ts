/**
 * Looks at running pods as admission would: whether those that should have a gateway have it, exactly as it is injected. What admission
 * missed (it was away, somebody else changed the pod, an older release injected it) is counted, and told on the pod once.
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { ANNOTATION } from "#contract/names.ts";
import type { Clock } from "#core/clock.ts";
import { optionsFor } from "#injection/complete-options.ts";
import { exemptionFor } from "#injection/exemptions.ts";
import { brokenInvariants } from "#injection/invariants.ts";
import type { InjectionOptions } from "#injection/options.ts";
import type { Tell } from "#kube/events.ts";
import { type KubeObject, keyOf, nameOf } from "#kube/port.ts";
import type { Known } from "./fleet.ts";

/** exempt: without a gateway because an administrator said so, until a day that has not passed. */
export type Drifted = "outside" | "differs" | "exempt";

export interface Drift {
  /** Called for each pod that arrives; what it returns is kept by the pod cache. Null: as it should be, or none of ours. */
  look(pod: KubeObject): Drifted | null;
  count(what: Drifted): number;
  gone(key: string): void;
}

export interface DriftOptions {
  readonly known: Known;
  readonly injection: () => InjectionOptions | null;
  readonly tell: Tell;
  readonly own: string;
  readonly clock: Clock;
}

export function createDrift({ known, injection, tell, own, clock }: DriftOptions): Drift {
  const found = new Map<string, Drifted>();

  /** A namespace says `all`, or the pod itself `true`. */
  function wanted({ metadata }: KubeObject): boolean {
    const { namespace = "", labels = {}, annotations = {} } = metadata;
    if (namespace === own || namespace === "kube-system") return false;
    if (annotations[ANNOTATION.injected] !== undefined) return true;
    if (labels[NAMESPACE_LABEL.inject] === "true") return true;
    // A pod cannot take itself out: admission does not listen to that either.
    return known.namespaces.get(namespace)?.labels[NAMESPACE_LABEL.inject] === "all";
  }

  return {
    look(pod) {
      const key = keyOf(nameOf(pod));
      const { phase = "" } = (pod as { readonly status?: { readonly phase?: string } }).status ?? {};
      const options = injection();
      const over = phase === "Succeeded" || phase === "Failed" || pod.metadata.deletionTimestamp !== undefined;
      if (options === null || over || !wanted(pod)) {
        found.delete(key);
        return null;
      }
      const { namespace = "" } = pod.metadata;
      const injected = pod.metadata.annotations?.[ANNOTATION.injected] !== undefined;
      if (!injected && exemptionFor(options, namespace, pod, clock.wallMs()) !== null) {
        found.set(key, "exempt");
        return "exempt";
      }
      const labels = known.namespaces.get(namespace)?.labels ?? {};
      const violations = brokenInvariants(pod, optionsFor(options, namespace, labels));
      const [first] = violations;
      if (first === undefined) {
        found.delete(key);
        return null;
      }
      const what: Drifted = injected ? "differs" : "outside";
      if (found.get(key) !== what) {
        const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
        const reason = what === "outside" ? "OutsideTheGateway" : "GatewayDiffers";
        tell({ about: pod, type: "Warning", reason, message: `${first.field}: ${first.message}${more}` });
      }
      found.set(key, what);
      return what;
    },
    count: (what) => [...found.values()].filter((one) => one === what).length,
    gone: (key) => void found.delete(key),
  };
}
