/** Freezes as a person's command line makes, lists and lifts them; `status` shows what `listFreezes` gives. */
import { setTimeout as sleep } from "node:timers/promises";
import type { FreezeEntry, Frozen } from "#contract/freeze.ts";
import type { FreezeSpec, FreezeStatus } from "#contract/freeze-spec.ts";
import type { Kube, KubeObject, Name } from "./port.ts";
import { RESOURCE } from "./resources.ts";

interface FreezeObject extends KubeObject {
  readonly spec: FreezeSpec;
  readonly status?: FreezeStatus;
}

export interface ListedFreeze extends FreezeEntry {
  /** How many running pods it concerns, as the controller last counted; null: not yet. */
  readonly pods: number | null;
}

const PAGE = 500;

/** Those in force, oldest first. `namespace`: "" is all of them. `own`: the gateway's namespace. */
export async function listFreezes(kube: Kube, own: string, namespace: string): Promise<readonly ListedFreeze[]> {
  const found: ListedFreeze[] = [];
  let continues = "";
  do {
    const page = await kube.list(RESOURCE.freeze, { namespace }, { limit: PAGE, continues });
    for (const object of page.items) {
      const entry = entryOf(object as FreezeObject, own);
      if (entry.lifted === null) found.push(entry);
    }
    ({ continues } = page);
  } while (continues !== "");
  return found.sort((a, b) => (a.frozen.since < b.frozen.since ? -1 : 1));
}

/** Rejects with the API server's words where the user may not. `pod`: null: the whole namespace. */
export async function makeFreeze(
  kube: Kube,
  wish: { readonly namespace: string; readonly pod: string | null; readonly reason: string; readonly name: string },
): Promise<{ readonly by: string }> {
  const by = await userName(kube);
  const { namespace, pod, reason, name } = wish;
  const spec: FreezeSpec = { ...(pod === null ? {} : { pod }), reason, by };
  await kube.create<FreezeObject>(RESOURCE.freeze, { metadata: { namespace, name }, spec });
  return { by };
}

/** How many running pods it concerns, as soon as a controller says so; null: none has within the time. */
export async function takenUp(
  kube: Kube,
  at: Name,
  { limitMs, everyMs }: { readonly limitMs: number; readonly everyMs: number },
): Promise<number | null> {
  for (let waited = 0; ; waited += everyMs) {
    const pods = (await kube.get<FreezeObject>(RESOURCE.freeze, at))?.status?.pods;
    if (pods !== undefined) return pods;
    if (waited >= limitMs) return null;
    await sleep(everyMs);
  }
}

export async function liftFreeze(kube: Kube, entry: FreezeEntry, reason: string): Promise<void> {
  const lifted = { by: await userName(kube), ...(reason === "" ? {} : { reason }) };
  await kube.patch(RESOURCE.freeze, { namespace: entry.namespace, name: entry.name }, { spec: { lifted } });
}

interface SelfReview extends KubeObject {
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}

/** Who the API server says that we are. */
export async function userName(kube: Kube): Promise<string> {
  const { status } = await kube.create<SelfReview>(RESOURCE.selfReview, { metadata: { name: "" } });
  const name = status?.userInfo?.username ?? "";
  if (name === "") throw new Error("the API server does not say who we are");
  return name;
}

function entryOf({ metadata, spec, status }: FreezeObject, own: string): ListedFreeze {
  const { namespace = "", name, uid = "", creationTimestamp = "" } = metadata;
  const pod = spec.pod ?? null;
  const scope: Frozen["scope"] = pod !== null ? "pod" : namespace === own ? "all" : "namespace";
  return {
    namespace,
    name,
    pod,
    frozen: { scope, by: spec.by, reason: spec.reason, since: creationTimestamp, id: uid },
    lifted: spec.lifted === undefined ? null : { by: spec.lifted.by, reason: spec.lifted.reason ?? "" },
    pods: status?.pods ?? null,
  };
}
