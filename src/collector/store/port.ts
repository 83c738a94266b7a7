/**
 * What the collector needs of a store. One conformance suite (conformance.ts) for all of them. Appending is one atomic,
 * durable step that names what it was computed from: where somebody else was faster it does nothing, and the caller reads anew.
 */
import type { Checkpoint } from "../checkpoint.ts";

/** One core line, with what one searches by. */
export interface RecordRow {
  readonly boot: string;
  readonly seq: number;
  readonly t: number;
  readonly kind: string;
  /** seq of its session; of an end or a fold: seq of its op. */
  readonly session: number | null;
  readonly op: number | null;
  readonly verdict: string | null;
  readonly protocol: string | null;
  readonly target: string | null;
  readonly host: string | null;
  readonly code: string | null;
  readonly run: string | null;
  readonly core: Uint8Array;
  readonly leaf: Buffer;
}

export interface DetailRow {
  readonly boot: string;
  readonly seq: number;
  readonly salt: string;
  readonly text: string;
}

export interface CommitRow {
  readonly boot: string;
  readonly lastSeq: number;
  readonly hash: string;
}

export interface BootRow {
  readonly boot: string;
  /** Who sent it, as the authenticator named them; nobody else may add to it. */
  readonly subject: string;
  readonly pod: string; // namespace/name
  readonly firstAt: number;
  readonly seenAt: number;
  readonly lastSeq: number;
  readonly chain: string;
  readonly stopped: boolean;
}

export interface LogTip {
  readonly size: number;
  readonly peaks: Uint8Array;
}

export interface Append {
  /** What this was computed from; another state there: nothing is stored. */
  readonly from: { readonly logSize: number; readonly bootSeq: number };
  readonly boot: BootRow;
  readonly records: readonly RecordRow[];
  readonly details: readonly DetailRow[];
  readonly commits: readonly CommitRow[];
  /** Details to erase, in the same step as the act that says so. */
  readonly erase: readonly { readonly boot: string; readonly seq: number }[];
  readonly log: LogTip;
  readonly checkpoint: Checkpoint;
}

export interface Filter {
  readonly sinceMs?: number;
  readonly untilMs?: number;
  readonly boot?: string;
  readonly pod?: string;
  readonly target?: string;
  readonly host?: string;
  readonly verdict?: string;
  readonly code?: string;
  readonly protocol?: string;
  readonly run?: string;
  /** A text that core or detail contains. */
  readonly text?: string;
  /** Newest first by default; `after`: only records behind this place in the log, oldest first (tail). */
  readonly after?: number;
  readonly limit: number;
  /** Record kinds; default: op. */
  readonly kinds?: readonly string[];
}

/** One record with what belongs to it. */
export interface Found {
  readonly index: number;
  readonly boot: string;
  readonly seq: number;
  readonly t: number;
  readonly kind: string;
  readonly pod: string;
  readonly core: Uint8Array;
  readonly detail: { readonly salt: string; readonly text: string } | null;
  readonly erased: boolean;
  /** Core of the `end` of an op; of its `session`; repeats folded into it. */
  readonly end: Uint8Array | null;
  readonly sessionCore: Uint8Array | null;
  readonly folded: number;
}

export interface RecordStore {
  boot(boot: string): Promise<BootRow | null>;
  boots(): Promise<readonly BootRow[]>;
  log(): Promise<LogTip>;
  /** Resolves when it is durable; false: `from` is not the state any more, nothing was stored. */
  append(change: Append): Promise<boolean>;
  /** A sign of life without lines. */
  seen(boot: string, atMs: number): Promise<void>;
  publicKey(): Promise<string | null>;
  setPublicKey(pem: string): Promise<void>;
  find(filter: Filter): Promise<readonly Found[]>;
  get(boot: string, seq: number): Promise<Found | null>;
  /** In log order, at most `limit`, from place `from` on. */
  scan(from: number, limit: number): Promise<readonly ScanRow[]>;
  commits(boot: string): Promise<readonly CommitRow[]>;
  checkpoints(): Promise<readonly Checkpoint[]>;
  /** What `work` reads, it reads of one state, also while others write. */
  consistent<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A record with everything that is stored of it, for `verify`. */
export interface ScanRow {
  readonly index: number;
  readonly row: RecordRow;
  readonly detail: { readonly salt: string; readonly text: string } | null;
  readonly erased: boolean;
}
