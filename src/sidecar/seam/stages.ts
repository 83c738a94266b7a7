/**
 * The stages before a lane (DESIGN section 3), as types: a stage takes the type of the stage before, so an order mistake does
 * not compile. pipeline.ts tells the story; each room gives one of these ports.
 */
import type { SecureContext } from "node:tls";
import type { DenialCode } from "#contract/denial.ts";
import type { CommitGate } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Agent, LegEvents, Upstream } from "./leg.ts";
import type { Permit } from "./verdict.ts";

export interface SocketAddress {
  readonly address: string; // numeric; v4-mapped v6 is written as v4
  readonly port: number;
}

/** An accepted connection that no lane has yet: the agent's leg, and what only the pipeline may do with it. */
export interface Inbound extends Agent {
  /** Reads first bytes without consuming them, until `enough` says so, `maxBytes` are there, the client ends, or `timeoutMs` passed. */
  peek(
    limits: { readonly maxBytes: number; readonly timeoutMs: number },
    enough: (head: Uint8Array) => boolean,
    then: (head: Uint8Array, why: "enough" | "full" | "ended" | "timeout" | "failed") => void,
  ): void;
  /** Answers TLS with this context; the peeked ClientHello is replayed into it. The same leg then carries plaintext (peek works again). */
  answerTls(
    context: SecureContext,
    alpn: readonly string[],
    then: (fault: "tls-untrusted-by-agent" | "reset" | "timeout" | null) => void,
  ): void;
  /** Whom events go to from now on; bytes peeked come first, in the same turn. */
  listen(events: LegEvents): void;
  /** Bytes and state for the record. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Called once when everything of the connection is gone. */
  onGone(then: () => void): void;
}

export interface Accepted {
  readonly leg: Inbound;
  readonly client: SocketAddress;
  /** Null: unreadable, or one of our own listeners. */
  readonly original: SocketAddress | null;
}

export interface Addressed extends Accepted {
  readonly host: string;
  readonly port: number;
  readonly target: Target;
}

export type Addressing =
  | { readonly kind: "addressed"; readonly host: string; readonly port: number; readonly target: Target }
  | { readonly kind: "refused"; readonly code: DenialCode; readonly host: string | null };

/** The room `destination`. */
export interface Destinations {
  address(original: SocketAddress): Addressing;
  /** New targets are in force; names keep their synthetic addresses. */
  update(targets: readonly Target[]): void;
}

export interface ClientHello {
  readonly sni: string | null;
  readonly alpn: readonly string[];
  readonly ech: boolean;
}

export type Detected =
  | { readonly kind: "tls"; readonly hello: ClientHello }
  | { readonly kind: "plain"; readonly protocol: string } // a lane's protocol
  | { readonly kind: "silent" }
  | { readonly kind: "unknown"; readonly why: string };

/** The room `tls`. */
export interface LeafSource {
  /** A context with a leaf for exactly this name, made once and cached (bounded). */
  contextFor(name: string): SecureContext;
  readonly caPem: string;
}

/** What an upstream connection is made from. `pool`: what must be equal for reuse, beyond target, address and TLS name. */
export interface Dial {
  readonly host: string;
  readonly port: number;
  readonly target: Target;
  readonly secure: boolean; // TLS to the upstream
  readonly alpn: readonly string[];
  readonly pool: string | null; // null: never pooled
  readonly fresh: boolean;
}

/** The room `upstream`: resolves, checks the address, connects, verifies, pools. */
export interface Upstreams {
  dial(request: Dial, permit: Permit<"connect" | "ask">, events: LegEvents): Upstream;
  /** Closes idle connections of targets that changed or went; in-flight ones are the sessions' affair. */
  update(targets: readonly Target[]): void;
  close(): void;
}

/** What transport gives to the room `upstream`: a connection to one numeric address. */
export interface Connector {
  connect(to: ConnectTo, gate: CommitGate, events: LegEvents): Outbound;
}
export interface ConnectTo {
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly tls: { readonly serverName: string; readonly ca: string | null; readonly alpn: readonly string[] } | null;
}
/** An upstream leg with what the pool needs. */
export interface Outbound extends Upstream {
  readonly idleSafe: boolean; // nothing queued, nothing unread
  relisten(events: LegEvents): void;
  readonly bytesIn: number;
  readonly bytesOut: number;
}
