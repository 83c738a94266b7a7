/**
 * Checks that what is about to be stored keeps its invariants: a new pod all of them, a changed one those that it had, and nobody
 * gets into our containers. No transport in here: a review in, an outcome out.
 */
import { CONTAINER } from "#contract/names.ts";
import { assertNever } from "#core/assert-never.ts";
import { exemptionFor } from "#injection/exemptions.ts";
import { brokenInvariants } from "#injection/invariants.ts";
import type { InjectionOptions } from "#injection/options.ts";
import { brokenByUpdate } from "#injection/update.ts";
import { describeViolations, type Violation } from "#injection/violation.ts";
import type { Outcome } from "./outcome.ts";
import { type AdmissionRequest, allowed, denied, misdirected } from "./review.ts";

/** `nowMs`: wall milliseconds; exemptions end. */
export function validate(request: AdmissionRequest, options: InjectionOptions, nowMs: number): Outcome {
  if (isNewPod(request) && exemptionFor(options, request.namespace ?? "", request.object, nowMs) !== null)
    return { kind: "exempt", reason: "", answer: allowed(request) };
  const violations = violationsOf(request, options);
  if (violations === null)
    return { kind: "misdirected", reason: request.resource.resource, answer: misdirected(request) };
  if (violations.length === 0) return { kind: "allowed", reason: "", answer: allowed(request) };
  const message = `sidegate refuses this:\n${describeViolations(violations)}`;
  return { kind: "denied", reason: violations[0]?.field ?? "", answer: denied(request, message) };
}

function violationsOf(request: AdmissionRequest, options: InjectionOptions): readonly Violation[] | null {
  if (request.resource.resource !== "pods" || request.resource.group !== "") return null;
  switch (request.operation) {
    case "CREATE":
      return request.subResource === undefined ? brokenInvariants(request.object, options) : null;
    case "UPDATE":
      return request.subResource === undefined || UPDATED.has(request.subResource)
        ? brokenByUpdate(request.oldObject, request.object, options)
        : null;
    case "CONNECT":
      return entered(request);
    case "DELETE":
      return null;
    default:
      return assertNever(request.operation);
  }
}

function isNewPod({ operation, resource, subResource }: AdmissionRequest): boolean {
  return operation === "CREATE" && resource.resource === "pods" && resource.group === "" && subResource === undefined;
}

const UPDATED: ReadonlySet<string> = new Set(["ephemeralcontainers", "resize"]);
const OURS: ReadonlySet<unknown> = new Set(Object.values(CONTAINER));

/** exec and attach name the container; what a port-forward reaches of ours refuses it by itself (its own listeners, GET only). */
function entered(request: AdmissionRequest): readonly Violation[] | null {
  switch (request.subResource) {
    case "exec":
    case "attach": {
      const container = (request.object as { readonly container?: unknown } | undefined)?.container;
      return OURS.has(container)
        ? [{ field: "container", message: `${String(container)} is the gateway's; nobody goes in there` }]
        : [];
    }
    case "portforward":
      return [];
    default:
      return null;
  }
}
