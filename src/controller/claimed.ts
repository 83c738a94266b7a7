/**
 * What the cluster's own targets claim: names, hosts, addresses. A namespace's target that names one of them is left out of its bundles:
 * else its author could give a host of the cluster's another name, one that no rule of the cluster speaks of, and with it other ports,
 * another protocol, another authority.
 *
 * As sidecars look targets up (`sidecar/destination/table.ts`): an exact host hides the wildcard above it, a narrower range the wider.
 * Errs towards the cluster: a name counts also while its target cannot be read.
 */
import { type Cidr, contains, parseCidr } from "#core/cidr.ts";
import type { ObservedTarget } from "./observed.ts";

export interface Claims {
  /** What of it is the cluster's, and which target claims it; null: nothing. */
  taken(target: ObservedTarget): Taken | null;
}

export interface Taken {
  readonly what: "name" | "host" | "address";
  readonly text: string;
  readonly by: string;
}

/** `cluster`: the targets of our own namespace. */
export function claimsOf(cluster: readonly ObservedTarget[]): Claims {
  const names = new Set(cluster.map(({ name }) => name));
  const hosts = new Map<string, string>();
  const ranges: { readonly cidr: Cidr; readonly ports: ReadonlySet<number>; readonly by: string }[] = [];
  for (const { name: by, malformed, spec } of cluster) {
    if (malformed !== "") continue;
    for (const host of spec.hosts) hosts.set(host, by);
    for (const text of spec.addresses ?? []) {
      const cidr = parseCidr(text);
      if (cidr !== null) ranges.push({ cidr, ports: new Set(spec.ports), by });
    }
  }
  return {
    taken({ name, spec }) {
      if (names.has(name)) return { what: "name", text: name, by: name };
      for (const host of spec.hosts) {
        const by = hosts.get(host) ?? hosts.get(`*${host.slice(Math.max(0, host.indexOf(".")))}`);
        if (by !== undefined) return { what: "host", text: host, by };
      }
      for (const text of ranges.length === 0 ? [] : (spec.addresses ?? [])) {
        const inner = parseCidr(text);
        const claimed = ranges.find(
          ({ cidr, ports }) =>
            inner !== null &&
            cidr.prefix <= inner.prefix &&
            cidr.family === inner.family &&
            contains(cidr, inner) &&
            spec.ports.some((port) => ports.has(port)),
        );
        if (claimed !== undefined) return { what: "address", text, by: claimed.by };
      }
      return null;
    },
  };
}
