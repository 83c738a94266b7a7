/**
 * Whether pods decide by the policies that stand in the cluster: each sidecar says on its metrics page since when it has its bundle, and
 * the bundle of its set is a Secret with a time. Asked through the API server's proxy, a few at a time, each briefly.
 */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import { ADMIN_PORT } from "#contract/names.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import { observePolicy, observeTarget } from "../controller/observed.ts";
import { setFor } from "../controller/policy-set.ts";
import { type Cluster, MissingRight } from "./cluster.ts";
import { textAt } from "./members.ts";
import { readLabel, readSample } from "./sample.ts";

export interface Revision {
  readonly pod: KubeObject;
  /** `none`: it has no bundle and denies everything; `stale`: an older one than the cluster's; `silent`: it does not say. */
  readonly state: "current" | "stale" | "none" | "silent";
  readonly says: string;
}

export interface RevisionsReading {
  readonly revisions: readonly Revision[];
  /** What could not be looked at, for people; "" where all was. */
  readonly missing: string;
}

const LIMIT_MS = 3_000;
const PARALLEL = 8;
const MAX_PODS = 500;
/** A new bundle is with every pod within a few seconds; clocks may differ by some more. */
const SETTLED_MS = 30_000;

export interface RevisionOptions {
  readonly cluster: Cluster;
  readonly own: string;
  readonly namespaces: ReadonlyMap<string, KubeObject>;
  readonly policies: readonly KubeObject[];
  readonly targets: readonly KubeObject[];
  readonly nowMs: number;
}

export async function readRevisions(pods: readonly KubeObject[], options: RevisionOptions): Promise<RevisionsReading> {
  const running = pods.filter((pod) => textAt(pod, "status", "phase") === "Running");
  if (running.length === 0) return { revisions: [], missing: "" };
  const stored = await storedTimes(options).catch((fault: unknown) => {
    if (fault instanceof MissingRight) return null;
    throw fault;
  });
  const revisions: Revision[] = [];
  let forbidden = false;
  for (let from = 0; from < Math.min(running.length, MAX_PODS) && !forbidden; from += PARALLEL) {
    const read = await Promise.all(running.slice(from, from + PARALLEL).map((pod) => readOne(pod, stored, options)));
    for (const one of read) {
      if (one === "forbidden") forbidden = true;
      else revisions.push(one);
    }
  }
  const missing = [
    forbidden ? "policy revisions were not looked at: your account may not get pods/proxy" : "",
    stored === null
      ? `whether they are the newest was not looked at: your account may not list secrets in namespace ${options.own}`
      : "",
    running.length > MAX_PODS
      ? `only ${MAX_PODS} of ${running.length} pods were asked for their policies; name a namespace`
      : "",
  ];
  return { revisions, missing: missing.filter((one) => one !== "").join("; ") };
}

/** When the bundle of each set was last written, by the set's id. */
async function storedTimes({ cluster, own }: RevisionOptions): Promise<ReadonlyMap<string, number>> {
  const secrets = await cluster.all(ADMIN_RESOURCE.secret, {
    namespace: own,
    labelSelector: CONTROL_OBJECT.bundleLabel,
  });
  return new Map(
    secrets.map(({ metadata }) => {
      const times = [metadata.creationTimestamp, ...(metadata.managedFields ?? []).map(({ time }) => time)];
      return [
        metadata.labels?.[CONTROL_OBJECT.bundleLabel] ?? "",
        Math.max(...times.map((time) => Date.parse(time ?? "") || 0)),
      ];
    }),
  );
}

async function readOne(
  pod: KubeObject,
  stored: ReadonlyMap<string, number> | null,
  options: RevisionOptions,
): Promise<Revision | "forbidden"> {
  const { namespace = "", name } = pod.metadata;
  const path = `/api/v1/namespaces/${namespace}/pods/${name}:${ADMIN_PORT}/proxy/metrics`;
  const answer = await options.cluster.raw({ path, limitMs: LIMIT_MS }).catch(() => null);
  if (answer?.status === 403) return "forbidden";
  if (answer === null || answer.status !== 200)
    return { pod, state: "silent", says: "its sidecar does not answer on its metrics page" };
  const revision = readLabel(answer.text, "sidegate_policy_info", "revision");
  if (revision === null) return { pod, state: "none", says: "it has no policy bundle: everything is denied" };
  const age = readSample(answer.text, "sidegate_policy_age_seconds");
  const written = stored?.get(setIdOf(pod, options)) ?? 0;
  const loadedMs = options.nowMs - (age ?? 0) * 1000;
  if (age === null || written === 0 || loadedMs >= written - SETTLED_MS || options.nowMs - written < SETTLED_MS)
    return { pod, state: "current", says: revision };
  const since = new Date(written).toISOString().slice(0, 16);
  return { pod, state: "stale", says: `decides by revision ${revision}, there is a newer one since ${since}` };
}

function setIdOf({ metadata }: KubeObject, { own, namespaces, policies, targets }: RevisionOptions): string {
  const { namespace = "", labels = {} } = metadata;
  const both = { namespace: namespaces.get(namespace)?.metadata.labels ?? {}, pod: labels };
  const hasTargets = namespace !== own && targets.some((target) => observeTarget(target).namespace === namespace);
  return setFor(policies.map(observePolicy), namespace, both, hasTargets).id;
}
