/**
 * A cluster autoscaler does not empty a node whose pods have local volumes, unless a pod says that they may go. Ours may: what is in them
 * is made anew, and records are shipped before a pod ends. The author's own list stays; ours are added to it.
 */
import type { Volume } from "./pod.ts";

export const SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/** The annotation's text. `ours`: the gateway's volumes. */
export function safeToEvict(theirs: string | undefined, ours: readonly Volume[]): string {
  const local = ours.filter((volume) => Object.hasOwn(volume, "emptyDir")).map(({ name }) => name);
  const named = (theirs ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  return [...new Set([...named, ...local])].join(",");
}
