/**
 * The room `destination`: from an original destination to exactly one name and target, or a refusal; and from a name that the
 * agent asks for to the address that will stand for it. Whoever is not known is refused.
 */
import type { Target } from "#contract/target.ts";
import { type Address, type Cidr, contains, formatAddress, parsePlainAddress } from "#core/cidr.ts";
import { kindOf } from "#core/special-addresses.ts";
import type { Addressing, Destinations, SocketAddress } from "../seam/stages.ts";
import type { SyntheticNames } from "./synthetic.ts";
import { buildTable, type TableProblem } from "./table.ts";

export type NameAnswer =
  | { readonly kind: "synthetic"; readonly v4: Uint8Array; readonly v6: Uint8Array }
  /** `answer: upstream`: ask for its addresses, then `learn` them. */
  | { readonly kind: "upstream"; readonly target: Target }
  | { readonly kind: "unknown" }
  /** Allowed, but bounds are reached or the state cannot be written. */
  | { readonly kind: "exhausted" };

export interface DestinationsOptions {
  readonly synthetic: SyntheticNames;
  /** Never a destination: the control plane, the pod's own addresses. */
  readonly own: readonly Cidr[];
  /** Longest wildcard label, at most 63. A long one is a channel towards the wildcard's name server (THREATS N8). */
  readonly maxWildcardLabel?: number;
  /** Told at each update; empty when all is well. */
  readonly onProblems: (problems: readonly TableProblem[]) => void;
}

export interface DestinationRoom extends Destinations {
  /** What to answer an agent that asks for this name (lower case, no dot at the end). */
  name(host: string): NameAnswer;
  /** Keeps a name's upstream addresses, and returns those that are now its alone. */
  learn(host: string, addresses: readonly string[]): readonly Address[];
}

const MAX_WILDCARD_LABEL = 48;
/** Addresses learnt from upstream; a name whose addresses find no room is answered nothing. */
const MAX_LEARNT = 4_096;

export function createDestinations(options: DestinationsOptions): DestinationRoom {
  const { synthetic, own, onProblems } = options;
  const maxLabel = options.maxWildcardLabel ?? MAX_WILDCARD_LABEL;
  const learnt = new Map<string, string>();
  let table = buildTable([]);

  const isOwn = (address: Address): boolean => own.some((range) => contains(range, address));

  function byName(host: string, port: number): Addressing {
    const target = table.target(host, port);
    return target === null
      ? { kind: "refused", code: "target_unknown", host }
      : { kind: "addressed", host, port, target };
  }

  return {
    address({ address: text, port }: SocketAddress): Addressing {
      const address = parsePlainAddress(text);
      if (address === null || port < 1 || port > 65_535)
        return { kind: "refused", code: "destination_unreadable", host: null };
      const name = synthetic.nameAt(address);
      if (name === null) return { kind: "refused", code: "target_unknown", host: null };
      if (name !== undefined) return byName(name, port);
      if (isOwn(address) || kindOf(address).kind === "forbidden")
        return { kind: "refused", code: "destination_forbidden", host: null };
      const literal = table.literal(address, port);
      if (literal !== null) return { kind: "addressed", host: formatAddress(address), port, target: literal };
      const host = learnt.get(formatAddress(address));
      if (host !== undefined && !table.hasLiteral(address)) return byName(host, port);
      return { kind: "refused", code: "target_unknown", host: null };
    },

    update(targets) {
      table = buildTable(targets);
      onProblems(table.problems);
    },

    name(host) {
      const known = table.host(host);
      if (known === null) return { kind: "unknown" };
      if (known.wildcard && host.indexOf(".") > maxLabel) return { kind: "unknown" };
      if (known.upstreamAnswer !== null) return { kind: "upstream", target: known.upstreamAnswer };
      const given = synthetic.give(host, known.wildcard ? known.target.name : null);
      return given === null ? { kind: "exhausted" } : { kind: "synthetic", v4: given.v4, v6: given.v6 };
    },

    learn(host, addresses) {
      const alone: Address[] = [];
      for (const text of addresses) {
        const address = parsePlainAddress(text);
        if (address === null || isOwn(address) || kindOf(address).kind === "forbidden") continue;
        if (synthetic.nameAt(address) !== undefined || table.hasLiteral(address)) continue;
        const key = formatAddress(address);
        const owner = learnt.get(key);
        if (owner === undefined && learnt.size < MAX_LEARNT) learnt.set(key, host);
        else if (owner !== host) continue;
        alone.push(address);
      }
      return alone;
    },
  };
}
