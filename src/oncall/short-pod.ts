/** Pods that a command makes, waits for and reads: until they end, within a limit, or until somebody presses Ctrl-C. */
import { setTimeout as wait } from "node:timers/promises";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject, Name } from "#kube/port.ts";
import type { Cluster } from "./cluster.ts";
import { at, listAt, textAt } from "./members.ts";

export type EndedPod =
  | { readonly kind: "succeeded" | "failed"; readonly why: string }
  | { readonly kind: "late" | "stopped"; readonly why: string };

const EVERY_MS = 500;

export interface Waiting {
  readonly limitMs: number;
  readonly signal: AbortSignal;
  /** Asked while it runs: how it ended for whoever waits, though not for Kubernetes. Null: not yet. */
  readonly early?: (pod: KubeObject) => EndedPod | null;
}

export async function podEnded(cluster: Cluster, name: Name, { limitMs, signal, early }: Waiting): Promise<EndedPod> {
  const end = performance.now() + limitMs;
  let why = "";
  while (!signal.aborted) {
    const pod = await cluster.get(ADMIN_RESOURCE.pod, name.name, name.namespace);
    if (pod === null) return { kind: "failed", why: "it was deleted by somebody else" };
    why = reasonOf(pod);
    const phase = textAt(pod, "status", "phase");
    if (phase === "Succeeded") return { kind: "succeeded", why };
    if (phase === "Failed") return { kind: "failed", why };
    const ended = early?.(pod) ?? null;
    if (ended !== null) return ended;
    if (performance.now() > end) return { kind: "late", why };
    await wait(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return { kind: "stopped", why };
}

/** One container's own status; undefined where there is none yet. */
export function statusOf(pod: KubeObject, container: string): unknown {
  const all = [...listAt(pod, "status", "initContainerStatuses"), ...listAt(pod, "status", "containerStatuses")];
  return all.find((status) => textAt(status, "name") === container);
}

/** What keeps it, in the kubelet's words: `ImagePullBackOff`, `ErrImagePull`, a termination's reason, or its phase. */
export function reasonOf(pod: KubeObject): string {
  const statuses = [...listAt(pod, "status", "initContainerStatuses"), ...listAt(pod, "status", "containerStatuses")];
  const said = statuses.flatMap((status) => {
    const waiting = at(status, "state", "waiting");
    const over = at(status, "state", "terminated");
    const reason = textAt(waiting, "reason") || textAt(over, "reason");
    const message = textAt(waiting, "message") || textAt(over, "message");
    if (reason === "" || reason === "Completed" || reason === "PodInitializing") return [];
    return [`${textAt(status, "name")}: ${reason}${message === "" ? "" : `: ${message.slice(0, 300)}`}`];
  });
  const own = [textAt(pod, "status", "reason"), textAt(pod, "status", "message")].filter((part) => part !== "");
  return [...own, ...said].join("; ") || textAt(pod, "status", "phase") || "nothing is known of it";
}

/** The container's whole log, at most `MAX_LOG_BYTES` of it. Rejects where there is none. */
export async function podLog(cluster: Cluster, { namespace, name }: Name, container: string): Promise<string> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/log`;
  const query = new URLSearchParams({ container, limitBytes: String(MAX_LOG_BYTES) });
  const { status, text } = await cluster.raw({ path: `${path}?${query.toString()}` });
  if (status !== 200) throw new Error(`the log of ${container} cannot be read: status ${status} ${text.slice(0, 300)}`);
  return text;
}

const MAX_LOG_BYTES = 4 * 1024 * 1024;
