/**
 * Pods that run without the gateway although their namespace has opted in, because an administrator said so: by namespace and service
 * account, for a reason, until the end of a day (UTC). From then on it is none, whoever forgot it.
 *
 * Whoever may make pods in that namespace may name that service account: an exemption opens the namespace to that degree.
 */
import type { InjectionOptions } from "./options.ts";

export type Exemption = InjectionOptions["exemptions"][number];

const DAY_MS = 86_400_000;

/** Wall milliseconds; the admission policies compute the same out of the pod's creationTimestamp. A day that does not exist: long ago. */
export function exemptionEndMs({ until }: Pick<Exemption, "until">): number {
  const startMs = Date.parse(`${until}T00:00:00Z`);
  return Number.isNaN(startMs) ? 0 : startMs + DAY_MS;
}

/** `pod`: as the API server shows it. Null: none is in force for it. */
export function exemptionFor(
  { exemptions }: Pick<InjectionOptions, "exemptions">,
  namespace: string,
  pod: unknown,
  nowMs: number,
): Exemption | null {
  if (exemptions.length === 0) return null;
  const { spec } = (pod ?? {}) as { readonly spec?: { readonly serviceAccountName?: unknown } };
  const account = spec?.serviceAccountName ?? "default";
  return (
    exemptions.find(
      (one) => one.namespace === namespace && one.serviceAccount === account && exemptionEndMs(one) > nowMs,
    ) ?? null
  );
}
