/** Puts the gateway into a pod that is being made. No transport in here: a review in, an outcome out. */
import { exemptionFor } from "#injection/exemptions.ts";
import { injectPod } from "#injection/inject.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { NOBODY, podStamps, type WorkloadPeople } from "#injection/people.ts";
import { podSecurityViolation } from "#injection/pod-security.ts";
import { describeViolations, type Violation } from "#injection/violation.ts";
import type { Outcome } from "./outcome.ts";
import { type AdmissionRequest, allowed, denied, misdirected, patched } from "./review.ts";

export interface MutateOptions {
  readonly injection: () => InjectionOptions;
  /** A random number of the range `PROXY_UID`, both ends included. */
  readonly drawUid: () => number;
  /** Wall milliseconds: exemptions end. */
  readonly nowMs: () => number;
  /** Pod Security's level that refuses our init container; "" or absent: none. */
  readonly podSecurity?: "" | "baseline" | "restricted";
  /** Of the workload that the pod belongs to; absent: not known. */
  readonly behind?: WorkloadPeople;
  /** The pod's namespace has opted in as a whole; absent: not known. */
  readonly optedIn?: boolean;
}

/** Called again after other webhooks (`reinvocationPolicy: IfNeeded`): what it injected before, it leaves as it is. */
export function mutate(
  request: AdmissionRequest,
  { injection, drawUid, nowMs, behind = NOBODY, optedIn = false, podSecurity = "" }: MutateOptions,
): Outcome {
  if (request.resource.resource !== "pods" || request.subResource !== undefined || request.operation !== "CREATE")
    return { kind: "misdirected", reason: request.resource.resource, answer: misdirected(request) };
  const options = injection();
  if (exemptionFor(options, request.namespace ?? "", request.object, nowMs()) !== null)
    return { kind: "exempt", reason: "", answer: allowed(request) };
  if (podSecurity !== "") return refused(request, [podSecurityViolation(podSecurity)]);
  // Never what the author wrote there. The API server says who asked.
  const user = request.userInfo.username ?? "";
  const stamps = podStamps(request.object, { user, behind, deployers: options.deployers, optedIn });
  const result = injectPod(request.object, options, drawUid, stamps);
  if (result.kind === "denied") return refused(request, result.violations);
  const warnings = result.warnings.map(({ field, message }) => `sidegate: ${field}: ${message}`);
  return { kind: "injected", reason: "", answer: patched(request, result.patch, warnings) };
}

function refused(request: AdmissionRequest, violations: readonly Violation[]): Outcome {
  const message = `sidegate cannot guard this pod:\n${describeViolations(violations)}`;
  return { kind: "denied", reason: violations[0]?.field ?? "", answer: denied(request, message) };
}
