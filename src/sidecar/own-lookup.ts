/**
 * Where our own control plane is: by queries of our own to the cluster's resolvers, never by the pod's resolv.conf, hosts file or
 * getaddrinfo, which are the pod author's (`dnsPolicy`, `dnsConfig`, `hostAliases`). TLS proves whoever answers in either case; this
 * keeps an author from cutting the sidecar off, or watching whom it asks.
 */
import type { LookupFunction } from "node:net";
import { formatAddress, parseAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import type { NameServer } from "./upstream/dns-exchange.ts";
import { createStubResolver, type StubResolver } from "./upstream/resolve.ts";

export type OwnLookup = (host: string) => Promise<readonly string[]>;

/** A literal address is itself. Rejects where the name has none. */
export function createOwnLookup(resolver: StubResolver): OwnLookup {
  return (host) =>
    new Promise((resolve, reject) => {
      if (parseAddress(host) !== null) {
        resolve([host]);
        return;
      }
      resolver.resolve(host, (found) => {
        if (found.kind === "addresses" && found.addresses.length > 0) resolve(found.addresses.map(formatAddress));
        else reject(new Error(`${host} has no address${found.kind === "none" ? ` (${found.why})` : ""}`));
      });
    });
}

/** As Node's own sockets ask; null: no resolver was given, so there is only the system's. */
export function ownLookupFunction(
  nameservers: readonly NameServer[],
  clock: Clock,
  randomId: () => number,
): LookupFunction | null {
  if (nameservers.length === 0) return null;
  return asLookupFunction(
    createOwnLookup(createStubResolver({ nameservers, hosts: new Map(), v6: true, clock, randomId })),
  );
}

function asLookupFunction(lookup: OwnLookup): LookupFunction {
  return (host, options, callback) => {
    lookup(host).then(
      (found) => {
        const addresses = found.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
        const [first] = addresses;
        if (options.all === true) callback(null, addresses);
        else callback(null, first?.address ?? "", first?.family ?? 4);
      },
      (fault: unknown) => callback(fault as NodeJS.ErrnoException, []),
    );
  };
}
