/**
 * Keeps the policy in force and puts a newer one in its place: fetch, verify, load, warm up, then swap, all before anybody sees it.
 *
 * Errs towards what is known good: a bundle that is refused changes nothing, is reported once, and is not fetched again until the
 * source has another. Without any bundle `current` is null and everything is denied.
 */
import type { BundleSource, LoadedPolicy, PolicyHolder } from "#contract/policy-port.ts";
import type { Clock } from "#core/clock.ts";
import { type BundleTrust, type InForce, type OpenBundle, openBundle } from "./bundle.ts";
import { type LoadOptions, loadPolicy } from "./loaded.ts";
import { bundleAt, observesUntil } from "./observation.ts";
import type { BundleFault } from "./refusal.ts";

/** Where the last good bundle and its place in the row outlive a restart. */
export interface BundleState {
  /** Null: none was ever kept, or what is there cannot be read. */
  load(): { readonly inForce: InForce; readonly archive: Uint8Array | null } | null;
  save(inForce: InForce, archive: Uint8Array): void;
}

export interface HolderEvents {
  /** `date`: the same bundle as before, whose observation has ended. */
  loaded(policy: LoadedPolicy, from: "source" | "state" | "date"): void;
  refused(fault: BundleFault): void;
  /** The source could not be reached; it is tried again after `retryMs`. */
  unreachable(fault: unknown, retryMs: number): void;
}

export interface HolderOptions {
  readonly source: BundleSource;
  readonly trust: BundleTrust;
  readonly load: LoadOptions;
  readonly state: BundleState | null;
  readonly clock: Clock;
  readonly events: HolderEvents;
  /** Waits; rejects or resolves early on abort. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface RunningHolder extends PolicyHolder {
  /** The first bundle is in force (from state or source), or the source has been asked once and gave none that is good. */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 30_000;
/** How often the date is looked at when observation ends: a clock may be put right meanwhile. */
const LOOK_AT_DATE_MS = 30_000;

export function startPolicyHolder(options: HolderOptions): RunningHolder {
  const { source, trust, state, clock, events } = options;
  const listeners: ((loaded: LoadedPolicy) => void)[] = [];
  const abort = new AbortController();
  let current: LoadedPolicy | null = null;
  let inForce: InForce | null = null;
  /** The last one taken that observes until a date. */
  let observing: OpenBundle | null = null;

  /** True when the bundle is in force afterwards. */
  function take(archive: Uint8Array, from: "source" | "state"): boolean {
    const opened = openBundle(archive, trust, inForce, clock.wallMs());
    if (opened.kind === "refused") {
      events.refused(opened);
      return false;
    }
    if (
      current !== null &&
      current.revision === opened.manifest.revision &&
      current.sequence === opened.claims.sequence
    )
      return true;
    const loaded = loadPolicy(bundleAt(opened, clock.wallMs()), options.load);
    if ("kind" in loaded) {
      events.refused(loaded);
      return false;
    }
    inForce = { sequence: loaded.sequence, revision: loaded.revision };
    if (from === "source") state?.save(inForce, archive);
    put(loaded, from);
    observing = loaded.settings.mode === "observe" && observesUntil(opened) < Number.POSITIVE_INFINITY ? opened : null;
    if (observing !== null) void untilItsDate(observing);
    return true;
  }

  function put(loaded: LoadedPolicy, from: "source" | "state" | "date"): void {
    current = loaded;
    events.loaded(loaded, from);
    for (const then of listeners) then(loaded);
  }

  async function untilItsDate(bundle: OpenBundle): Promise<void> {
    const untilMs = observesUntil(bundle);
    for (let left = untilMs - clock.wallMs(); left > 0; left = untilMs - clock.wallMs()) {
      await options.sleep(Math.min(left, LOOK_AT_DATE_MS), abort.signal);
      if (abort.signal.aborted || observing !== bundle) return;
    }
    observing = null;
    const loaded = loadPolicy(bundleAt(bundle, untilMs), options.load);
    if (!("kind" in loaded)) return put(loaded, "date");
    // It could be loaded before: whatever this is, it does not keep an observation going.
    current = null;
    events.refused(loaded);
  }

  function restore(): void {
    const kept = state?.load() ?? null;
    if (kept === null) return;
    inForce = kept.inForce;
    if (kept.archive !== null) take(kept.archive, "state");
  }

  async function follow(first: () => void): Promise<void> {
    let etag: string | null = null;
    let retryMs = FIRST_RETRY_MS;
    while (!abort.signal.aborted) {
      try {
        const fetched = await source.next(etag, abort.signal);
        // Throws where the row cannot be kept: the bundle is then not put in force, and asked for again.
        take(fetched.archive, "source");
        etag = fetched.etag;
        retryMs = FIRST_RETRY_MS;
        first();
      } catch (fault) {
        if (abort.signal.aborted) return;
        events.unreachable(fault, retryMs);
        first();
        await options.sleep(retryMs, abort.signal);
        retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
      }
    }
  }

  restore();
  const { promise: ready, resolve: first } = Promise.withResolvers<void>();
  if (current !== null) first();
  const following = follow(first).finally(first);

  return {
    get current() {
      return current;
    },
    onChange(then) {
      listeners.push(then);
    },
    ready,
    async stop() {
      abort.abort();
      await following;
    },
  };
}
