/**
 * What a pod's author asks for our containers, by the annotation `sidegate.dev/resources`: an agent that moves much needs more than others,
 * and a namespace's quota may demand limits that the values do not name. Within the administrator's bounds; outside is a violation that
 * names them.
 *
 * `requests.cpu=200m, limits.cpu=1, requests.memory=128Mi, limits.memory=512Mi`, each of them optional.
 */
import { ANNOTATION } from "#contract/names.ts";
import type { InjectionOptions, Resources } from "./options.ts";
import type { Pod } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";
import type { Violation } from "./violation.ts";

export interface AskedResources {
  readonly resources: InjectionOptions["resources"];
  readonly violations: readonly Violation[];
}

const FIELD = `metadata.annotations[${ANNOTATION.resources}]`;
const ITEM = /^(requests|limits)\.(cpu|memory)=([0-9A-Za-z.]{1,20})$/;
const MAX_TEXT = 256;

export function askedResources(pod: Pod, { resources, resourceBounds }: InjectionOptions): AskedResources {
  const text = pod.metadata?.annotations?.[ANNOTATION.resources] ?? "";
  if (text.trim() === "") return { resources, violations: [] };
  const violations: Violation[] = [];
  const asked: { requests: Record<string, string>; limits: Record<string, string> } = { requests: {}, limits: {} };
  for (const item of text
    .slice(0, MAX_TEXT)
    .split(",")
    .map((part) => part.trim())) {
    const [, part = "", name = "", quantity = ""] = ITEM.exec(item) ?? [];
    const amount = parseQuantity(quantity);
    if (amount === null || part === "") {
      violations.push({
        field: FIELD,
        message: `${JSON.stringify(item.slice(0, 40))} is not like limits.memory=512Mi`,
      });
      continue;
    }
    const min = resourceBounds.min[name] ?? "0";
    const max = resourceBounds.max[name] ?? "";
    if (amount < amountOf(min) || (max !== "" && amount > amountOf(max)))
      violations.push({
        field: FIELD,
        message: `${item} is outside of ${min} to ${max || "any"} (value injection.resourceBounds)`,
      });
    asked[part as "requests" | "limits"][name] = quantity;
  }
  if (text.length > MAX_TEXT) violations.push({ field: FIELD, message: `longer than ${MAX_TEXT} characters` });
  for (const [name, limit] of Object.entries(asked.limits)) {
    const request = asked.requests[name];
    if (request !== undefined && amountOf(request) > amountOf(limit))
      violations.push({ field: FIELD, message: `requests.${name} is more than limits.${name}` });
  }
  return {
    resources: { init: withLimits(resources.init, asked.limits), sidecar: merged(resources.sidecar, asked) },
    violations,
  };
}

/** What is asked stands; the values' other half follows where it would contradict. */
function merged(given: Resources, asked: Required<Resources>): Resources {
  const requests: Record<string, string> = { ...given.requests, ...asked.requests };
  const limits: Record<string, string> = { ...given.limits, ...asked.limits };
  for (const [name, limit] of Object.entries(limits)) {
    const request = requests[name];
    if (request === undefined || amountOf(request) <= amountOf(limit)) continue;
    if (asked.limits[name] === undefined) limits[name] = request;
    else requests[name] = limit;
  }
  return { requests, limits };
}

/** For the init container only what it lacks: a quota wants a limit of every container. */
function withLimits(given: Resources, limits: Readonly<Record<string, string>>): Resources {
  const lacking = Object.entries(limits).filter(([name]) => given.limits?.[name] === undefined);
  return lacking.length === 0 ? given : { ...given, limits: { ...given.limits, ...Object.fromEntries(lacking) } };
}

function amountOf(quantity: string): number {
  return parseQuantity(quantity) ?? 0;
}
