/** The room `transport`: legs over TCP and TLS. See lent.ts for the buffers, wire.ts for a connection, in- and outbound.ts for the legs. */
import type { Wheel } from "#core/wheel.ts";
import type { Transport } from "../seam/stages.ts";
import { Contexts, type Roots } from "./contexts.ts";
import { InboundLeg } from "./inbound.ts";
import { OutboundLeg } from "./outbound.ts";

export interface TransportOptions {
  readonly wheel: Wheel;
  /** What upstream certificates chain to, where a target names no CA of its own. */
  readonly roots: Roots;
  /** A listener threw. The connection is ended; this is for the log. */
  readonly bug: (error: unknown) => void;
  /** Milliseconds for one TLS handshake with the agent, or in-band with an upstream. */
  readonly handshakeMs?: number;
  /** After our half-close: milliseconds without a byte in either direction until the connection is reset. */
  readonly lingerMs?: number;
}

export function createTransport(options: TransportOptions): Transport {
  const shared = {
    wheel: options.wheel,
    bug: options.bug,
    contexts: new Contexts(options.roots),
    handshakeMs: options.handshakeMs ?? 10_000,
    lingerMs: options.lingerMs ?? 300_000,
  };
  return {
    inbound: (taken) => new InboundLeg(taken, shared),
    connect: (to, gate, events) => new OutboundLeg(to, gate, events, shared),
  };
}
