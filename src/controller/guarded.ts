/**
 * Whether admission has compared a pod's containers of our names with what injection makes. Where it does not look, such names are
 * anybody's: such a pod is given neither bundles nor credentials, whatever it bears.
 *
 * Errs towards no: of an exemption whose time cannot be compared with the pod's, it is taken that it held.
 */
import { NAMESPACE_LABEL } from "#contract/control-environment.ts";
import { LABEL } from "#contract/names.ts";
import { exemptionFor } from "#injection/exemptions.ts";
import type { InjectionOptions } from "#injection/options.ts";
import type { Labels } from "./selector.ts";

export interface GuardedPod {
  readonly namespace: string;
  readonly labels: Labels;
  readonly serviceAccount: string;
  /** Wall milliseconds; 0: not known. */
  readonly madeMs: number;
}

/** Null: it has. `injection`: null where nothing is known of exclusions and exemptions. */
export function whyUnguarded(
  { namespace, labels, serviceAccount, madeMs }: GuardedPod,
  injection: Pick<InjectionOptions, "excludedNamespaces" | "exemptions"> | null,
  namespaceLabels: Labels,
): string | null {
  if (injection?.excludedNamespaces.includes(namespace) === true) return `namespace ${namespace} is excluded`;
  if (namespaceLabels[NAMESPACE_LABEL.inject] !== "all" && labels[LABEL.inject] !== "true")
    return "neither the pod nor its namespace has opted in";
  if (injection === null) return null;
  // One that holds now held then, too: they only end.
  const exempt = exemptionFor(injection, namespace, { spec: { serviceAccountName: serviceAccount } }, madeMs);
  return exempt === null ? null : "the pod's service account is or was exempt";
}

/** What a pod's author sees of it. */
export const NOBODY_LOOKED = "nobody has looked whether the gateway in it is ours";

/** RFC 3339 → wall milliseconds. */
export function timeOf(text: string | undefined): number {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? 0 : ms;
}
