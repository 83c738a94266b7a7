/** Carries a purge's plan out. */
import { setTimeout as wait } from "node:timers/promises";
import { hasStatus } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";
import type { Leftover } from "./purge.ts";

export function leftoverName({ resource, name }: Leftover): string {
  return `${resource.kind} ${name.namespace === "" ? "" : `${name.namespace}/`}${name.name}`;
}

/** API servers go on asking a policy for a moment after it was deleted. */
const ATTEMPTS = 10;
const AGAIN_MS = 500;

/** In the plan's order, one after the other; what somebody else removed meanwhile is removed. Rejects at the first that is refused. */
export async function purge(
  cluster: Cluster,
  leftovers: readonly Leftover[],
  tell: (done: Leftover) => void,
): Promise<void> {
  for (const leftover of leftovers) {
    await removeOne(cluster, leftover);
    tell(leftover);
  }
}

async function removeOne(cluster: Cluster, leftover: Leftover): Promise<void> {
  const { resource, name, how, labels, annotations } = leftover;
  for (let attempt = 1; ; attempt++) {
    try {
      if (how === "delete") await cluster.remove(resource, name);
      else
        await cluster.kube.patch(resource, name, {
          metadata: { labels: nulls(labels), annotations: nulls(annotations) },
        });
      return;
    } catch (fault) {
      if (hasStatus(fault, 404)) return;
      const why = fault instanceof Error ? fault.message : String(fault);
      if (attempt >= ATTEMPTS || !why.includes("ValidatingAdmissionPolicy"))
        throw new Error(`${leftoverName(leftover)}: ${why}`, { cause: fault });
      await wait(AGAIN_MS);
    }
  }
}

function nulls(keys: readonly string[]): Readonly<Record<string, null>> {
  return Object.fromEntries(keys.map((key) => [key, null]));
}
