/**
 * Stamps a workload's metadata with who made it and who last wrote its template. No transport in here: a review in, an outcome out.
 * Nothing is ever refused here: what nobody stamped the admission policies refuse, without a server.
 */
import { ANNOTATION } from "#contract/names.ts";
import { diffJson } from "#core/json-diff.ts";
import { workloadStamps } from "#injection/people.ts";
import type { Outcome } from "./outcome.ts";
import { type AdmissionRequest, allowed, misdirected, patched } from "./review.ts";

export const WORKLOADS: ReadonlySet<string> = new Set([
  "apps/deployments",
  "apps/statefulsets",
  "apps/daemonsets",
  "apps/replicasets",
  "batch/jobs",
  "batch/cronjobs",
]);

interface Metadata {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, unknown>>; readonly [member: string]: unknown };
}

export interface StampOptions {
  readonly deployers: readonly string[];
  /** The namespace has opted in as a whole. Elsewhere no deployer names an owner, and what unguarded authors wrote is not believed. */
  readonly optedIn: boolean;
}

export function stampWorkload(request: AdmissionRequest, { deployers, optedIn }: StampOptions): Outcome {
  const { resource, subResource, operation, object } = request;
  const known = WORKLOADS.has(`${resource.group}/${resource.resource}`) && subResource === undefined;
  if (!known || (operation !== "CREATE" && operation !== "UPDATE") || typeof object !== "object" || object === null)
    return { kind: "misdirected", reason: resource.resource, answer: misdirected(request) };
  const user = request.userInfo.username ?? "";
  const before = operation === "CREATE" ? null : (request.oldObject ?? {});
  const stamps = workloadStamps({
    before,
    after: object,
    user,
    deployer: optedIn && deployers.includes(user),
    optedIn,
  });
  const { metadata = {} } = object as Metadata;
  const annotations = Object.fromEntries(
    Object.entries({ ...metadata.annotations, ...stamps }).filter(([, text]) => text !== null),
  );
  const none = Object.keys(annotations).length === 0 && metadata.annotations === undefined;
  const patch = none ? [] : diffJson({ metadata }, { metadata: { ...metadata, annotations } });
  if (patch.length === 0) return { kind: "allowed", reason: "", answer: allowed(request) };
  return { kind: "stamped", reason: "", answer: patched(request, patch, warningOf(metadata, stamps)) };
}

/** Whoever wrote an owner that does not count should know. */
function warningOf(
  { annotations }: NonNullable<Metadata["metadata"]>,
  stamps: Readonly<Record<string, unknown>>,
): string[] {
  const wrote = annotations?.[ANNOTATION.owner];
  return wrote === undefined || wrote === stamps[ANNOTATION.owner]
    ? []
    : [`sidegate: metadata.annotations[${ANNOTATION.owner}]: only a deployer (identity.deployers) names an owner`];
}
