/** What the data plane knows of policy: a loaded bundle that decides, and where bundles come from. */
import type { Decision } from "./decision.ts";
import type { Frozen } from "./freeze.ts";
import type { Target } from "./target.ts";

/** What the loaded bundle can read and oblige. A lane keeps the writer that it made for one revision. */
export interface Profile {
  readonly revision: string;
  /** Whether any rule reads this input path ("http.headers", "http.query"); a parent counts as read when a child is. */
  reads(path: string): boolean;
  readonly mayHold: boolean;
  readonly mayMask: boolean;
}

export interface Settings {
  readonly mode: "enforce" | "observe";
  /** Wall milliseconds from which `observe` is `enforce`, whether or not anybody says so then. Absent: no such date. */
  readonly observeUntilMs?: number;
  readonly denialDetail: "full" | "code";
  /** An authenticator that an agent brings to a target that has a credential of ours; absent: deny. */
  readonly foreign?: "warn" | "strip" | "deny";
  /** A spool that is full, or a collector that lags: absent: deny. Never for a disk that fails, and never in tier `locked`. */
  readonly onFull?: "deny" | "allow";
  /** Everything is denied. */
  readonly freeze?: Frozen;
}

export interface LoadedPolicy {
  readonly revision: string;
  readonly sequence: number;
  readonly profile: Profile;
  readonly targets: readonly Target[];
  readonly settings: Settings;
  /** `input`: the JSON members of one operation, without braces. Never throws: every fault is a denial with a DenialCode. */
  decide(input: string): Decision;
}

export interface PolicyHolder {
  /** Null: no bundle; everything is denied with `no_bundle`. */
  readonly current: LoadedPolicy | null;
  onChange(then: (loaded: LoadedPolicy) => void): void;
}

/** One fetched bundle: an OPA bundle archive (tar.gz), not yet verified. */
export interface BundleSource {
  /** Waits for a bundle other than `etag` (long poll, file watch); rejects on abort or a fault. */
  next(etag: string | null, signal: AbortSignal): Promise<{ readonly etag: string; readonly archive: Uint8Array }>;
}
