/**
 * One end of a connection, as a lane sees it: bytes in, bytes out, no socket. Every leg has its own listener, so an event never
 * has to say which leg it speaks of.
 */
import type { Duplex } from "node:stream";
import type { Permit } from "./verdict.ts";

/**
 * Bytes as they were read, lent for the call of `data` only. The transport knows whose buffer it is: pass it on with `forward`,
 * keep it with `slice` (a copy). `view` must not outlive the call. `from` inclusive, `to` exclusive.
 */
export interface Chunk {
  readonly length: number;
  at(i: number): number;
  latin1(from: number, to: number): string;
  view(from: number, to: number): Uint8Array;
  slice(from: number, to: number): Uint8Array;
  /** Position of a byte at or after `from`, or -1. */
  indexOf(byte: number, from: number): number;
}

/** `endPoint`: tls-server-end-point (RFC 5929) of our leaf on the agent's leg, of the server's certificate on the upstream's. */
export interface Tls {
  readonly sni: string | null;
  readonly alpn: string | null;
  readonly endPoint: Uint8Array | null;
}

export type LegFault =
  | "refused"
  | "unreachable"
  | "unresolved"
  | "reset"
  | "timeout"
  | "audit"
  | "tls-untrusted-by-agent"
  | "tls-bad-upstream"
  | "tls-name"
  | "plaintext-before-tls";

export interface LegEvents {
  opened(): void; // upstream: connected (and secured where the target says so); agent: the lane may begin
  data(chunk: Chunk): void; // always consumed whole; too much of it: leg.pause()
  drained(): void; // after a write that said "full"
  secured(tls: Tls): void; // after startTls
  ended(): void; // half-close: the other direction goes on
  failed(fault: LegFault): void; // last event
}

export interface Leg {
  readonly tls: Tls | null;
  pause(): void;
  resume(): void;
  /** In-band (PostgreSQL, MySQL). Bytes already read beyond the request: fault plaintext-before-tls. */
  startTls(alpn: readonly string[]): void;
  /** Gives the leg away for good, with what was read and not taken. For node:http2 and ssh2, in lanes/http/h2 and lanes/ssh only. */
  stream(): Duplex;
  /** Half-close after what is queued. */
  end(): void;
  /** At once, RST where the kernel can. No further event. */
  reset(): void;
}

export interface Agent extends Leg {
  /** string = latin1. The leg owns the bytes from here on. false: full, wait for `drained`. */
  write(bytes: Uint8Array | string): boolean;
  /** Counted for the permit; a permit with masks is a bug here. */
  forward(permit: Permit, chunk: Chunk, from: number, to: number): boolean;
}

/** A session that the lane has made as good as new: whatever somebody did in it is undone, and the upstream has said so. */
export interface Resumable {
  /** What must be equal for whoever goes on with it: user, database, options, whether it is secured. */
  readonly alike: string;
  /** What the lane must know of it then. No secret of the credential's, and nothing of whoever had it. */
  readonly known: object;
  /** How many of this kind may wait at a time. */
  readonly most: number;
}

export interface Upstream extends Leg {
  /** Queued (bounded) while connecting and until this turn's records are written; then straight through. */
  write(permit: Permit<"connect" | "ask">, bytes: Uint8Array | string): boolean;
  forward(permit: Permit<"connect" | "ask">, chunk: Chunk, from: number, to: number): boolean;
  /**
   * reusable: back into the pool (key: target, address, TLS name, client identity, credential, run). Any byte or end on an idle one closes
   * it. `as`: it is logged in, and comes back only to who asks for exactly this (`Ports.resume`), never to a dial.
   */
  release(reusable: boolean, as?: Resumable): void;
  /** True when it came out of the pool and has carried an exchange before: the retry rule (DESIGN: Retry) needs it. */
  readonly reused: boolean;
}
