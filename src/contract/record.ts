/**
 * The record, as lines. One chain per sidecar boot: `boot` first, then for each connection a `session`, for each operation an
 * `op` BEFORE it is forwarded and an `end` with what came of it, then `stop`. `seq` counts every line of a boot from 1, without a hole.
 *
 * A line's core is chained; its detail (what is personal or large) is kept apart and enters the chain as a salted SHA-256 only,
 * so that erasing it later leaves the chain whole. An event's id, shown to agents as `Sidegate-Event`, is `<boot>-<seq>`.
 */
import type { Action, Protocol } from "./operation.ts";

/** Who runs: fixed for a boot. In `sidegate run` the cluster is "local", the pod a name for the run. */
export interface Workload {
  readonly cluster: string;
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Its workload, as far as that can be believed: `ReplicaSet/agent-6d5f`. */
  readonly owner: string;
  /** Who made the pod, in the API server's words. */
  readonly creator: string;
  /** Who stands behind it: a person whom a deployer named, else who made the workload. Absent: not known. */
  readonly responsible?: string;
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tier: "advisory" | "enforced" | "locked";
  /** What is open in tier `advisory`, by name. */
  readonly open: readonly string[];
}

export interface SessionEntry {
  readonly client: string; // address:port
  readonly destination: string; // original destination, address:port, or "unreadable"
  readonly target: string | null;
  readonly host: string | null;
  readonly port: number;
}

export interface OpEntry {
  readonly session: number; // seq of the session line; 0: none (DNS)
  readonly phase: "ask" | "answer" | "connect";
  readonly parent: number | null;
  readonly protocol: Protocol;
  readonly action: Action;
  readonly complete: boolean;
  /** JSON members without braces. Core of the record, never erased: target and run. */
  readonly preamble: string;
  /** JSON members without braces, disjoint; already redacted by the lane. Together they are the record's erasable part. */
  readonly facts: string;
  readonly detail: string;
  readonly verdict: "allow" | "deny" | "hold";
  readonly decision: string; // JSON members, `Decision.text`
  readonly revision: string;
  readonly traceparent: string | null;
  readonly body: string | null; // SHA-256, hex
  /** The recorder's own: what it made of this entry. Whoever records the same again hands in the same object, and saves that. */
  kept?: object | undefined;
  /** Another entry that differs from this one in its detail only: what the recorder made of it serves here, too. Itself like no other. */
  readonly like?: OpEntry | undefined;
}

export interface EndEntry {
  readonly op: number; // seq of the op line
  /** The protocol's own word: "200", "reset", "refused", "client-left", … */
  readonly status: string;
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly masked: number;
  readonly attempts: number;
}

/** The same denial again: told once as an `op`, then only counted. */
export interface FoldEntry {
  readonly op: number; // seq of the first
  readonly count: number; // repeats, without the first
  readonly what: string; // names the kind: target, host, code
}

/** Lanes and legs wait here: upstream bytes queue behind the write of this turn's lines. */
export interface CommitGate {
  /** True when nothing is waiting to be written (tier `locked`: to be stored by the collector). */
  readonly clean: boolean;
  /** Called when all lines added so far are written, at once if they are; ok=false: they could not be, so nothing may be forwarded. */
  committed(then: (ok: boolean) => void): void;
}

export interface Recorder {
  readonly boot: string;
  readonly gate: CommitGate;
  /** Null while lines can be taken; else the DenialCode with which to refuse. `read`: reads go on under lag. */
  refuses(read: boolean): "audit_full" | "audit_failed" | "audit_lag" | "audit_unavailable" | null;
  session(entry: SessionEntry): number;
  /**
   * Adds the "before" line to this turn's batch and returns its seq; 0: it could not be taken, and the gate will say so; negative:
   * it goes on without a line (`audit.onFull: allow`), and is counted.
   */
  op(entry: OpEntry): number;
  end(entry: EndEntry): void;
  closed(session: number, bytesUp: number, bytesDown: number, why: string): void;
  fold(entry: FoldEntry): void;
  /** Called once when the collector has stored this line durably (held operations); ok=false: not within the limit. */
  stored(seq: number, then: (ok: boolean) => void): void;
  /** Something that is no operation: a bundle swapped, a finding, refused datagrams counted. `members`: JSON without braces. */
  note(kind: string, members: string): number;
  /** Writes `stop` and everything before it, then resolves. */
  stop(why: string): Promise<void>;
}

/** Whole lines of one boot, cut after a commit line. */
export interface Batch {
  readonly boot: string;
  readonly lines: Uint8Array;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The lines between what the collector has and `firstSeq` are gone for good: it stores this batch, and the hole as a finding. */
  readonly gap: boolean;
}

/** Where the shipper sends batches; the collector's answer is the highest line it has stored durably, contiguous from 1. */
export interface RecordSink {
  /** Resolves to the acknowledged seq; rejects when the collector cannot be reached or refuses. No lines: a sign of life. */
  send(batch: Batch): Promise<number>;
  close(): Promise<void>;
}
