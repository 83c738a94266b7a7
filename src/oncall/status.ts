/** `sidegate status`: what is outside the gate and why, what is stale, what is open on purpose and until when. Looks only. */
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import type { KubeObject } from "#kube/port.ts";
import { type Facts, isExcluded } from "./facts.ts";
import { at, textAt } from "./members.ts";
import { createOwners, type Owners, restartLine } from "./owners.ts";
import { type RevisionsReading, readRevisions } from "./revisions.ts";
import { hasEnded, optedInAt, type Standing, standingOf } from "./standing.ts";
import {
  exemptionNote,
  freezeNotes,
  insecure,
  meshNotes,
  type Note,
  observeNotes,
  readExemptions,
  readiness,
} from "./status-notes.ts";

export interface PodStanding {
  readonly namespace: string;
  readonly pod: string;
  readonly owner: string;
  readonly why: string;
}

export interface StatusReport {
  /** With a gateway, running or starting. */
  readonly inside: number;
  readonly namespaces: readonly string[];
  /** Should be inside and are not: each is a finding. */
  readonly outside: readonly PodStanding[];
  /** Of an older release, or with other options. */
  readonly stale: readonly PodStanding[];
  /** Without the bundle in force. */
  readonly policies: readonly PodStanding[];
  readonly exempt: readonly PodStanding[];
  /** Policies and targets that are not Ready, freezes whose state is not known: findings. */
  readonly notReady: readonly Note[];
  /** Open or closed on purpose: observe mode, exemptions, insecure credentials, freezes. */
  readonly notes: readonly Note[];
  readonly restart: readonly string[];
  /** What could not be looked at: not well, because not known. */
  readonly missing: readonly string[];
  readonly ok: boolean;
}

/** `only`: one namespace; "" is all that opted in, and every pod that did by itself. */
export async function readStatus(facts: Facts, only: string): Promise<StatusReport> {
  const { cluster, namespace: own, wallMs } = facts;
  const all = only === "" ? await facts.namespaces() : await one(facts, only);
  const byName = new Map(all.map((object) => [object.metadata.name, object]));
  const scope = only === "" ? {} : { namespace: only };
  const [pods, policies, targets, injection] = await Promise.all([
    cluster.all(ADMIN_RESOURCE.pod, scope),
    ours(facts, only),
    cluster.all(ADMIN_RESOURCE.egressTarget, scope),
    facts.injection(),
  ]);
  const exemptions = readExemptions(injection).filter(({ namespace }) => only === "" || namespace === only);
  const living = pods.filter((pod) => isLiving(pod) && !isExcluded(pod.metadata.namespace ?? "", own));
  const standings = living.flatMap((pod) => {
    const namespace = byName.get(pod.metadata.namespace ?? "");
    if (namespace === undefined) return [];
    const optedInMs = optedInAt(namespace);
    return [
      {
        pod,
        standing: standingOf(pod, { namespace, optedInMs, options: injection.options, exemptions, nowMs: wallMs() }),
      },
    ];
  });
  const injected = living.filter(({ metadata }) => metadata.annotations?.[ANNOTATION.injected] !== undefined);
  const revisions = await readRevisions(injected, {
    cluster,
    own,
    namespaces: byName,
    policies,
    targets,
    nowMs: wallMs(),
  });
  const owners = createOwners(cluster);
  const of = (kind: Standing["kind"]): Promise<PodStanding[]> =>
    Promise.all(standings.filter(({ standing }) => standing.kind === kind).map((entry) => standingLine(entry, owners)));
  const [outside, stale, exempt, withoutBundle] = await Promise.all([
    of("outside"),
    of("stale"),
    of("exempt"),
    staleRevisions(revisions, owners),
  ]);
  const restartable = standings.filter(
    ({ standing }) => standing.kind === "stale" || (standing.kind === "outside" && standing.restart),
  );
  const lines = await Promise.all(
    restartable.map(async ({ pod }) => restartLine(pod.metadata.namespace ?? "", await owners.ownerOf(pod))),
  );
  const frozen = await freezeNotes(facts, only);
  const notReady = readiness([...policies, ...targets]);
  const observed = [...byName.values()].flatMap((namespace) => observeNotes(namespace, wallMs()));
  const expired = exemptions.filter((exemption) => hasEnded(exemption, wallMs()));
  const missing = [
    revisions.missing,
    frozen.missing,
    injection.options === null ? `${injection.why}: pods were not compared with what is injected` : "",
  ].filter((text) => text !== "");
  const findings = outside.length + withoutBundle.length + notReady.length + expired.length;
  return {
    inside: standings.filter(({ standing }) => standing.kind === "inside" || standing.kind === "stale").length,
    namespaces: all
      .filter(
        (object) =>
          at(object, "metadata", "labels", LABEL.inject) !== undefined && !isExcluded(object.metadata.name, own),
      )
      .map(({ metadata }) => metadata.name),
    outside,
    stale,
    policies: withoutBundle,
    exempt,
    notReady,
    notes: [
      ...observed,
      ...exemptions.map((exemption) => exemptionNote(exemption, wallMs())),
      ...targets.flatMap(insecure),
      ...meshNotes(injected),
      ...frozen.notes,
    ],
    restart: [...new Set(lines)],
    missing,
    ok: findings === 0 && missing.length === 0,
  };
}

async function one({ cluster }: Facts, name: string): Promise<readonly KubeObject[]> {
  const found = await cluster.get(ADMIN_RESOURCE.namespace, name);
  if (found === null) throw new NoSuchNamespace(`there is no namespace ${JSON.stringify(name)}`);
  return [found];
}

export class NoSuchNamespace extends Error {
  readonly code = "no_such_namespace";
}

/** With the cluster's own, which concern every namespace. */
async function ours({ cluster }: Facts, only: string): Promise<readonly KubeObject[]> {
  const [mine, clusters] = await Promise.all([
    cluster.all(ADMIN_RESOURCE.agentPolicy, only === "" ? {} : { namespace: only }),
    cluster.all(ADMIN_RESOURCE.clusterAgentPolicy),
  ]);
  return [...mine, ...clusters];
}

async function standingLine(
  { pod, standing }: { readonly pod: KubeObject; readonly standing: Standing },
  owners: Owners,
): Promise<PodStanding> {
  const { namespace = "", name } = pod.metadata;
  return { namespace, pod: name, owner: await owners.ownerOf(pod), why: "why" in standing ? standing.why : "" };
}

function staleRevisions({ revisions }: RevisionsReading, owners: Owners): Promise<PodStanding[]> {
  return Promise.all(
    revisions
      .filter(({ state }) => state !== "current")
      .map(async ({ pod, says }) => ({
        namespace: pod.metadata.namespace ?? "",
        pod: pod.metadata.name,
        owner: await owners.ownerOf(pod),
        why: says,
      })),
  );
}

function isLiving(pod: KubeObject): boolean {
  const phase = textAt(pod, "status", "phase");
  return phase !== "Succeeded" && phase !== "Failed" && pod.metadata.deletionTimestamp === undefined;
}
