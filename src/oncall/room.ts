/**
 * Whether a namespace's LimitRange or ResourceQuota refuses what our two containers ask for. Pure; as Kubernetes computes it: a native
 * sidecar counts beside the pod's containers, init only where it is the largest.
 */
import type { Resources } from "#injection/options.ts";
import { parseQuantity } from "#injection/quantity.ts";
import { at, listAt, textAt, textsAt } from "./members.ts";

export interface GatewayNeed {
  readonly init: Resources;
  readonly sidecar: Resources;
}

export interface Refused {
  readonly says: string;
  readonly fix: string;
}

/** `item`: one of a LimitRange's `spec.limits`. */
export function refusedByLimitRange(need: GatewayNeed, item: unknown): Refused[] {
  if (textAt(item, "type") !== "Container") return [];
  const { min, max, ratio } = {
    min: textsAt(item, "min"),
    max: textsAt(item, "max"),
    ratio: textsAt(item, "maxLimitRequestRatio"),
  };
  const found: Refused[] = [];
  for (const [container, asked] of Object.entries(need) as [keyof GatewayNeed, Resources][]) {
    const { requests, limits } = completed(asked, item);
    const field = `injection.resources.${container}`;
    for (const resource of new Set([
      ...Object.keys(min),
      ...Object.keys(max),
      ...Object.keys(ratio),
      ...Object.keys(limits),
    ])) {
      const [request, limit] = [requests[resource], limits[resource]];
      const say = (says: string, part: "requests" | "limits"): void => {
        found.push({
          says: `${nameOf(container)}'s ${says}`,
          fix: `change ${field}.${part}.${resource} in the chart's values, or the LimitRange`,
        });
      };
      if (less(request, min[resource]))
        say(`request of ${request} ${resource} is below its min ${min[resource]}`, "requests");
      if (less(max[resource], limit)) say(`limit of ${limit} ${resource} is above its max ${max[resource]}`, "limits");
      else if (less(limit, request))
        say(`request of ${request} ${resource} is above the limit of ${limit} that it gets there`, "limits");
      const most = amount(ratio[resource]);
      if (most > 0 && (amount(request) === 0 || amount(limit) / amount(request) > most))
        say(`limit of ${limit ?? "no"} ${resource} is more than ${ratio[resource]} times its request`, "requests");
    }
  }
  return found;
}

/** What the LimitRange itself fills in. */
function completed({ requests = {}, limits = {} }: Resources, item: unknown): Required<Resources> {
  const whole = { ...textsAt(item, "max"), ...textsAt(item, "default"), ...limits };
  return {
    limits: whole,
    requests: { ...textsAt(item, "min"), ...whole, ...textsAt(item, "defaultRequest"), ...requests },
  };
}

/** `certain`: every pod is refused; else there is only no room for one more. `ranges`: items of the namespace's LimitRanges. */
export function refusedByQuota(
  need: GatewayNeed,
  quota: unknown,
  ranges: readonly unknown[],
): (Refused & { readonly certain: boolean })[] {
  if (listAt(quota, "spec", "scopes").includes("BestEffort") || at(quota, "spec", "scopeSelector") !== undefined)
    return [];
  const hard = textsAt(quota, "spec", "hard");
  const used = textsAt(quota, "status", "used");
  const fill = ranges.find((item) => textAt(item, "type") === "Container");
  const [init, sidecar] = [completed(need.init, fill), completed(need.sidecar, fill)];
  return Object.entries(hard).flatMap(([key, most]): (Refused & { readonly certain: boolean })[] => {
    const { part, resource } = partOf(key);
    if (part === null) return [];
    const asked = { init: init[part][resource], sidecar: sidecar[part][resource] };
    const silent = (["init", "sidecar"] as const).filter((container) => asked[container] === undefined);
    if (silent.length > 0)
      return [
        {
          says: `it demands ${key} of every container, and ${silent.map(nameOf).join(" and ")} has none`,
          fix: `set ${silent.map((container) => `injection.resources.${container}.${part}.${resource}`).join(" and ")} in the chart's values, or a default in a LimitRange`,
          certain: true,
        },
      ];
    const left = amount(most) - amount(used[key]);
    if (left >= amount(asked.sidecar)) return [];
    const fix = `raise ${key} of the quota: each agent pod takes ${asked.sidecar} for its gateway`;
    return [
      { says: `${used[key] ?? "0"} of ${most} ${key} is used: no room for one more gateway`, fix, certain: false },
    ];
  });
}

/** `cpu` is `requests.cpu`. */
function partOf(key: string): { readonly part: "requests" | "limits" | null; readonly resource: string } {
  if (key === "cpu" || key === "memory") return { part: "requests", resource: key };
  const [, part, resource] = /^(requests|limits)\.(cpu|memory|ephemeral-storage)$/.exec(key) ?? [];
  return { part: part === "requests" || part === "limits" ? part : null, resource: resource ?? "" };
}

function nameOf(container: keyof GatewayNeed): string {
  return container === "init" ? "sidegate-init" : "sidegate";
}

function amount(quantity: string | undefined): number {
  return quantity === undefined ? 0 : (parseQuantity(quantity) ?? 0);
}

/** False where either is not said. */
function less(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && amount(a) < amount(b);
}
