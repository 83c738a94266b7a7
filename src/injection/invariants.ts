/**
 * Pod → what is broken in it: the other half of injection, for the validating webhook, the drift check and the command line.
 * A pod keeps its invariants when injecting it again would change nothing.
 */
import { injectPod } from "./inject.ts";
import { fieldPath } from "./look-alike.ts";
import type { InjectionOptions } from "./options.ts";
import { type Pod, readPod } from "./pod.ts";
import { hasOurName, placedContainers } from "./pod-containers.ts";
import type { Violation } from "./violation.ts";

/** Empty when the pod runs as injection would make it run. `value`: a parsed pod. */
export function brokenInvariants(value: unknown, options: InjectionOptions): Violation[] {
  const reading = readPod(value);
  if (reading.kind === "malformed") return [...reading.violations];
  if (!isInjected(reading.pod)) {
    return [
      {
        field: "spec.initContainers",
        message: "the gateway's containers are missing: make the pod anew, so that the webhook sees it",
      },
    ];
  }
  // Which frameworks were told to be quiet depends on the targets of that day.
  const again = injectPod(value, { ...options, environment: {} }, () => {
    throw new Error("an injected pod has a uid");
  });
  if (again.kind === "denied") return [...again.violations];
  return again.patch.map(({ path }) => ({
    field: fieldPath(path).replace(/^\./, ""),
    message: "differs from what the gateway injects: make the pod anew",
  }));
}

/** Whether anything in the pod bears one of our names; what it is worth, `brokenInvariants` says. */
export function isInjected(pod: Pod): boolean {
  return placedContainers(pod).some(({ container }) => hasOurName(container));
}
