/**
 * The leader's work on sets: whichever has no stored bundle of its present content is compiled, and stored when it is good. What is
 * wrong is remembered by set, for the policies' status; the last good bundle stays where it is.
 */
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import type { Clock } from "#core/clock.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import { hasStatus, type Kube, type Name } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import type { Problem } from "#policy/compile/problem.ts";
import type { Compiler } from "./compiler.ts";
import type { Fleet, Known } from "./fleet.ts";
import { contentOf, makeSet, type PolicySet, policyKey, sourcesOf, targetsFor } from "./policy-set.ts";
import { writeStored } from "./stored-bundle.ts";

/** What came of one set's present content. */
export type Making =
  | { readonly kind: "made" }
  | { readonly kind: "making" }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

export interface Maker {
  /** Begins what is due; returns at once. */
  work(signal: AbortSignal): void;
  making(set: PolicySet): Making;
  /** Sets that consist of one policy alone, of policies that no pod has: whether they compile. */
  check(set: PolicySet): Making;
}

export interface MakerOptions {
  readonly kube: Kube;
  readonly known: Known;
  readonly fleet: Fleet;
  readonly compiler: Compiler;
  readonly own: string;
  readonly clock: Clock;
  readonly onDone: () => void;
  readonly onFault: (fault: unknown) => void;
}

interface Entry {
  readonly version: string;
  readonly making: Making;
}

/** A set that no pod has any more keeps its bundle for so long: a Deployment at zero comes back. */
const UNUSED_MS = 3_600_000;
const MAX_STORED = 2_000;

export function createMaker(options: MakerOptions): Maker {
  const { kube, known, fleet, compiler, own, clock, onDone, onFault } = options;
  const entries = new Map<string, Entry>();
  const unusedSince = new Map<string, number>();
  const nobody = makeSet([], "");

  function versionOf(set: PolicySet): string {
    const targets = targetsFor(known.targets.values(), own, set.targetsOf);
    return JSON.stringify([
      ...set.policies.map(({ uid, generation }) => `${uid}:${generation}`),
      ...targets.map(({ namespace, name, uid, generation }) => `${namespace}/${name}:${uid}:${generation}`),
    ]);
  }

  /** `store`: the bundle is wanted, not only the answer. */
  function begin(set: PolicySet, store: boolean, signal: AbortSignal | null): Making {
    const at = store ? set.id : `check/${set.id}`;
    const version = versionOf(set);
    const entry = entries.get(at);
    if (entry?.version === version) return entry.making;
    const sources = sourcesOf(set, targetsFor(known.targets.values(), own, set.targetsOf));
    if (store && known.stored.get(set.id)?.content === contentOf(sources)) {
      const making: Making = { kind: "made" };
      entries.set(at, { version, making });
      return making;
    }
    const making: Making = { kind: "making" };
    entries.set(at, { version, making });
    void (async () => {
      const made = await compiler.make(set.policies, sources);
      if (entries.get(at)?.version !== version || signal?.aborted === true) return;
      let problems = made.kind === "problems" ? made.problems : null;
      if (made.kind === "made" && store) problems = await keep({ id: set.id, ...made }, set);
      entries.set(at, { version, making: problems === null ? { kind: "made" } : { kind: "problems", problems } });
      onDone();
    })().catch((fault: unknown) => {
      // Not the author's: it is tried again at the next change or round.
      if (entries.get(at)?.version === version) entries.delete(at);
      onFault(fault);
    });
    return making;
  }

  async function keep(bundle: Parameters<typeof writeStored>[0], set: PolicySet): Promise<readonly Problem[] | null> {
    const secret = writeStored(bundle, own, set.policies.map(policyKey));
    if (secret === null) return [{ file: "bundle", line: 0, message: "is too large for a Secret; use fewer policies" }];
    await put(kube, secret);
    return null;
  }

  async function sweep(signal: AbortSignal): Promise<void> {
    const now = clock.elapsedMs();
    for (const id of known.stored.keys()) {
      if (id === nobody.id || fleet.sets.has(id)) unusedSince.delete(id);
      else if (!unusedSince.has(id)) unusedSince.set(id, now);
    }
    for (const [id, since] of unusedSince) {
      if (!known.stored.has(id)) unusedSince.delete(id);
      else if (now - since > UNUSED_MS || known.stored.size > MAX_STORED) {
        if (signal.aborted) return;
        unusedSince.delete(id);
        entries.delete(id);
        await kube.remove(RESOURCE.secret, { namespace: own, name: CONTROL_OBJECT.bundlePrefix + id }).catch(onFault);
      }
    }
  }

  return {
    work(signal) {
      begin(nobody, true, signal);
      for (const { set } of fleet.sets.values()) begin(set, true, signal);
      void sweep(signal);
    },
    making: (set) => entries.get(set.id)?.making ?? { kind: "making" },
    check: (set) => begin(set, false, null),
  };
}

/** Creates or replaces, whoever was there before. */
async function put(kube: Kube, secret: SecretObject): Promise<void> {
  const { namespace = "", name } = secret.metadata;
  const at: Name = { namespace, name };
  try {
    await kube.create(RESOURCE.secret, secret);
  } catch (fault) {
    if (!hasStatus(fault, 409)) throw fault;
    const { labels, annotations } = secret.metadata;
    await kube.patch(RESOURCE.secret, at, { metadata: { labels, annotations }, data: secret.data });
  }
}
