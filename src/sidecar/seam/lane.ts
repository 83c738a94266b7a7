/**
 * A lane speaks one byte protocol. It gets ports, never sockets. The pipeline has judged `connect` before a lane opens.
 */

import type { Credential } from "#contract/credential.ts";
import type { Protocol } from "#contract/operation.ts";
import type { Target } from "#contract/target.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Agent, LegEvents, Upstream } from "./leg.ts";
import type { Judge, Permit, Refusal } from "./verdict.ts";

export type Sniff =
  | { readonly kind: "match" }
  | { readonly kind: "no" }
  | { readonly kind: "more"; readonly atLeast: number };

/** What the connection was addressed to: exactly one name and target. */
export interface Peer {
  readonly host: string; // lower case, no dot at the end; a literal address where the target lists it
  readonly port: number;
  readonly target: Target;
  /** Whether the agent's leg is TLS that we answered. */
  readonly secure: boolean;
  readonly limits: { readonly headerMs: number; readonly idleMs: number; readonly totalMs: number };
}

export interface Ports {
  readonly peer: Peer;
  readonly agent: Agent;
  readonly judge: Judge;
  readonly connect: Permit<"connect">;
  /** aside = the lane's own connection (catalogue, CancelRequest), recorded as ours. Never null: a dial that fails says so to its events. `fresh`: not from the pool. */
  dial(permit: Permit<"connect" | "ask">, purpose: "forward" | "aside", events: LegEvents, fresh?: boolean): Upstream;
  /** A session that was released as exactly this, on the permit's credential, in this run; with what was known of it. Null: there is none. */
  resume?(
    permit: Permit<"connect" | "ask">,
    alike: string,
    events: LegEvents,
  ): { readonly upstream: Upstream; readonly known: object } | null;
  /**
   * At hand when the permit is; null = none asked for. What it reveals goes to the upstream only, on a leg with verified TLS: a lane
   * that starts TLS in-band waits for it (`leg.tls !== null`), unless the target says `insecureCredential`.
   */
  credential(permit: Permit<"connect" | "ask">): Credential | null;
  /** The upstream refused it: asks for another value, which is then the permit's. Null: there is no other. Calls back once, later. */
  renew(permit: Permit<"connect" | "ask">, then: (found: Credential | null) => void): void;
  /** The shared wheel: alarms fire up to 100 ms late, never early. Keep one per connection, not one per byte. */
  after(ms: number, fire: () => void): Alarm;
  /** In another turn of the event loop, so that a long work in parts lets others have their turn between. */
  readonly soon: (this: void, then: () => void) => void;
  /** When this turn's records are written. Legs wait by themselves; before a request on a stream() that a library owns, the lane must. */
  committed(then: () => void): void;
  /** Upgrade, h2c: the next lane takes the agent and, where the protocol keeps it, the upstream. */
  become(lane: Lane, rest: Rest): void;
  /** CONNECT, SOCKS: another destination, so back to the pipeline's stage Addressed with that name, never lane to lane. */
  tunnel(permit: Permit<"ask">, authority: string, rest: Rest): void;
}

export interface Rest {
  readonly agent: Uint8Array;
  readonly upstream: { readonly leg: Upstream; readonly head: Uint8Array; readonly permit: Permit<"ask"> } | null;
}

export type { Credential };

/** The agent's leg speaks to the session itself; upstreams to the listeners given to dial(). */
export interface Session extends LegEvents {
  /** Another bundle is in force and `connect` was allowed again: re-judge what is still open. */
  revised(): void;
  /** Finish what is under way, take nothing new. */
  drain(): void;
}

/** One per process. Shared state of a protocol (parse cache, cancel keys) lives in what createLane() closes over. */
export interface Lane {
  readonly protocol: Protocol;
  readonly alpn: readonly string[]; // claimed by ALPN alone, before any byte
  readonly sniff: ((head: Uint8Array) => Sniff) | null; // null: only where a target declares it
  /** TLS starts in-band: upstreams are dialed plain, whatever the agent spoke, and the lane calls startTls itself. */
  readonly tlsInBand?: boolean;
  open(ports: Ports, from: Rest | null): Session;
  /**
   * Tells a client that is not let in why, in the protocol's own words, and ends its leg; what it returns hears the leg meanwhile, for a
   * few seconds at most. Absent: the leg is reset.
   */
  turnAway?(agent: Agent, refusal: Refusal): LegEvents;
}
