/**
 * The people behind a pod that a controller makes: its workload's stamps, asked of the API server, and kept for a moment, because a
 * ReplicaSet makes many pods at once.
 *
 * Errs towards nobody: what cannot be found in time is not known, and the pod goes on without a name behind it.
 */
import type { Clock } from "#core/clock.ts";
import { equalJson } from "#core/json-diff.ts";
import { Lru } from "#core/lru.ts";
import { POD_CONTROLLERS } from "#injection/owner.ts";
import { NOBODY, peopleOf, type WorkloadPeople } from "#injection/people.ts";
import type { Kube, KubeObject, Resource } from "#kube/port.ts";
import type { AdmissionRequest } from "./review.ts";

export interface BehindOptions {
  readonly kube: Kube;
  readonly clock: Clock;
  readonly onFault: (fault: unknown) => void;
}

export type Behind = (request: AdmissionRequest) => WorkloadPeople | Promise<WorkloadPeople>;

const apps = { group: "apps", version: "v1", namespaced: true } as const;
const batch = { group: "batch", version: "v1", namespaced: true } as const;
const OWNERS: ReadonlyMap<string, Resource> = new Map([
  ["apps/ReplicaSet", { ...apps, plural: "replicasets", kind: "ReplicaSet" }],
  ["apps/StatefulSet", { ...apps, plural: "statefulsets", kind: "StatefulSet" }],
  ["apps/DaemonSet", { ...apps, plural: "daemonsets", kind: "DaemonSet" }],
  ["batch/Job", { ...batch, plural: "jobs", kind: "Job" }],
  ["batch/CronJob", { ...batch, plural: "cronjobs", kind: "CronJob" }],
]);
const KEPT = 4_096;
const FRESH_MS = 5_000;
/** Of the five seconds that the API server waits. */
const LIMIT_MS = 1_500;
const CONTROLLERS: ReadonlySet<string> = new Set(POD_CONTROLLERS);

interface Reference {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly uid?: string;
  readonly controller?: boolean;
}

export function createBehind({ kube, clock, onFault }: BehindOptions): Behind {
  const kept = new Lru<string, { readonly people: Promise<WorkloadPeople>; readonly atMs: number }>(KEPT);

  async function find(namespace: string, object: KubeObject | null, from: Reference | null): Promise<WorkloadPeople> {
    const group = (from?.apiVersion ?? "").split("/", 1)[0] ?? "";
    const resource = from === null ? undefined : OWNERS.get(`${group}/${from.kind ?? ""}`);
    if (from === null || resource === undefined) return object === null ? NOBODY : peopleOf(object);
    const owner = await kube.get(resource, { namespace, name: from.name ?? "" });
    if (owner === null || owner.metadata.uid !== from.uid) return NOBODY;
    // A Job refers to whatever CronJob its author likes; those of the one who wrote this template are behind it all the same.
    if (object !== null && !equalJson(madeOf(object), madeOf(owner))) return NOBODY;
    // A Job that a CronJob's controller made bears no stamps: its CronJob does. A Deployment's ReplicaSet has the Deployment's copied.
    const above = resource.kind === "Job" && peopleOf(owner).creator === "" ? controllerOf(owner) : null;
    return above === null ? peopleOf(owner) : find(namespace, owner, above);
  }

  return ({ userInfo, object, namespace = "" }) => {
    if (!CONTROLLERS.has(userInfo.username ?? "")) return NOBODY;
    const reference = controllerOf(object);
    if (reference?.uid === undefined) return NOBODY;
    const key = `${namespace}/${reference.uid}`;
    const known = kept.get(key);
    const now = clock.elapsedMs();
    if (known !== undefined && now - known.atMs < FRESH_MS) return known.people;
    const people = inTime(find(namespace, null, reference)).catch((fault: unknown) => {
      onFault(fault);
      return NOBODY;
    });
    kept.set(key, { people, atMs: now });
    return people;
  };
}

interface Template {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
}

/** What a Job's or a CronJob's pods are made of, without the labels that the API server adds to a Job's. */
function madeOf(workload: KubeObject): object {
  const { spec } = workload as KubeObject & {
    readonly spec?: {
      readonly template?: Template;
      readonly jobTemplate?: { readonly spec?: { readonly template?: Template } };
    };
  };
  const { metadata = {}, spec: pod = {} } = spec?.jobTemplate?.spec?.template ?? spec?.template ?? {};
  const labels = Object.entries(metadata.labels ?? {}).filter(([name]) => !JOB_LABEL.test(name));
  return { labels: Object.fromEntries(labels), annotations: metadata.annotations ?? {}, pod };
}

const JOB_LABEL = /^(batch\.kubernetes\.io\/)?(controller-uid|job-name)$/;

export function controllerOf(object: unknown): Reference | null {
  const { metadata } = (object ?? {}) as { readonly metadata?: { readonly ownerReferences?: unknown } };
  const references = metadata?.ownerReferences;
  if (!Array.isArray(references)) return null;
  return (references as Reference[]).find(({ controller }) => controller === true) ?? null;
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`a pod's workload was not found within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
