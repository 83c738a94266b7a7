/** What `kubectl get` says of our resources: the Ready condition, the observed generation, the number of pods. Written only when it changes. */
import type { Condition, ResourceStatus } from "#contract/agent-policy.ts";
import type { Clock } from "#core/clock.ts";
import { escapeAndCut } from "#core/escape.ts";
import { hasStatus, type Kube, type Resource } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import { formatProblem, type Problem } from "#policy/compile/problem.ts";
import { moduleFile, testFile } from "#policy/compile/resource.ts";
import { type Claims, claimsOf } from "./claimed.ts";
import type { Lack } from "./credentials/make.ts";
import type { Fleet, Known } from "./fleet.ts";
import type { Maker } from "./maker.ts";
import type { ObservedPolicy, ObservedStatus, ObservedTarget } from "./observed.ts";
import { makeSet, policyKey } from "./policy-set.ts";

export interface Verdict {
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

export interface StatusOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly fleet: Fleet;
  readonly maker: Maker;
  readonly own: string;
  readonly clock: Clock;
  /** What keeps a target's credential from being handed out; null: nothing, or it has none. */
  readonly lack?: (target: ObservedTarget) => Lack | null;
  readonly onFault: (fault: unknown) => void;
}

/** `kubectl describe` shows all of it. */
const MAX_MESSAGE = 4_000;
const MAX_PROBLEMS = 20;

/** Writes what differs, one after the other; rejects never. */
export async function writeStatuses(options: StatusOptions, signal: AbortSignal): Promise<void> {
  const { known } = options;
  for (const policy of known.policies.values()) {
    if (signal.aborted) return;
    const { verdict, pods } = policyVerdict(policy, options);
    const resource = policy.kind === "AgentPolicy" ? RESOURCE.agentPolicy : RESOURCE.clusterAgentPolicy;
    await write(options, resource, policy, verdict, pods);
  }
  const claims = clusterClaims(known, options.own);
  for (const target of known.targets.values()) {
    if (signal.aborted) return;
    await write(options, RESOURCE.egressTarget, target, targetVerdict(target, options, claims), 0);
  }
}

export function policyVerdict(
  policy: ObservedPolicy,
  { known, fleet, maker }: Pick<StatusOptions, "known" | "fleet" | "maker">,
): { readonly verdict: Verdict; readonly pods: number } {
  if (policy.malformed !== "")
    return { verdict: { status: "False", reason: "Malformed", message: policy.malformed }, pods: 0 };
  if (policy.kind === "AgentPolicy" && known.policies.get(policy.name)?.kind === "ClusterAgentPolicy") {
    const message = `a ClusterAgentPolicy is called ${policy.name} too; rename this one`;
    return { verdict: { status: "False", reason: "NameTaken", message }, pods: 0 };
  }
  const key = policyKey(policy);
  const having = [...fleet.sets.values()].filter(({ set }) => set.policies.some((one) => policyKey(one) === key));
  const pods = having.reduce((sum, one) => sum + one.pods, 0);
  const makings =
    having.length > 0 ? having.map(({ set }) => maker.making(set)) : [maker.check(makeSet([policy], policy.namespace))];
  const problems = makings.flatMap((making) => (making.kind === "problems" ? making.problems : []));
  if (problems.length > 0) return { verdict: wrong(policy, problems), pods };
  if (makings.some((making) => making.kind === "making"))
    return { verdict: { status: "Unknown", reason: "Compiling", message: "" }, pods };
  const message = pods === 0 ? "compiles; no running pod is selected" : `in force for ${pods} pods`;
  return { verdict: { status: "True", reason: pods === 0 ? "Compiles" : "InForce", message }, pods };
}

/** Its own problems where there are any; else those of what it stands together with. */
function wrong(policy: ObservedPolicy, problems: readonly Problem[]): Verdict {
  const files = new Set([moduleFile(policy), testFile(policy)]);
  const own = problems.filter((problem) => files.has(problem.file));
  const told = own.length > 0 ? own : problems;
  const reason = own.length > 0 ? "DoesNotCompile" : "OthersDoNotCompile";
  const lines = [...new Set(told.slice(0, MAX_PROBLEMS).map(formatProblem))];
  const last = "the last good bundle stays in force";
  return { status: "False", reason, message: [...lines, last].join("\n") };
}

function clusterClaims(known: Known, own: string): Claims {
  return claimsOf([...known.targets.values()].filter(({ namespace }) => namespace === own));
}

export function targetVerdict(
  target: ObservedTarget,
  { known, own, lack }: Pick<StatusOptions, "known" | "own" | "lack">,
  claims: Claims = clusterClaims(known, own),
): Verdict {
  const { malformed, namespace, name, spec } = target;
  if (malformed !== "") return { status: "False", reason: "Malformed", message: malformed };
  const taken = namespace === own ? null : claims.taken(target);
  if (taken?.what === "name") {
    const message = `a target of the cluster (namespace ${own}) is called ${name} too; rename this one`;
    return { status: "False", reason: "NameTaken", message };
  }
  if (taken !== null) {
    const message = `${taken.what} ${taken.text} belongs to the cluster's target ${taken.by} (namespace ${own}); use that one, or have it changed`;
    return { status: "False", reason: "HostTaken", message };
  }
  const to = namespace === own ? "every namespace" : `namespace ${namespace}`;
  const offered = `known to agents of ${to}`;
  const lacking = lack?.(target) ?? null;
  if (lacking !== null) {
    // A Secret that has not been listed yet is no news.
    const status = lacking.code === "Unavailable" ? "Unknown" : "False";
    return { status, reason: `Credential${lacking.code}`, message: `${offered}; no credential: ${lacking.why}` };
  }
  const { credential, credentialFrom } = spec;
  if (credential === undefined) return { status: "True", reason: "Offered", message: offered };
  const kind = credentialFrom === undefined ? "" : ` (${credentialFrom.kind})`;
  if (spec.insecureCredential === true) {
    const open = `insecureCredential: its credential ${credential}${kind} may go to its endpoints without verified TLS`;
    return { status: "True", reason: "InsecureCredential", message: `${offered}; ${open}` };
  }
  return { status: "True", reason: "Offered", message: `${offered}, with the credential ${credential}${kind}` };
}

interface Subject {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly status: ObservedStatus;
}

async function write(
  { kube, clock, onFault }: StatusOptions,
  resource: Resource,
  subject: Subject,
  verdict: Verdict,
  pods: number,
): Promise<void> {
  const { ready: before, pods: counted } = subject.status;
  const message = verdict.message
    .split("\n")
    .map((line) => escapeAndCut(line, MAX_MESSAGE))
    .join("\n");
  const same =
    before?.status === verdict.status &&
    before.reason === verdict.reason &&
    before.message === message &&
    before.observedGeneration === subject.generation &&
    counted === pods;
  if (same) return;
  const condition: Condition = {
    type: "Ready",
    status: verdict.status,
    reason: verdict.reason,
    message,
    lastTransitionTime:
      before?.status === verdict.status
        ? before.lastTransitionTime
        : new Date(clock.wallMs()).toISOString().replace(/\.\d+Z$/, "Z"),
    observedGeneration: subject.generation,
  };
  const status: ResourceStatus = { observedGeneration: subject.generation, conditions: [condition], pods };
  try {
    await kube.patch(resource, { namespace: subject.namespace, name: subject.name }, { status }, "status");
  } catch (fault) {
    if (!hasStatus(fault, 404)) onFault(fault);
  }
}
