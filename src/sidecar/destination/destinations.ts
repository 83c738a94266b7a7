/**
 * The room `destination`: from an original destination to exactly one name and target, or a refusal; and from a name that the
 * agent asks for to the address that will stand for it. Whoever is not known is refused.
 */
import type { Target } from "#contract/target.ts";
import { type Address, type Cidr, contains, formatAddress, parsePlainAddress } from "#core/cidr.ts";
import { Lru } from "#core/lru.ts";
import { kindOf } from "#core/special-addresses.ts";
import type { Addressing, Destinations, SocketAddress } from "../seam/stages.ts";
import { OBSERVED, type SyntheticNames } from "./synthetic.ts";
import { buildTable, type TableProblem } from "./table.ts";

export type NameAnswer =
  | { readonly kind: "synthetic"; readonly v4: Uint8Array; readonly v6: Uint8Array }
  /** `answer: upstream`: ask for its addresses, then `learn` them. */
  | { readonly kind: "upstream"; readonly target: Target }
  /** Nobody lists it, and under observation it gets an address all the same: a denial on record, were it in force. */
  | { readonly kind: "observed"; readonly v4: Uint8Array; readonly v6: Uint8Array }
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
/** Addresses learnt from upstream. The one not seen for longest is forgotten, and refused from then on. */
const MAX_LEARNT = 4_096;
/** Targets made up under observation, so that one name and port has one object. */
const MAX_OBSERVED = 1_024;

/** A host's name with a dot in it: what no policy lists is not worth an address when no public name can look like that. */
const UNLISTED = /^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function createDestinations(options: DestinationsOptions): DestinationRoom {
  const { synthetic, own, onProblems } = options;
  const maxLabel = options.maxWildcardLabel ?? MAX_WILDCARD_LABEL;
  const learnt = new Lru<string, string>(MAX_LEARNT);
  const unlisted = new Lru<string, Target>(MAX_OBSERVED);
  let table = buildTable([]);
  let observing = false;

  const isOwn = (address: Address): boolean => own.some((range) => contains(range, address));

  function byName(host: string, port: number): Addressing {
    const target = table.target(host, port) ?? (observing ? observed(host, port) : null);
    return target === null
      ? { kind: "refused", code: "target_unknown", host }
      : { kind: "addressed", host, port, target };
  }

  /** No credential, no CA, no promise of any kind; what its name resolves to is still judged, and private only because nothing is denied. */
  function observed(host: string, port: number): Target {
    const key = `${host} ${port}`;
    let target = unlisted.get(key);
    if (target === undefined) {
      target = { name: "", hosts: [host], ports: [port], private: true };
      unlisted.set(key, target);
    }
    return target;
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

    update(targets, observe) {
      table = buildTable(targets);
      observing = observe === true;
      onProblems(table.problems);
    },

    name(host) {
      const known = table.host(host);
      if (known === null) {
        if (!observing || !UNLISTED.test(host) || host.endsWith(".arpa")) return { kind: "unknown" };
        const given = synthetic.give(host, OBSERVED);
        return given === null ? { kind: "exhausted" } : { kind: "observed", v4: given.v4, v6: given.v6 };
      }
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
        const owner = learnt.get(key) ?? host;
        if (owner !== host) continue;
        learnt.set(key, host);
        alone.push(address);
      }
      return alone;
    },
  };
}
