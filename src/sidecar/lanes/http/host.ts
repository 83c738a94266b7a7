/**
 * Whether a request names the origin that its connection was addressed to. Anything else is misdirected: the connection was
 * judged, and its certificate made, for that one name.
 */
import type { Peer } from "#sidecar/seam/lane.ts";
import type { Fault } from "./codec/fault.ts";
import type { RequestHead } from "./codec/request-head.ts";

export interface Origin {
  /** What Host says in the usual form; also what is written where an HTTP/1.0 request has none. */
  readonly authority: string;
  check(head: RequestHead): Fault | "misdirected" | null;
}

// reg-name, IPv4 or [IPv6], and perhaps a port (RFC 9110 section 7.2)
const HOST = /^(?:[a-z0-9._~-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

export function originOf(peer: Peer): Origin {
  const name = peer.host.includes(":") ? `[${peer.host}]` : peer.host;
  const withPort = `${name}:${peer.port}`;
  const isDefault = peer.port === (peer.secure ? 443 : 80);
  const scheme = peer.secure ? "https" : "http";
  const authority = isDefault ? name : withPort;

  // A port that is left out is the scheme's own.
  const names = (text: string): boolean => text === authority || (isDefault && text === withPort);

  return {
    authority,
    check(head) {
      const { host } = head.block;
      if (host === null) {
        if (head.minor === 1) return "host_missing";
      } else if (host !== authority) {
        const lower = host.toLowerCase();
        if (!HOST.test(lower)) return "host";
        if (!names(lower)) return "misdirected";
      }
      if (head.authority === null) return null;
      return names(head.authority) && (head.scheme === null || head.scheme === scheme) ? null : "misdirected";
    },
  };
}
