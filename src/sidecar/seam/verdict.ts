/**
 * What the judge says to a lane. Nothing goes upstream without a Permit whose record is written; only judge/permit.ts makes one.
 */
import type { Decision } from "#contract/decision.ts";
import type { DenialClass } from "#contract/denial.ts";
import type { Action, Protocol } from "#contract/operation.ts";
import type { Profile } from "#contract/policy-port.ts";

/**
 * `facts` and `detail` are JSON members without braces, disjoint, written by template: `"http":{…}`. The judge puts the preamble
 * in front: policy input = preamble + protocol, action, complete + facts; record = that + detail.
 */
export interface Operation {
  readonly protocol: Protocol;
  readonly action: Action;
  readonly phase: "ask" | "answer"; // answer: an MCP tool result, a result set: judged on its way back
  readonly parent: number | null; // seq of the ask that an answer belongs to
  readonly complete: boolean; // false: denied unless a policy allows exactly that
  readonly run: string | null; // a run token that this request itself carries
  readonly traceparent: string | null; // W3C; recorded
  readonly facts: string;
  readonly detail: string; // redacted; recorded and hashed, never judged
  readonly body: string | null; // SHA-256 (hex) of a body held back for judging: an approval covers it
  /** Authenticators of the agent's own in it, by name and never by value; absent: none. The judge refuses what may not be brought. */
  readonly brought?: Brought;
}

export interface Brought {
  /** Where: "header authorization", "query sig", … Judged only where the target has a credential of ours. */
  readonly foreign: readonly string[];
  /** Placeholders for a credential where none is put in. */
  readonly misplaced: readonly string[];
}

declare const permitted: unique symbol;
export type Scope = "connect" | "ask" | "answer";
/** connect: housekeeping and opaque bytes of one connection. ask: one act. answer: bytes towards the agent; cannot be written upstream. */
export interface Permit<S extends Scope = Scope> {
  readonly [permitted]: S;
  readonly kind: "permit";
  readonly scope: S;
  readonly seq: number;
  readonly decision: Decision; // frozen, shared with the cache
  /** What the operation brought along (`Brought.foreign`) goes on without it. */
  readonly strip: boolean;
  /** Added to by the legs: what was written upstream under this permit, and what was forwarded to the agent. */
  bytesUp: number;
  bytesDown: number;
}

export interface Refusal {
  readonly kind: "refusal";
  readonly seq: number;
  /** The record's id, `<boot>-<seq>`; for a folded repeat the id of the first. */
  readonly event: string;
  readonly code: string;
  readonly class: DenialClass;
  readonly message: string;
  readonly advice: string;
  readonly policy: string;
  readonly revision: string;
  readonly retryable: boolean;
  /** Seconds; null: no `Retry-After`. Set when the same denial repeats. */
  readonly retryAfterS: number | null;
}

/** Not a promise: the waiter must know at once that it waits, keep its client alive, and be able to give up. */
export interface Held {
  readonly kind: "held";
  readonly why: "approval" | "credential";
  readonly id: string;
  readonly reason: string;
  readonly expiresAtMs: number;
  abandon(why: "client-left" | "cancelled" | "drain"): void;
}

/** Whatever waits: a session, an exchange. Called once per Held, after judging again on the bundle then in force. */
export interface Waiter<S extends Scope> {
  settled(held: Held, verdict: Permit<S> | Refusal): void;
}

/** Bytes and durations are counted by the legs, per permit. */
export interface Outcome {
  readonly status: string;
  readonly masked: number;
  readonly attempts: number;
  /** Worth a line of its own beside the outcome: "echo", "set-cookie". */
  readonly findings?: readonly string[];
}

/** One connection's judge: it knows the session's target, host and preamble. */
export interface Judge {
  /** The bundle in force; null: no bundle, everything is refused. */
  readonly profile: Profile | null;
  /** Synchronous: evaluates or hits the cache, and adds the "before" line to this turn's batch. */
  ask(operation: Operation, waiter: Waiter<"ask">): Permit<"ask"> | Refusal | Held;
  answer(operation: Operation, waiter: Waiter<"answer">): Permit<"answer"> | Refusal | Held;
  /** A refusal of our own that no policy was asked about (malformed, unsupported): on record like any other. `members`: JSON without braces. */
  refuse(code: string, detail: string, operation: Operation | null): Refusal;
  /** Exactly once per permit, also when the session dies; the conformance suite counts. */
  finish(permit: Permit, outcome: Outcome): void;
}
