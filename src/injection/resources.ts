/**
 * Fits what our containers ask for into a namespace's LimitRange, so that a pod which was admissible without us stays admissible.
 *
 * Fails closed: where the range leaves less than the container needs to run, that is a violation, not a container that is killed.
 */
import type { ContainerLimitRange, Resources } from "./options.ts";
import { parseQuantity, writeQuantity } from "./quantity.ts";
import type { Violation } from "./violation.ts";

export type Fitting =
  | { readonly kind: "fits"; readonly resources: Resources }
  | { readonly kind: "impossible"; readonly violation: Violation };

/** `wanted.requests` is the least that the container runs with. Every quantity was checked by `readOptions`. */
export function fitResources(container: string, wanted: Resources, range: ContainerLimitRange | null): Fitting {
  if (range === null) return { kind: "fits", resources: wanted };
  const requests: Record<string, string> = { ...wanted.requests };
  const limits: Record<string, string> = { ...wanted.limits };
  const named = new Set([range.min, range.max, range.maxLimitRequestRatio].flatMap((map) => Object.keys(map ?? {})));
  for (const resource of named) {
    const least = requests[resource];
    const { min, max } = { min: range.min?.[resource], max: range.max?.[resource] };
    if (least !== undefined && max !== undefined && amount(max) < amount(least))
      return {
        kind: "impossible",
        violation: {
          field: `LimitRange.max.${resource}`,
          message: `${max} is less than the ${least} that container ${container} needs; raise it, or lower the request in the gateway's values`,
        },
      };
    if (max !== undefined) limits[resource] = smaller(limits[resource] ?? range.default?.[resource] ?? max, max);
    if (min !== undefined) {
      requests[resource] = larger(requests[resource] ?? range.defaultRequest?.[resource] ?? min, min);
      if (limits[resource] !== undefined) limits[resource] = larger(limits[resource], requests[resource]);
    }
    const ratio = range.maxLimitRequestRatio?.[resource];
    if (ratio === undefined) continue;
    const limit = limits[resource] ?? range.default?.[resource] ?? requests[resource];
    if (limit === undefined) continue;
    limits[resource] = limit;
    const floor = amount(limit) / amount(ratio);
    if (amount(requests[resource] ?? "0") < floor) requests[resource] = writeQuantity(resource, floor);
  }
  return { kind: "fits", resources: { requests, limits } };
}

function amount(quantity: string): number {
  return parseQuantity(quantity) ?? 0;
}

function smaller(a: string, b: string): string {
  return amount(a) <= amount(b) ? a : b;
}

function larger(a: string, b: string): string {
  return amount(a) >= amount(b) ? a : b;
}
