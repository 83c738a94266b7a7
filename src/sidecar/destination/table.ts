/**
 * Targets as a lookup: a name and port, or a literal address and port, to exactly one target or to none.
 *
 * Errs towards none. An exact host hides every wildcard, also for ports that it does not list; of nested ranges the narrowest
 * counts; what two targets both claim belongs to neither, and is reported.
 */
import type { Target } from "#contract/target.ts";
import { type Address, type Cidr, contains, formatCidr, parseCidr } from "#core/cidr.ts";

export type TableProblem =
  | { readonly kind: "host-claimed-twice"; readonly host: string; readonly port: number; readonly targets: TwoNames }
  | { readonly kind: "range-claimed-twice"; readonly range: string; readonly port: number; readonly targets: TwoNames }
  | { readonly kind: "wildcard-with-credential"; readonly host: string; readonly target: string }
  | { readonly kind: "range-malformed"; readonly range: string; readonly target: string };
type TwoNames = readonly [string, string];

/** What is known of a name. `target`: any one of those that list it; which one counts is decided by the port. */
export interface KnownHost {
  readonly target: Target;
  readonly wildcard: boolean;
  /** The target that wants the upstream's own addresses answered for this name. */
  readonly upstreamAnswer: Target | null;
}

export interface TargetTable {
  readonly problems: readonly TableProblem[];
  /** Null: nobody lists it, or two do. */
  host(name: string): KnownHost | null;
  target(name: string, port: number): Target | null;
  literal(address: Address, port: number): Target | null;
  /** Whether a target lists this address, on whatever port. */
  hasLiteral(address: Address): boolean;
}

type ByPort = Map<number, Target>;
interface Range {
  readonly cidr: Cidr;
  readonly ports: ByPort;
  readonly spoilt: Set<number>;
}

export function buildTable(targets: readonly Target[]): TargetTable {
  const problems: TableProblem[] = [];
  const hosts = new Map<string, ByPort>();
  const spoilt = new Set<string>();
  const ranges = new Map<string, Range>();

  for (const target of targets) {
    for (const host of target.hosts) {
      if (host.startsWith("*.") && target.credential !== undefined) {
        problems.push({ kind: "wildcard-with-credential", host, target: target.name });
        continue;
      }
      const ports = hosts.get(host) ?? new Map<number, Target>();
      hosts.set(host, ports);
      for (const port of new Set(target.ports)) {
        const other = ports.get(port);
        if (other === undefined) ports.set(port, target);
        else if (other !== target) {
          spoilt.add(host);
          problems.push({ kind: "host-claimed-twice", host, port, targets: [other.name, target.name] });
        }
      }
    }
    for (const text of target.addresses ?? []) addRange(target, text, ranges, problems);
  }
  for (const host of spoilt) hosts.get(host)?.clear();
  // The narrowest range first: a single address beats the network around it.
  const sorted = [...ranges.values()].sort((a, b) => b.cidr.prefix - a.cidr.prefix);

  const exact = (name: string): ByPort | undefined => (name.startsWith("*") ? undefined : hosts.get(name));
  const wild = (name: string): ByPort | undefined => {
    const pattern = wildcardOf(name);
    return pattern === null ? undefined : hosts.get(pattern);
  };
  return {
    problems,
    host(name) {
      const named = exact(name);
      const ports = named ?? wild(name);
      const target = ports?.values().next().value;
      if (ports === undefined || target === undefined) return null;
      let upstreamAnswer: Target | null = null;
      for (const each of ports.values()) if (each.answer === "upstream") upstreamAnswer = each;
      return { target, wildcard: named === undefined, upstreamAnswer };
    },
    target: (name, port) => (exact(name) ?? wild(name))?.get(port) ?? null,
    literal(address, port) {
      for (const range of sorted)
        if (contains(range.cidr, address)) {
          if (range.spoilt.has(port)) return null;
          const target = range.ports.get(port);
          if (target !== undefined) return target;
        }
      return null;
    },
    hasLiteral: (address) => sorted.some((range) => contains(range.cidr, address)),
  };
}

function addRange(target: Target, text: string, ranges: Map<string, Range>, problems: TableProblem[]): void {
  const cidr = parseCidr(text);
  if (cidr === null) {
    problems.push({ kind: "range-malformed", range: text, target: target.name });
    return;
  }
  const key = formatCidr(cidr);
  const range = ranges.get(key) ?? { cidr, ports: new Map<number, Target>(), spoilt: new Set<number>() };
  ranges.set(key, range);
  for (const port of new Set(target.ports)) {
    const other = range.ports.get(port);
    if (other === undefined) range.ports.set(port, target);
    else if (other !== target) {
      range.spoilt.add(port);
      problems.push({ kind: "range-claimed-twice", range: key, port, targets: [other.name, target.name] });
    }
  }
}

/** `a.example.com` is matched by `*.example.com`, and by no wildcard further up: one label, never more, and a host's label only. */
function wildcardOf(name: string): string | null {
  const dot = name.indexOf(".");
  return dot > 0 && LABEL.test(name.slice(0, dot)) ? `*${name.slice(dot)}` : null;
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
