/**
 * What each protocol can carry out. The judge refuses an obligation that is not here, the controller refuses a policy that
 * could ask for one, the README's table is generated from it, and the conformance suite proves that lane and table agree.
 */
import type { Protocol } from "./operation.ts";

export interface Capability {
  readonly protocol: Protocol;
  /** carried: requests are understood and judged one by one. opaque: judged once, at connect. none: recognised and refused. */
  readonly carried: "carried" | "opaque" | "none";
  readonly understands: string;
  readonly hold: boolean;
  readonly mask: boolean;
  readonly credential: boolean;
}

export const CAPABILITIES: readonly Capability[] = [
  {
    protocol: "http",
    carried: "carried",
    understands: "HTTP/1.1 over TCP and TLS: method, host, path, query, header fields",
    hold: false,
    mask: false,
    credential: true,
  },
  {
    protocol: "postgres",
    carried: "carried",
    understands:
      "PostgreSQL 3.0 to 3.2, TLS in-band or direct: each statement, by PostgreSQL's own parser; COPY, cursors, prepared statements",
    hold: false,
    mask: true,
    credential: true,
  },
  {
    protocol: "tls",
    carried: "opaque",
    understands: "SNI and ALPN of a passthrough target",
    hold: false,
    mask: false,
    credential: false,
  },
  {
    protocol: "tcp",
    carried: "opaque",
    understands: "the destination of a target declared `tcp`",
    hold: false,
    mask: false,
    credential: false,
  },
  {
    protocol: "dns",
    carried: "carried",
    understands: "A, AAAA, HTTPS/SVCB, answered by the gateway's own resolver",
    hold: false,
    mask: false,
    credential: false,
  },
];

const BY_PROTOCOL = new Map(CAPABILITIES.map((c) => [c.protocol, c]));

export function capabilityOf(protocol: Protocol): Capability | undefined {
  return BY_PROTOCOL.get(protocol);
}
