/**
 * Keeps our webhook configurations and admission policies as the chart wrote them: the API server exempts these kinds from admission
 * (THREATS P14), so nothing else can. Whatever changes or deletes one, it is written again at once, with our authority in it.
 *
 * What they should be is in a ConfigMap of our own namespace, which an upgrade changes first. A write that changes nothing is none for
 * the API server (same resourceVersion), so the guard never chases itself.
 */
import { parseAllDocuments } from "yaml";
import type { Tell } from "#kube/events.ts";
import { hasStatus, type Kube, type KubeObject, type Resource } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

export const GUARDED: readonly Resource[] = [
  RESOURCE.mutatingWebhook,
  RESOURCE.validatingWebhook,
  RESOURCE.admissionPolicy,
  RESOURCE.admissionBinding,
];

export interface Desired {
  readonly resource: Resource;
  readonly object: KubeObject;
}

/** `data`: of the ConfigMap, each value one or more YAML documents. Throws where a document is none of the kinds that we guard. */
export function readDesired(data: Readonly<Record<string, string>>): readonly Desired[] {
  return Object.entries(data).flatMap(([file, text]) =>
    parseAllDocuments(text).flatMap((document) => {
      const object = document.toJS({ maxAliasCount: 0 }) as KubeObject | null;
      if (object === null) return [];
      const resource = GUARDED.find(({ kind }) => kind === object.kind);
      if (document.errors.length > 0 || resource === undefined || typeof object.metadata.name !== "string")
        throw new Error(`${file}: ${document.errors[0]?.message ?? `${object.kind ?? "a document"} is not guarded`}`);
      return [{ resource, object }];
    }),
  );
}

export interface GuardOptions {
  readonly kube: Kube;
  readonly tell: Tell;
  /** An object was put right: what, and who had it last ("" where that is not known). */
  readonly restored: (resource: Resource, name: string, how: "changed" | "deleted", by: string) => void;
}

interface WithWebhooks extends KubeObject {
  readonly webhooks?: readonly { readonly clientConfig?: { readonly caBundle?: string } }[];
}

/** What the object last had beside the manifest: labels and annotations of whoever installed it. Null: it was never seen. */
export type LastSeen = KubeObject["metadata"] | null;

/** Puts one object right. One that was never there is made only when `mayCreate`: whoever installs it comes first. Rejects where the API server refuses, also when it could not be reached. */
export async function restore(
  { kube, tell, restored }: GuardOptions,
  { resource, object }: Desired,
  at: { readonly ca: string; readonly seen: LastSeen; readonly mayCreate: boolean },
): Promise<LastSeen> {
  const { name } = object.metadata;
  const wanted = withAuthority(object, at.ca);
  for (let attempt = 1; ; attempt++) {
    const live = await kube.get(resource, { namespace: "", name });
    try {
      if (live === null) {
        if (at.seen === null && !at.mayCreate) return null;
        const made = await kube.create(resource, { ...wanted, metadata: own(object, at.seen) });
        await giveBack(kube, { resource, object }, made, at.seen);
        restored(resource, name, "deleted", "");
        tell({ about: made, type: "Warning", reason: "Restored", message: `${resource.kind} ${name} was missing` });
        return made.metadata;
      }
      const { managedFields: _managed, ...metadata } = live.metadata;
      const labels = { ...metadata.labels, ...object.metadata.labels };
      const annotations = { ...metadata.annotations, ...object.metadata.annotations };
      const put = await kube.replace(resource, { ...wanted, metadata: { ...metadata, labels, annotations } });
      if (put.metadata.resourceVersion === live.metadata.resourceVersion) return put.metadata;
      if (onlyAuthority(live, wanted)) return put.metadata;
      await giveBack(kube, { resource, object }, put, at.seen ?? live.metadata);
      const by = lastManager(live);
      restored(resource, name, "changed", by);
      const message = `${resource.kind} ${name} was changed${by === "" ? "" : ` (last by ${by})`} and is as it should be again`;
      tell({ about: put, type: "Warning", reason: "Restored", message });
      return put.metadata;
    } catch (fault) {
      // Somebody was quicker: look again.
      if (!hasStatus(fault, 409) || attempt >= 5) throw fault;
    }
  }
}

/**
 * What we wrote in place of whoever installed it belongs to that one again: Helm 4 applies on the server, and its next upgrade would find
 * fields that are ours. The authority stays ours: no template has it. Where that cannot be, the object is as it should be all the same.
 */
async function giveBack(kube: Kube, { resource, object }: Desired, put: KubeObject, seen: LastSeen): Promise<void> {
  const manager = installer(seen) ?? installer(put.metadata);
  if (manager === null) return;
  const { name, labels = {}, annotations = {} } = put.metadata;
  await kube.applyAs(resource, { ...object, metadata: { name, labels, annotations } }, manager).catch(() => undefined);
}

function installer(metadata: LastSeen): string | null {
  const applied = metadata?.managedFields?.find(
    ({ operation, manager }) => operation === "Apply" && manager !== undefined,
  );
  return applied?.manager ?? (metadata?.labels?.["app.kubernetes.io/managed-by"] === "Helm" ? "helm" : null);
}

/** Every webhook that brings no authority of its own trusts ours; templates cannot know it. */
function withAuthority(object: KubeObject, ca: string): KubeObject {
  const { webhooks } = object as WithWebhooks;
  if (webhooks === undefined) return object;
  const caBundle = Buffer.from(ca).toString("base64");
  return {
    ...object,
    webhooks: webhooks.map((webhook) =>
      webhook.clientConfig === undefined || webhook.clientConfig.caBundle !== undefined
        ? webhook
        : { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } },
    ),
  } as KubeObject;
}

/** The first filling of caBundle, or one that a rotation made longer, is our own doing, not somebody's change. */
function onlyAuthority(live: KubeObject, wanted: KubeObject): boolean {
  const before = (live as WithWebhooks).webhooks ?? [];
  const after = (wanted as WithWebhooks).webhooks ?? [];
  const text = (pem: string | undefined): string => Buffer.from(pem ?? "", "base64").toString("utf8");
  const differing = before.filter((one, at) => one.clientConfig?.caBundle !== after[at]?.clientConfig?.caBundle);
  const whole = text(after[0]?.clientConfig?.caBundle);
  return differing.length > 0 && differing.every((one) => whole.includes(text(one.clientConfig?.caBundle)));
}

function own({ metadata }: KubeObject, seen: LastSeen): KubeObject["metadata"] {
  const labels = { ...seen?.labels, ...metadata.labels };
  const annotations = { ...seen?.annotations, ...metadata.annotations };
  return { name: metadata.name, labels, annotations };
}

/** Who wrote last, as far as the object says. */
function lastManager({ metadata }: KubeObject): string {
  const entries = (metadata.managedFields ?? []).filter(({ manager }) => manager !== "sidegate");
  return entries.toSorted((a, b) => ((a.time ?? "") < (b.time ?? "") ? 1 : -1))[0]?.manager ?? "";
}
