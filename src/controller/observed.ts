/** What the controller keeps of the cluster's objects: small frozen values, made as the objects arrive. */
import { Compile } from "typebox/compile";
import { AgentPolicySpec, ClusterAgentPolicySpec, type Condition, type LabelSelector } from "#contract/agent-policy.ts";
import { ANNOTATION } from "#contract/names.ts";
import { TargetSpec } from "#contract/target.ts";
import type { KubeObject } from "#kube/port.ts";
import { timeOf } from "./guarded.ts";
import { observationOf } from "./observation.ts";
import type { Labels } from "./selector.ts";

/** What the object's status says. */
export interface ObservedStatus {
  /** Null: none yet. */
  readonly ready: Condition | null;
  readonly pods: number;
}

export interface ObservedPolicy {
  readonly kind: "AgentPolicy" | "ClusterAgentPolicy";
  /** "" for a cluster's. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly namespaceSelector: LabelSelector | undefined;
  readonly podSelector: LabelSelector | undefined;
  readonly module: string;
  readonly tests: string;
  readonly data: unknown;
  readonly mode: "enforce" | "observe";
  /** What keeps it from being used at all; "" where nothing does. */
  readonly malformed: string;
}

export interface ObservedTarget {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly spec: TargetSpec;
  readonly malformed: string;
}

export interface ObservedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly serviceAccount: string;
  /** Wall milliseconds; 0: not known. */
  readonly madeMs: number;
  readonly addresses: readonly string[];
}

export interface ObservedNamespace {
  readonly labels: Labels;
  readonly uid: string;
  /** Wall milliseconds until which it is in observe mode, also when that is past; 0: it is not. */
  readonly observeUntilMs: number;
  /** Why it is not although it is asked for; "": there is no fault. */
  readonly observeFault: string;
}

const clusterPolicy = Compile(ClusterAgentPolicySpec);
const namespacePolicy = Compile(AgentPolicySpec);
const target = Compile(TargetSpec);

interface WithStatus extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly conditions?: readonly Condition[]; readonly pods?: number };
}

export function observePolicy(object: KubeObject): ObservedPolicy {
  const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
  const kind = object.kind === "ClusterAgentPolicy" ? "ClusterAgentPolicy" : "AgentPolicy";
  const spec: unknown = (object as WithStatus).spec;
  const checker = kind === "ClusterAgentPolicy" ? clusterPolicy : namespacePolicy;
  const base = { kind, namespace, name, uid, generation, status: observeStatus(object) } as const;
  if (!checker.Check(spec)) {
    const first = checker.Errors(spec)[0];
    const malformed = `spec${(first?.instancePath ?? "").replaceAll("/", ".")}: ${first?.message ?? "is malformed"}`;
    const none = { namespaceSelector: undefined, podSelector: undefined, module: "", tests: "", data: undefined };
    return { ...base, ...none, mode: "enforce", malformed };
  }
  const { module, tests = "", data, mode = "enforce", podSelector } = spec;
  const namespaceSelector = "namespaceSelector" in spec ? (spec.namespaceSelector as LabelSelector) : undefined;
  return { ...base, module, tests, data, mode, podSelector, namespaceSelector, malformed: "" };
}

export function observeTarget(object: KubeObject): ObservedTarget {
  const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
  const spec: unknown = (object as WithStatus).spec;
  const base = { namespace, name, uid, generation, status: observeStatus(object) };
  if (target.Check(spec)) return { ...base, spec, malformed: "" };
  const first = target.Errors(spec)[0];
  const malformed = `spec${(first?.instancePath ?? "").replaceAll("/", ".")}: ${first?.message ?? "is malformed"}`;
  return { ...base, spec: { hosts: ["malformed.invalid"], ports: [1] }, malformed };
}

function observeStatus(object: KubeObject): ObservedStatus {
  const { conditions = [], pods = 0 } = (object as WithStatus).status ?? {};
  return { ready: conditions.find(({ type }) => type === "Ready") ?? null, pods };
}

interface PodObject extends KubeObject {
  readonly spec?: { readonly serviceAccountName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
  };
}

/** Null: it has no gateway, or it has ended. */
export function observePod(object: KubeObject): ObservedPod | null {
  const { metadata, spec, status } = object as PodObject;
  const { namespace = "", name, uid = "", labels = {}, annotations = {}, creationTimestamp } = metadata;
  if (annotations[ANNOTATION.injected] === undefined) return null;
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return null;
  const serviceAccount = spec?.serviceAccountName ?? "default";
  const addresses = (status?.podIPs ?? []).map(({ ip }) => ip);
  return { namespace, name, uid, labels, serviceAccount, madeMs: timeOf(creationTimestamp), addresses };
}

export function observeNamespace(object: KubeObject, nowMs: number): ObservedNamespace {
  const { labels = {}, uid = "" } = object.metadata;
  const { untilMs, fault } = observationOf(object, nowMs);
  return { labels, uid, observeUntilMs: untilMs, observeFault: fault };
}
