/**
 * Who stands behind a pod: stamps on workloads' `metadata` (never on their template: that would roll them), and out of those the ones on
 * pods. Pure. The author's own words never count: what cannot be known is taken away, and then nobody may be asked.
 *
 * `creator` and `template-writer` are the API server's words. `owner` is a person whom a deployer (a GitOps controller, which is none)
 * names; it counts from a deployer only.
 */
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { equalJson } from "#core/json-diff.ts";
import type { Stamps } from "./inject.ts";
import { POD_CONTROLLERS, workloadOf } from "./owner.ts";

/** No author may write these into a pod's template. */
export const PEOPLE_ANNOTATIONS = [
  ANNOTATION.creator,
  ANNOTATION.owner,
  ANNOTATION.templateWriter,
  ANNOTATION.workload,
  ANNOTATION.workloadCreator,
] as const;

/** What a workload's stamps say. "": nothing. */
export interface WorkloadPeople {
  readonly creator: string;
  readonly templateWriter: string;
  readonly owner: string;
}

export const NOBODY: WorkloadPeople = { creator: "", templateWriter: "", owner: "" };

interface Annotated {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, unknown>> };
  readonly spec?: { readonly template?: unknown; readonly jobTemplate?: unknown };
}

export function peopleOf(workload: unknown): WorkloadPeople {
  const annotations = (workload as Annotated | null | undefined)?.metadata?.annotations ?? {};
  const text = (name: string): string => (typeof annotations[name] === "string" ? annotations[name] : "");
  return {
    creator: text(ANNOTATION.creator),
    templateWriter: text(ANNOTATION.templateWriter),
    owner: text(ANNOTATION.owner),
  };
}

export interface WorkloadWrite {
  /** Null: it is being made. */
  readonly before: unknown;
  readonly after: unknown;
  readonly user: string;
  /** Whether this one may name an owner. */
  readonly deployer: boolean;
  /** The namespace has opted in as a whole. */
  readonly optedIn: boolean;
}

const NO_STAMPS: Stamps = { [ANNOTATION.creator]: null, [ANNOTATION.templateWriter]: null, [ANNOTATION.owner]: null };

/**
 * The stamps of a workload that somebody makes or changes. Controllers' writes are not shown to us. Where neither namespace nor template
 * asks for the gateway, nobody is known behind a workload, and it bears no stamps: else its author's would be believed as soon as the
 * namespace opts in.
 */
export function workloadStamps({ before, after, user, deployer, optedIn }: WorkloadWrite): Stamps {
  if (!optedIn && !asksForGateway(after)) return NO_STAMPS;
  const guarded = optedIn || asksForGateway(before);
  const was = before === null ? { ...NOBODY, creator: user } : guarded ? peopleOf(before) : NOBODY;
  const rewritten = before === null || !equalJson(templateOf(before), templateOf(after));
  const owner = deployer ? peopleOf(after).owner : was.owner;
  const orNone = (text: string): string | null => (text === "" ? null : text);
  return {
    [ANNOTATION.creator]: orNone(was.creator),
    [ANNOTATION.templateWriter]: orNone(rewritten ? user : was.templateWriter),
    [ANNOTATION.owner]: orNone(owner),
  };
}

/** Of a CronJob, what its Jobs are made of. Undefined: it has none. */
export function templateOf(workload: unknown): unknown {
  const { spec } = (workload ?? {}) as Annotated;
  return spec?.jobTemplate ?? spec?.template;
}

interface Labelled {
  readonly metadata?: { readonly labels?: Readonly<Record<string, unknown>> };
}

/** Whether the template's own label asks for the gateway. */
function asksForGateway(workload: unknown): boolean {
  const { spec } = (workload ?? {}) as {
    readonly spec?: {
      readonly template?: Labelled;
      readonly jobTemplate?: { readonly spec?: { readonly template?: Labelled } };
    };
  };
  return [spec?.template, spec?.jobTemplate?.spec?.template].some(
    (template) => template?.metadata?.labels?.[LABEL.inject] === "true",
  );
}

const CONTROLLERS: ReadonlySet<string> = new Set(POD_CONTROLLERS);

export interface PodMade {
  readonly user: string;
  /** Its workload's, where a built-in controller makes it. */
  readonly behind: WorkloadPeople;
  readonly deployers: readonly string[];
  /** The namespace has opted in as a whole: elsewhere nobody names an owner on a workload. */
  readonly optedIn: boolean;
}

/** The stamps of a new pod. */
export function podStamps(pod: unknown, { user, behind, deployers, optedIn }: PodMade): Stamps {
  const orNone = (text: string): string | null => (text === "" ? null : text);
  const made = CONTROLLERS.has(user) ? behind : NOBODY;
  const namer = CONTROLLERS.has(user) ? behind.creator : user;
  const named = CONTROLLERS.has(user) ? (optedIn ? behind.owner : "") : peopleOf(pod).owner;
  return {
    [ANNOTATION.creator]: user,
    [ANNOTATION.workload]: orNone(workloadOf(pod, user)),
    [ANNOTATION.workloadCreator]: orNone(made.creator),
    [ANNOTATION.templateWriter]: orNone(made.templateWriter),
    [ANNOTATION.owner]: deployers.includes(namer) ? orNone(named) : null,
  };
}
