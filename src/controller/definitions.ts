/**
 * Where each of our custom resource definitions stands beside this release's, and how it is brought up to it: Helm installs what is in a
 * chart's `crds/` and never touches it again (docs/adr/0014-definitions-upgrade-themselves.md).
 *
 * Errs towards leaving alone: what a newer release wrote, what bears no readable release, and what would lose a version is not written.
 * What is behind and stays so is a value (`behind`), for the caller to refuse to start on: a field that the API server does not know is
 * dropped from policies without a word. One of this very release that differs is not (`changed`): it may be a default of a Kubernetes
 * that came later, and nobody's controllers are to stay away for that.
 */
import type { CustomResource } from "#contract/custom-resources.ts";
import { ANNOTATION } from "#contract/names.ts";
import { assertNever } from "#core/assert-never.ts";
import { compareReleases } from "#core/release-order.ts";
import { differences } from "#kube/compare.ts";
import { hasStatus, type Kube, KubeError, type KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

/** Beside the release that is asked about. `differs`: paths inside `spec`, at most 5. `release`: what the annotation says, "" for nothing. */
export type Standing =
  | { readonly kind: "missing" }
  /** The same schema, whichever release wrote it. */
  | { readonly kind: "current" }
  | { readonly kind: "older"; readonly release: string; readonly differs: readonly string[] }
  /** It says this release, and somebody changed it. */
  | { readonly kind: "changed"; readonly release: string; readonly differs: readonly string[] }
  /** `serves`: also the version that we speak. */
  | { readonly kind: "newer"; readonly release: string; readonly serves: boolean }
  /** Nothing that we could know how to write over. */
  | { readonly kind: "unknown"; readonly why: string };

interface Version {
  readonly name?: string;
  readonly served?: boolean;
}

interface Definition extends KubeObject {
  readonly spec?: { readonly versions?: readonly Version[] };
}

/** `live`: null where there is none. */
export function standingOf(wanted: CustomResource, live: KubeObject | null): Standing {
  if (live === null) return { kind: "missing" };
  if (live.metadata.deletionTimestamp !== undefined) return { kind: "unknown", why: "it is being deleted" };
  const differs = differences(wanted.spec, (live as Definition).spec, "spec", 5);
  if (differs.length === 0) return { kind: "current" };
  const ours = wanted.metadata.annotations?.[ANNOTATION.release] ?? "";
  const release = live.metadata.annotations?.[ANNOTATION.release] ?? "";
  // Before releases were written down, there was none.
  const order = release === "" ? -1 : compareReleases(release, ours);
  if (order === null) return { kind: "unknown", why: `its annotation ${ANNOTATION.release} is no release` };
  const known = (wanted.spec.versions as readonly Version[]).map(({ name }) => name);
  const there = (live as Definition).spec?.versions ?? [];
  if (order > 0) {
    const serves = known.every((name) => there.some((one) => one.name === name && one.served === true));
    return { kind: "newer", release, serves };
  }
  const lost = there.find(({ name }) => !known.includes(name))?.name;
  if (lost !== undefined) return { kind: "unknown", why: `it has a version ${lost} that this release does not know` };
  return { kind: order === 0 ? "changed" : "older", release, differs };
}

export interface DefinitionChange {
  readonly name: string;
  readonly how: "made" | "upgraded" | "restored";
  /** The release before; "" where none was said. */
  readonly from: string;
  readonly to: string;
  readonly differs: readonly string[];
  /** Who wrote it last before us, as far as it says. */
  readonly by: string;
  /** Names this change, whichever replica tells of it. */
  readonly key: string;
}

export interface Kept {
  readonly name: string;
  readonly state: "current" | "newer" | "changed" | "behind";
  /** Of one that is not current: why, and what to do. */
  readonly says: string;
}

export interface DefinitionOptions {
  readonly kube: Pick<Kube, "get" | "applyAs">;
  readonly definitions: readonly CustomResource[];
  readonly by: "self" | "others";
  readonly changed: (change: DefinitionChange) => void;
}

/** Whose fields they are then. */
const MANAGER = "sidegate-controller";
const ATTEMPTS = 5;
const REMEDY = "kubectl apply --server-side --force-conflicts -f charts/gateway/crds";

/** One after the other. Rejects where the API server cannot be reached; that it refuses is a value. */
export async function keepDefinitions(options: DefinitionOptions): Promise<readonly Kept[]> {
  const kept: Kept[] = [];
  for (const definition of options.definitions) kept.push(await keep(options, definition));
  return kept;
}

async function keep(options: DefinitionOptions, definition: CustomResource): Promise<Kept> {
  const { kube, by } = options;
  const { name } = definition.metadata;
  const current: Kept = { name, state: "current", says: "" };
  for (let attempt = 1; ; attempt++) {
    const live = await kube.get(RESOURCE.definition, { namespace: "", name });
    const standing = standingOf(definition, live);
    if (standing.kind === "current") return current;
    const what = `CustomResourceDefinition ${name} ${describeStanding(standing)}`;
    if (standing.kind === "newer") return { name, state: standing.serves ? "newer" : "behind", says: what };
    if (standing.kind === "unknown")
      return { name, state: "behind", says: `${what}, so it is left alone; put it right: ${REMEDY}` };
    const state = standing.kind === "changed" ? "changed" : "behind";
    if (by === "others")
      return { name, state, says: `${what}, and values crds.upgrade leaves it to others: ${REMEDY}` };
    try {
      const put = await kube.applyAs(RESOURCE.definition, manifest(definition, live), MANAGER);
      // Nothing to write for the API server: it fills in what this release does not know of.
      if (live !== null && put.metadata.resourceVersion === live.metadata.resourceVersion) return current;
      options.changed(changeOf(definition, standing, live, put));
      return current;
    } catch (fault) {
      if (!(fault instanceof KubeError) || fault.status >= 500 || fault.status === 429) throw fault;
      // Somebody was quicker: look again.
      if (hasStatus(fault, 409) && attempt < ATTEMPTS) continue;
      const ways = `let the controller (RBAC, admission), or set values crds.upgrade: false and ${REMEDY}`;
      return { name, state, says: `${what}, and cannot be written: ${fault.message}; ${ways}` };
    }
  }
}

/** With the version that was looked at: what somebody wrote since is not written over. */
function manifest(definition: CustomResource, live: KubeObject | null): KubeObject {
  const { resourceVersion } = live?.metadata ?? {};
  return {
    ...definition,
    metadata: { ...definition.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
  };
}

function changeOf(
  definition: CustomResource,
  standing: Extract<Standing, { kind: "missing" | "older" | "changed" }>,
  live: KubeObject | null,
  put: KubeObject,
): DefinitionChange {
  const { uid = "", generation = 0 } = put.metadata;
  return {
    name: definition.metadata.name,
    how: ({ missing: "made", older: "upgraded", changed: "restored" } as const)[standing.kind],
    from: standing.kind === "missing" ? "" : standing.release,
    to: definition.metadata.annotations?.[ANNOTATION.release] ?? "",
    differs: standing.kind === "missing" ? [] : standing.differs,
    by: live === null ? "" : lastManager(live),
    key: `definition/${uid}/${generation}`,
  };
}

/** The API server writes statuses in its own name. */
function lastManager({ metadata }: KubeObject): string {
  const entries = (metadata.managedFields ?? []).filter(({ manager }) => manager !== "kube-apiserver");
  return entries.toSorted((a, b) => ((a.time ?? "") < (b.time ?? "") ? 1 : -1))[0]?.manager ?? "";
}

/** Follows the definition's name: "is of release 0.1.0, …". */
export function describeStanding(standing: Exclude<Standing, { kind: "current" }>): string {
  switch (standing.kind) {
    case "missing":
      return "is missing";
    case "older":
      return `is older than this release (${standing.release === "" ? "it says none" : `of ${standing.release}`}): ${standing.differs.join(", ")}`;
    case "changed":
      return `was changed since this release wrote it: ${standing.differs.join(", ")}`;
    case "newer":
      return `is of a newer release, ${standing.release}${standing.serves ? "" : ", and does not serve this release's version any more"}`;
    case "unknown":
      return `is of another schema than this release's: ${standing.why}`;
    default:
      return assertNever(standing);
  }
}
