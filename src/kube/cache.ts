/**
 * What there is of one kind, kept up to date: list, then watch from there; after a gap, list again. Only what `project` makes of an
 * object is kept, so that a thousand pods cost a thousand small values.
 *
 * Bounded in entries: what is more is told once for each listing and left out, and looked for again whenever the watch ends; everything
 * else goes on. With a fair share it is the namespace with the most that is left out, as a whole, so that nobody hides another's objects.
 * Errs towards the last state known: a lost connection changes nothing and is tried again, ever more slowly.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { hasStatus, type Kube, type KubeObject, keyOf, nameOf, type Resource, type Scope } from "./port.ts";
import { createShares, type FairShare, namespaceOf } from "./shares.ts";

export interface CacheOptions<V> {
  readonly kube: Kube;
  readonly resource: Resource;
  readonly scope?: Scope;
  /** Null: not of interest. */
  readonly project: (object: KubeObject) => V | null;
  /** Called after the cache has the new value; undefined: gone. Also during the first listing. Must not throw. */
  readonly onChange: (key: string, value: V | undefined, before: V | undefined) => void;
  readonly onFault: (fault: unknown, resource: Resource) => void;
  readonly maxEntries: number;
  /** How many entries a large one counts for, at least 1; absent: 1. */
  readonly units?: (value: V) => number;
  /** Objects in one answer of a listing: fewer where they may be large. */
  readonly pageSize?: number;
  /** Absent: who comes last is left out. */
  readonly fair?: FairShare;
  readonly signal: AbortSignal;
}

export interface Cache<V> {
  /** By `namespace/name`, or `name` where there is no namespace. */
  get(key: string): V | undefined;
  readonly entries: ReadonlyMap<string, V>;
  /** The first listing is in. Rejects only when the signal ends it before. */
  readonly synced: Promise<void>;
}

const PAGE = 500;
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 15_000;

export function startCache<V>(options: CacheOptions<V>): Cache<V> {
  const { kube, resource, scope = {}, project, onChange, onFault, maxEntries, units, fair, signal } = options;
  const entries = new Map<string, V>();
  /** Units of those that count for more than one. */
  const large = new Map<string, number>();
  let used = 0;
  const shares = fair === undefined ? null : createShares(fair);
  /** Something was left out since the last listing began. */
  let full = false;
  const { promise: synced, resolve, reject } = Promise.withResolvers<void>();

  function set(key: string, value: V | null): void {
    const before = entries.get(key);
    const had = before === undefined ? 0 : (large.get(key) ?? 1);
    if (value === null) {
      if (before === undefined) return;
      entries.delete(key);
      book(key, 0, had);
      onChange(key, undefined, before);
      return;
    }
    if (shares?.leftOut(key) === true) return;
    const needs = Math.max(1, Math.ceil(units?.(value) ?? 1));
    const tooMuch = (): boolean => used - had + needs > maxEntries;
    while (tooMuch()) {
      const loser = leaveOut(key, needs - had);
      if (loser === namespaceOf(key)) return;
      if (loser !== null) continue;
      // Nobody can be left out for it. What is known already does not become the past for that.
      if (before !== undefined) break;
      if (!full)
        onFault(new RangeError(`more than ${maxEntries} ${resource.plural}: the others are not seen`), resource);
      full = true;
      return;
    }
    entries.set(key, value);
    book(key, needs, had);
    onChange(key, value, before);
  }

  function book(key: string, needs: number, had: number): void {
    used += needs - had;
    if (needs > 1) large.set(key, needs);
    else large.delete(key);
    shares?.count(key, needs - had);
  }

  /** Leaves out the namespace with the most, `more` of `key` counted, and answers its name; null: there is none to leave out. */
  function leaveOut(key: string, more: number): string | null {
    const loser = shares?.leaveOutLargest(key, more) ?? null;
    if (loser === null) return null;
    const why = `more than ${maxEntries} ${resource.plural}: none of namespace ${loser} is seen, which has the most`;
    onFault(new RangeError(why), resource);
    for (const other of entries.keys()) if (namespaceOf(other) === loser) set(other, null);
    return loser;
  }

  async function relist(again = true): Promise<string> {
    const seen = new Set<string>();
    const wanted = new Map<string, number>();
    let continues = "";
    let version = "";
    full = false;
    do {
      const page = await kube.list(resource, scope, { limit: options.pageSize ?? PAGE, continues });
      for (const object of page.items) {
        const key = keyOf(nameOf(object));
        seen.add(key);
        const value = project(object);
        if (value !== null && shares !== null) {
          const its = Math.max(1, Math.ceil(units?.(value) ?? 1));
          wanted.set(namespaceOf(key), (wanted.get(namespaceOf(key)) ?? 0) + its);
        }
        set(key, value);
      }
      ({ continues, resourceVersion: version } = page);
    } while (continues !== "");
    for (const key of entries.keys()) if (!seen.has(key)) set(key, null);
    // Those for whom there is room again are told to be only when they have been listed.
    if (again && shares?.takeBack(wanted, maxEntries - used) === true) return await relist(false);
    shares?.tell();
    resolve();
    return version;
  }

  async function follow(): Promise<void> {
    let version = "";
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        if (version === "") version = await relist();
        for await (const event of kube.watch(resource, scope, version, signal)) {
          version = event.object.metadata.resourceVersion ?? version;
          retryMs = FIRST_RETRY_MS;
          if (event.type === "BOOKMARK") continue;
          set(keyOf(nameOf(event.object)), event.type === "DELETED" ? null : project(event.object));
        }
        if (full || shares?.any() === true) version = "";
      } catch (fault) {
        if (signal.aborted) break;
        // 410: what happened since is forgotten. Anything else may have lost an event, and a list costs little.
        version = "";
        if (!hasStatus(fault, 410)) onFault(fault, resource);
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
      }
    }
    reject(signal.reason);
  }
  synced.catch(() => undefined);
  void follow();
  return { get: (key) => entries.get(key), entries, synced };
}
