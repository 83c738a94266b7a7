/**
 * Bytes both ways, unread, under the connection's own permit: for targets declared `tcp`, and for TLS that policy lets pass
 * without being read. What was judged is the destination; the pipeline finishes that permit when the connection is gone.
 *
 * Each direction ends by itself (half-close). A side that breaks off takes the other one with it by a reset, so that half a
 * stream never looks whole.
 */
import { type Clock, systemClock } from "#core/clock.ts";
import type { Lane, Ports, Session } from "#sidecar/seam/lane.ts";
import type { Chunk, LegEvents, Upstream } from "#sidecar/seam/leg.ts";

export function createOpaqueLane(protocol: "tcp" | "tls", clock: Clock = systemClock): Lane {
  return {
    protocol,
    alpn: [],
    sniff: null,
    open(ports, from) {
      if (from !== null) throw new Error("no lane hands a connection over to be carried unread");
      return new OpaqueSession(ports, clock);
    },
  };
}

class OpaqueSession implements Session {
  readonly #ports: Ports;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #upstream: Upstream | null = null;
  #agentEnded = false;
  #upstreamEnded = false;
  #over = false;
  /** A byte moved since the last round. */
  #active = false;
  #activeMs: number;

  constructor(ports: Ports, clock: Clock) {
    this.#ports = ports;
    this.#clock = clock;
    this.#startedMs = clock.elapsedMs();
    this.#activeMs = this.#startedMs;
    const upstream = ports.dial(ports.connect, "forward", this.#answers());
    if (this.#over) upstream.reset();
    else {
      this.#upstream = upstream;
      this.#watch();
    }
  }

  opened(): void {}

  secured(): void {}

  data(chunk: Chunk): void {
    this.#active = true;
    if (this.#over || this.#upstream === null) return;
    if (!this.#upstream.forward(this.#ports.connect, chunk, 0, chunk.length)) this.#ports.agent.pause();
  }

  drained(): void {
    this.#active = true;
    this.#upstream?.resume();
  }

  ended(): void {
    this.#agentEnded = true;
    this.#upstream?.end();
    this.#endIfBoth();
  }

  failed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#upstream?.reset();
  }

  /** The pipeline asked `connect` again, and it stands. */
  revised(): void {}

  /** Nothing tells where an opaque stream could be cut: it goes on until it ends, or until the drain's own limit. */
  drain(): void {}

  #answers(): LegEvents {
    const { agent, connect } = this.#ports;
    return {
      opened: () => {},
      secured: () => {},
      data: (chunk) => {
        this.#active = true;
        if (!this.#over && !agent.forward(connect, chunk, 0, chunk.length)) this.#upstream?.pause();
      },
      drained: () => {
        this.#active = true;
        if (!this.#over) agent.resume();
      },
      ended: () => {
        if (this.#over) return;
        this.#upstreamEnded = true;
        agent.end();
        this.#endIfBoth();
      },
      failed: () => {
        if (this.#over) return;
        this.#over = true;
        agent.reset();
      },
    };
  }

  #endIfBoth(): void {
    if (this.#over || !this.#agentEnded || !this.#upstreamEnded) return;
    this.#over = true;
    this.#upstream?.release(false);
  }

  /** One alarm: a stream on which nothing moved for the idle limit, or that is older than the total limit, is ended. */
  #watch(): void {
    if (this.#over) return;
    const { idleMs, totalMs } = this.#ports.peer.limits;
    const now = this.#clock.elapsedMs();
    if (this.#active) this.#activeMs = now;
    this.#active = false;
    const idleAt = this.#activeMs + idleMs;
    const dueMs = Math.min(idleAt, totalMs > 0 ? this.#startedMs + totalMs : idleAt);
    if (dueMs <= now) {
      this.#over = true;
      this.#upstream?.reset();
      this.#ports.agent.reset();
      return;
    }
    this.#ports.after(Math.max(dueMs - now, 10), () => this.#watch());
  }
}
