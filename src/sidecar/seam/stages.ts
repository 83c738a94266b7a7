/**
 * The stages before a lane (DESIGN section 3), as types: a stage takes the type of the stage before, so an order mistake does
 * not compile. pipeline.ts tells the story; each room gives one of these ports.
 */
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import type { Credential } from "#contract/credential.ts";
import type { DenialCode } from "#contract/denial.ts";
import type { CommitGate } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Agent, LegEvents, Upstream } from "./leg.ts";
import type { Permit } from "./verdict.ts";

export interface SocketAddress {
  readonly address: string; // numeric; v4-mapped v6 is written as v4
  readonly port: number;
}

/** What the kernel accepted: Node's own handle, where it can be taken before Node makes a socket of it (listen/take.ts). */
export type Taken =
  | { readonly kind: "handle"; readonly handle: TcpHandle }
  | { readonly kind: "socket"; readonly socket: Socket };

/** Of Node's internal TCP handle only this: `fd` (-1 once closed), and the two ways out for whom nobody serves. */
export interface TcpHandle {
  readonly fd: number;
  getpeername(out: { address?: string; port?: number }): number;
  reset?(closed?: () => void): number;
  close(closed?: () => void): void;
}

/** What the room `transport` gives to `listen` and `upstream`. */
export interface Transport extends Connector {
  /** The leg of an accepted connection. It reads nothing before `peek` or `listen`. */
  inbound(taken: Taken): Inbound;
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
  /** What `startTls` answers with; without it, an in-band start fails the leg. Asked once, when it happens. */
  prepareTls(context: () => SecureContext): void;
  /** Whom events go to from now on: `opened` at once, then the bytes peeked, before this returns (paused: after `resume`). */
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
  /**
   * New targets are in force; names keep their synthetic addresses. `observe`: a name or port that nobody lists is addressed all
   * the same, to a target whose name is "" (policy input: null), so that what would be denied can be seen.
   */
  update(targets: readonly Target[], observe?: boolean): void;
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
  /** The certificate that we show to the upstream (kind clientCertificate). */
  readonly identity: Credential | null;
  /** What it logs in with: another version of it closes the idle ones of this target. Absent: nothing. */
  readonly login?: Pick<Credential, "name" | "version"> | null;
}

/** The room `upstream`: resolves, checks the address, connects, verifies, pools. */
export interface Upstreams {
  dial(request: Dial, permit: Permit<"connect" | "ask">, events: LegEvents): Upstream;
  /** `Ports.resume`. */
  resume?(
    request: Dial,
    alike: string,
    events: LegEvents,
  ): { readonly upstream: Upstream; readonly known: object } | null;
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
  /** `identity`: the certificate that we show, and its key; absent: none. */
  readonly tls: {
    readonly serverName: string;
    readonly ca: string | null;
    readonly alpn: readonly string[];
    readonly identity?: Credential | null;
  } | null;
  /** What `startTls` verifies by, where TLS starts in-band; absent: it fails the leg. */
  readonly inBand?: { readonly serverName: string; readonly ca: string | null; readonly identity?: Credential | null };
}
/** An upstream leg with what the pool needs. */
export interface Outbound extends Upstream {
  readonly idleSafe: boolean; // nothing queued, nothing unread
  relisten(events: LegEvents): void;
  readonly bytesIn: number;
  readonly bytesOut: number;
}
