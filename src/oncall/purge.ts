/**
 * `sidegate purge`: what an uninstall keeps on purpose (custom resources, keys, the record, namespaces' labels) and what it may have
 * left behind, found and, when a person says so, removed.
 *
 * Refuses while a release is installed or a pod still has a gateway: those would lose their policies, and then deny everything.
 */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import { ANNOTATION, API_GROUP } from "#contract/names.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { type KubeObject, type Name, nameOf, type Resource } from "#kube/port.ts";
import { GUARDED } from "../controller/guard.ts";
import type { Cluster } from "./cluster.ts";
import { listAt, textAt } from "./members.ts";

export interface Leftover {
  readonly resource: Resource;
  readonly name: Name;
  /** What it is, for people. */
  readonly what: string;
  /** `delete` the object, or only take our labels and annotations from it. */
  readonly how: "delete" | "unlabel";
  /** The keys to take away. */
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
  /** It is being deleted already. */
  readonly leaving: boolean;
}

export type PurgePlan =
  | { readonly kind: "refused"; readonly why: string; readonly names: readonly string[]; readonly fix: string }
  | { readonly kind: "plan"; readonly leftovers: readonly Leftover[] };

export interface PurgeOptions {
  /** The gateway's own namespace. */
  readonly namespace: string;
  /** The record's volume claim stays. */
  readonly keepRecord: boolean;
}

export async function planPurge(cluster: Cluster, options: PurgeOptions): Promise<PurgePlan> {
  const pods = (await cluster.all(ADMIN_RESOURCE.pod)).filter(hasGateway);
  if (pods.length > 0)
    return {
      kind: "refused",
      why: `${pods.length} pods still have a gateway`,
      names: pods.map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`),
      fix: "take the label from their namespaces (kubectl label namespace NAME sidegate.dev/inject-) and make them anew first",
    };
  const installed = await installedParts(cluster);
  if (installed.length > 0) {
    const where = [...new Set(installed.map(({ name }) => name.namespace))].join(", ");
    return {
      kind: "refused",
      why: `a release is still installed in namespace ${where}`,
      names: installed.map(({ kind, name }) => `${kind} ${name.namespace}/${name.name}`),
      fix: `helm uninstall comes first, there (helm list --namespace ${where} names it)`,
    };
  }
  return {
    kind: "plan",
    leftovers: [
      // First what could refuse the rest.
      ...(await guards(cluster)),
      ...(await labelled(cluster)),
      ...(await definitions(cluster)),
      ...(await ownObjects(cluster, options)),
    ].filter(({ leaving }) => !leaving),
  };
}

function hasGateway({ metadata, ...rest }: KubeObject): boolean {
  const phase = textAt(rest, "status", "phase");
  return metadata.annotations?.[ANNOTATION.injected] !== undefined && phase !== "Succeeded" && phase !== "Failed";
}

/** Looked again at once before it is carried out: refused where there is something now that nobody was shown. */
export async function planAgain(
  cluster: Cluster,
  options: PurgeOptions,
  shown: readonly Leftover[],
): Promise<PurgePlan> {
  const plan = await planPurge(cluster, options);
  if (plan.kind === "refused") return plan;
  const known = new Set(shown.map(keyOf));
  const unknown = plan.leftovers.filter((leftover) => !known.has(keyOf(leftover)));
  if (unknown.length === 0) return plan;
  return {
    kind: "refused",
    why: "meanwhile there is more than was shown",
    names: unknown.map(({ resource, name }) => `${resource.kind} ${name.namespace}/${name.name}`),
    fix: "look at all of it, and say yes again",
  };
}

function keyOf({ resource, name, how, labels, annotations }: Leftover): string {
  return JSON.stringify([resource.group, resource.plural, name.namespace, name.name, how, labels, annotations]);
}

/** In any namespace: most of what is removed is the whole cluster's. */
async function installedParts(cluster: Cluster): Promise<readonly { readonly kind: string; readonly name: Name }[]> {
  const found = await Promise.all(
    [ADMIN_RESOURCE.deployment, ADMIN_RESOURCE.statefulSet].map(async (resource) =>
      (await cluster.all(resource, { labelSelector: "app.kubernetes.io/name=sidegate" })).map((object) => ({
        kind: resource.kind,
        name: nameOf(object),
      })),
    ),
  );
  return found.flat();
}

const ours = ({ metadata }: KubeObject): boolean => metadata.labels?.["app.kubernetes.io/name"] === "sidegate";

async function guards(cluster: Cluster): Promise<Leftover[]> {
  const lists = await Promise.all(
    GUARDED.map(async (resource) =>
      (await cluster.all(resource)).filter(ours).map((object) => gone(resource, object, "admission")),
    ),
  );
  return lists.flat();
}

async function labelled(cluster: Cluster): Promise<Leftover[]> {
  const keysOf = (members: Readonly<Record<string, string>> | undefined): string[] =>
    Object.keys(members ?? {}).filter((key) => key.startsWith(`${API_GROUP}/`));
  return (await cluster.all(ADMIN_RESOURCE.namespace)).flatMap((object) => {
    const [labels, annotations] = [keysOf(object.metadata.labels), keysOf(object.metadata.annotations)];
    if (labels.length + annotations.length === 0) return [];
    const what = `only ${[...labels, ...annotations].join(", ")}`;
    return [
      {
        resource: ADMIN_RESOURCE.namespace,
        name: nameOf(object),
        what,
        how: "unlabel" as const,
        labels,
        annotations,
        leaving: false,
      },
    ];
  });
}

/** With how many resources of its kind: they go with it. */
async function definitions(cluster: Cluster): Promise<Leftover[]> {
  const found = (await cluster.all(ADMIN_RESOURCE.definition)).filter(
    (object) => textAt(object, "spec", "group") === API_GROUP,
  );
  return Promise.all(
    found.map(async (object) => {
      const version = textAt(listAt(object, "spec", "versions")[0], "name");
      const resource: Resource = {
        group: API_GROUP,
        version,
        plural: textAt(object, "spec", "names", "plural"),
        kind: textAt(object, "spec", "names", "kind"),
        namespaced: textAt(object, "spec", "scope") === "Namespaced",
      };
      const count = (await cluster.all(resource)).length;
      return gone(ADMIN_RESOURCE.definition, object, `with ${count} of its resources`);
    }),
  );
}

async function ownObjects(cluster: Cluster, { namespace, keepRecord }: PurgeOptions): Promise<Leftover[]> {
  const secrets = (await cluster.all(ADMIN_RESOURCE.secret, { namespace })).filter(
    ({ metadata }) =>
      metadata.name === CONTROL_OBJECT.certificates ||
      metadata.name === CONTROL_OBJECT.bundleKey ||
      metadata.labels?.[CONTROL_OBJECT.bundleLabel] !== undefined,
  );
  const maps = (await cluster.all(ADMIN_RESOURCE.configMap, { namespace })).filter(({ metadata }) =>
    [CONTROL_OBJECT.runtime, CONTROL_OBJECT.guarded, "sidegate-injection"].includes(metadata.name),
  );
  const leases = (await cluster.all(ADMIN_RESOURCE.lease, { namespace })).filter(
    ({ metadata }) => metadata.name === CONTROL_OBJECT.lease,
  );
  const pods = (await cluster.all(ADMIN_RESOURCE.pod, { namespace })).filter(
    (pod) => ours(pod) && pod.metadata.labels?.["app.kubernetes.io/component"] === "doctor",
  );
  const claims = keepRecord ? [] : (await cluster.all(ADMIN_RESOURCE.claim, { namespace })).filter(ours);
  return [
    ...secrets.map((object) =>
      gone(
        ADMIN_RESOURCE.secret,
        object,
        object.metadata.labels?.[CONTROL_OBJECT.bundleLabel] === undefined
          ? "a key of the control plane"
          : "a compiled bundle",
      ),
    ),
    ...maps.map((object) => gone(ADMIN_RESOURCE.configMap, object, "what injection needed")),
    ...leases.map((object) => gone(ADMIN_RESOURCE.lease, object, "who led")),
    ...pods.map((object) => gone(ADMIN_RESOURCE.pod, object, "of a doctor --nodes that was killed")),
    ...claims.map((object) =>
      gone(
        ADMIN_RESOURCE.claim,
        object,
        `THE RECORD: ${textAt(object, "spec", "resources", "requests", "storage")}; --keep-record keeps it`,
      ),
    ),
  ];
}

function gone(resource: Resource, object: KubeObject, what: string): Leftover {
  return {
    resource,
    name: nameOf(object),
    what,
    how: "delete",
    labels: [],
    annotations: [],
    leaving: object.metadata.deletionTimestamp !== undefined,
  };
}
