/** What the judge is given, and what the pipeline may ask of it beyond what a lane may. */
import type { Credential } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import type { Protocol } from "#contract/operation.ts";
import type { PolicyHolder } from "#contract/policy-port.ts";
import type { Recorder, SessionEntry } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Clock } from "#core/clock.ts";
import type { Credentials } from "#sidecar/seam/credentials.ts";
import type { Held, Judge, Operation, Permit, Refusal, Waiter } from "#sidecar/seam/verdict.ts";
import type { Protection } from "./credential-rules.ts";

/** What is known of the run that an operation belongs to. */
export interface Run {
  readonly id: string;
  readonly user: string;
  readonly intent: string;
  readonly verified: boolean;
}

/** Told of each verdict; for the terminal. `ms` is what the decision took. */
export interface Verdict {
  readonly verdict: "allow" | "deny" | "hold";
  readonly protocol: string;
  readonly action: string;
  readonly phase: Operation["phase"] | "connect";
  readonly target: string | null;
  readonly host: string;
  readonly port: number;
  readonly code: string;
  readonly message: string;
  readonly policies: readonly string[];
  readonly would: boolean;
  readonly folded: boolean;
  readonly event: string;
  readonly facts: string;
  readonly detail: string;
  readonly ms: number;
}

export interface JudgeOptions {
  readonly holder: PolicyHolder;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly run: Run | null;
  readonly credentials: Credentials;
  /** For metrics: each verdict, without anything made for it. */
  readonly counted?: (
    protocol: Protocol,
    verdict: Verdict["verdict"],
    decision: Decision,
    folded: boolean,
    ms: number,
  ) => void;
  /** For whoever watches: each verdict in full. Null: nobody does. */
  readonly told?: ((verdict: Verdict) => void) | null;
}

/** What a connection was addressed to, or as much of it as is known when it is refused. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly target: Target | null;
}

/** A connection's judge, with what only the pipeline may ask. */
export interface ConnectionJudge extends Judge {
  readonly session: number;
  /** Whom its operations belong to; "" where nobody said. */
  readonly run: string;
  /** What is asked from now on goes over an upstream so protected; `broken` hears of a waiter that threw. Before it: none. */
  protect(by: Protection, broken: (error: unknown) => void): void;
  connect(operation: Operation, waiter: Waiter<"connect">): Permit<"connect"> | Refusal | Held;
  /** The upstream refused the permit's credential: another one, which is then the permit's; null: there is no other. */
  renew(permit: Permit<"connect" | "ask">, then: (found: Credential | null) => void): void;
  /** Asks `connect` again on the bundle now in force. Null: allowed still. */
  again(): Refusal | null;
  close(bytesUp: number, bytesDown: number, why: string): void;
}

export interface Judges {
  open(entry: SessionEntry, place: Place): ConnectionJudge;
  /** Judges something that has no connection (a DNS query): never forwarded, so no permit comes of it. */
  flush(): void;
}
