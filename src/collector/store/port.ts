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
  /** "": the collector's own. */
  readonly cluster: string;
  readonly firstAt: number;
  readonly seenAt: number;
  readonly lastSeq: number;
  readonly chain: string;
  readonly stopped: boolean;
  /** Retention removed the lines up to this one; 0: none. The chain goes on from `baseChain`. */
  readonly baseSeq: number;
  readonly baseChain: string;
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
  /** Lines to remove, likewise. */
  readonly remove?: readonly Removal[];
  /** Of an act: where it is on record already, nothing is stored. */
  readonly key?: string;
  readonly log: LogTip;
  readonly checkpoint: Checkpoint;
}

/** Everything of one boot up to and with `through`, where a commit ended with `chain`. */
export interface Removal {
  readonly boot: string;
  readonly through: number;
  readonly chain: string;
  /** The boot has ended, or is lost, and all of it goes: forget it. */
  readonly whole: boolean;
}

/** A full subtree of 2^level leaves, from place `index` of the log on, whose lines were removed. */
export interface RemovedTree {
  readonly index: number;
  readonly level: number;
  readonly hash: Buffer;
}

export interface Usage {
  /** Of the file, without its free pages, and its write-ahead log. */
  readonly bytes: number;
  /** Without that log: it grows by removing, and goes back only while nobody reads. */
  readonly liveBytes: number;
  /** Of the files as they are on the volume. */
  readonly fileBytes: number;
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
  /** Of these namespaces of the collector's own cluster only, and no acts of the control plane. Absent: whatever there is. */
  readonly namespaces?: readonly string[];
  /** A text that core or detail contains. */
  readonly text?: string;
  /** Newest first by default; `after`: only records behind this place in the log, oldest first (tail). */
  readonly after?: number;
  /** Only records before this place in the log. */
  readonly before?: number;
  readonly limit: number;
  /** No further record once those that were found have so many bytes. */
  readonly maxBytes?: number;
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
  /** In place order. */
  removed(): Promise<readonly RemovedTree[]>;
  /**
   * The greatest commit of the boot before whose end no line behind `after` is as young as `t`, of the next `most` numbers (or the
   * next commit, where that one is longer); null: there is none to remove.
   */
  commitBefore(
    boot: string,
    t: number,
    next: { readonly after: number; readonly most: number },
  ): Promise<CommitRow | null>;
  /** When the boot's first line that is kept was written, by the sender's clock; null: none is kept. */
  firstTime(boot: string): Promise<number | null>;
  /** How many lines of the boot are there, behind `after` (default: from its beginning) up to `through`. */
  count(boot: string, through: number, after?: number): Promise<number>;
  /** The oldest line's time; null: there is none. */
  oldest(): Promise<number | null>;
  /** Seq of the act that has this key. */
  act(key: string): Promise<number | null>;
  usage(): Promise<Usage>;
  /** Gives space of removed lines back to the volume, as far as the file was made for it; `pause`: between the steps. */
  shrink(pause?: () => Promise<void>): Promise<void>;
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
