/** `sidegate status`: what is outside the gate and why, what is stale, what is open on purpose and until when. Looks only. */
import { MAX_OBSERVE_MS, NAMESPACE_LABEL, OBSERVE_UNTIL } from "#contract/control-environment.ts";
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { listFreezes } from "#kube/freezes.ts";
import type { KubeObject } from "#kube/port.ts";
import { observeNamespace } from "../controller/observed.ts";
import { type Facts, type Injection, isExcluded } from "./facts.ts";
import { period } from "./finding.ts";
import { at, listAt, numberAt, textAt } from "./members.ts";
import { createOwners, type Owners, restartLine } from "./owners.ts";
import { type RevisionsReading, readRevisions } from "./revisions.ts";
import { type Exemption, exemptionText, hasEnded, optedInAt, type Standing, standingOf } from "./standing.ts";

export interface PodStanding {
  readonly namespace: string;
  readonly pod: string;
  readonly owner: string;
  readonly why: string;
}

export interface Note {
  /** Namespace, or namespace/name. */
  readonly of: string;
  readonly says: string;
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
  /** What your rights did not let it look at. */
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
      ...frozen.notes,
    ],
    restart: [...new Set(lines)],
    missing: [
      revisions.missing,
      frozen.missing,
      injection.options === null ? `${injection.why}: pods were not compared with what is injected` : "",
    ].filter((text) => text !== ""),
    ok: findings === 0,
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

/** What the controller says of each; one that it has not looked at since it changed is not Ready either. */
function readiness(objects: readonly KubeObject[]): Note[] {
  return objects.flatMap((object) => {
    const { namespace = "", name, generation = 0 } = object.metadata;
    const of = `${object.kind ?? ""} ${namespace === "" ? "" : `${namespace}/`}${name}`;
    const ready = listAt(object, "status", "conditions").find((condition) => textAt(condition, "type") === "Ready");
    if (numberAt(object, "status", "observedGeneration") !== generation)
      return [{ of, says: "not looked at by the controller yet" }];
    if (textAt(ready, "status") === "True") return [];
    const [line = ""] = textAt(ready, "message").split("\n");
    return [{ of, says: `not Ready: ${textAt(ready, "reason") || "no condition"}${line === "" ? "" : `: ${line}`}` }];
  });
}

function observeNotes(namespace: KubeObject, nowMs: number): Note[] {
  const { name, labels = {}, annotations = {} } = namespace.metadata;
  if (labels[NAMESPACE_LABEL.mode] !== "observe") return [];
  const until = annotations[OBSERVE_UNTIL] ?? "";
  const { observeUntilMs } = observeNamespace(namespace, nowMs);
  if (observeUntilMs > 0)
    return [
      {
        of: name,
        says: `observe mode until ${until} (${period(observeUntilMs - nowMs)} left): denials of policy are recorded, not carried out`,
      },
    ];
  const why =
    until === ""
      ? `annotation ${OBSERVE_UNTIL} is missing`
      : Date.parse(until) <= nowMs
        ? `it ended at ${until}`
        : `${until} is no time within ${MAX_OBSERVE_MS / 86_400_000} days`;
  return [{ of: name, says: `labelled ${NAMESPACE_LABEL.mode}=observe, but enforced: ${why}` }];
}

function exemptionNote(exemption: Exemption, nowMs: number): Note {
  const ended = hasEnded(exemption, nowMs);
  return {
    of: exemption.namespace,
    says: `${exemptionText(exemption)}${ended ? "; ITS DATE HAS PASSED: take it out of the chart's values" : ""}`,
  };
}

function insecure(target: KubeObject): Note[] {
  if (at(target, "spec", "insecureCredential") !== true) return [];
  const of = `EgressTarget ${target.metadata.namespace ?? ""}/${target.metadata.name}`;
  return [
    {
      of,
      says: `insecureCredential: ${textAt(target, "spec", "credential") || "its credential"} goes over unverified TLS to ${listAt(target, "spec", "endpoints").join(", ")}`,
    },
  ];
}

async function freezeNotes(
  { cluster, namespace }: Facts,
  only: string,
): Promise<{ readonly notes: readonly Note[]; readonly missing: string }> {
  try {
    const found = await listFreezes(cluster.kube, namespace, only);
    const everywhere = only === "" || only === namespace ? [] : await listFreezes(cluster.kube, namespace, namespace);
    return {
      notes: [...found, ...everywhere].map(({ namespace: at_, pod, frozen, pods }) => ({
        of: frozen.scope === "all" ? "every agent" : pod === null ? at_ : `${at_}/${pod}`,
        says: `frozen by ${frozen.by} since ${frozen.since}: ${frozen.reason}${pods === null ? "" : ` (${pods} pods)`}`,
      })),
      missing: "",
    };
  } catch (fault) {
    return {
      notes: [],
      missing: `freezes were not looked at: ${fault instanceof Error ? fault.message : String(fault)}`,
    };
  }
}

/** The chart's values as the options have them; in older releases only who is exempt is known. */
export function readExemptions({ options, data }: Pick<Injection, "options" | "data">): Exemption[] {
  const listed = listAt(options, "exemptions").map((entry) => ({
    namespace: textAt(entry, "namespace"),
    serviceAccount: textAt(entry, "serviceAccount"),
    until: textAt(entry, "until"),
    reason: textAt(entry, "reason"),
  }));
  if (listed.length > 0) return listed;
  return (data["exemptions"] ?? "").split("\n").flatMap((line) => {
    const [namespace = "", serviceAccount = ""] = line.split("/");
    return serviceAccount === "" ? [] : [{ namespace, serviceAccount, until: "", reason: "" }];
  });
}
