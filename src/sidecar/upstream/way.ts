/**
 * Where a dial leads: to the target's endpoints, to a literal address, to what DNS says, or to the network's proxy; each judged by
 * the address rules. What is refused is left out, and told of once a minute.
 */
import type { Target } from "#contract/target.ts";
import { type Address, type Endpoint, formatAddress, parseEndpoint, parsePlainAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import type { Dial } from "../seam/stages.ts";
import { type AddressRules, type AddressSource, refusedAddress } from "./address-rules.ts";
import type { UpstreamProxy } from "./proxy.ts";
import type { StubResolver } from "./resolve.ts";

/** A name or endpoint that led where it may not: a finding for the record. `what`: "loopback", "metadata", "private", … */
export interface AddressFinding {
  readonly target: string;
  readonly host: string;
  readonly address: string;
  readonly what: string;
}

export interface WayOptions {
  readonly resolver: StubResolver;
  readonly rules: AddressRules;
  readonly clock: Clock;
  /** Once a minute for the same one: an agent that dials again and again must not fill the record. */
  readonly onFinding: (finding: AddressFinding) => void;
  readonly proxy: UpstreamProxy | null;
}

export interface Ways {
  /** The proxy that this dial must go through; null: straight. Decided by name before anything is asked, so never a fall-back. */
  proxyFor(request: Pick<Dial, "host" | "target">): UpstreamProxy | null;
  /** Calls back once, perhaps at once, with what may be dialled. */
  endpoints(request: Pick<Dial, "host" | "port" | "target">, then: (endpoints: readonly Endpoint[]) => void): void;
}

const FINDING_MS = 60_000;
const MAX_FINDINGS = 256;
const NONE: readonly Endpoint[] = [];

export function createWays(options: WayOptions): Ways {
  const { resolver, rules, clock, proxy } = options;
  const told = new Lru<string, number>(MAX_FINDINGS);

  function report(finding: AddressFinding): void {
    const key = `${finding.target} ${finding.host} ${finding.address} ${finding.what}`;
    const now = clock.elapsedMs();
    const toldAt = told.get(key);
    if (toldAt !== undefined && now - toldAt < FINDING_MS) return;
    told.set(key, now);
    options.onFinding(finding);
  }

  function judged(endpoints: readonly Endpoint[], source: AddressSource, host: string, target: Target): Endpoint[] {
    return endpoints.filter(({ address }) => {
      const what = refusedAddress(address, source, target.private === true, rules);
      if (what === null) return true;
      report({ target: target.name, host, address: formatAddress(address), what });
      return false;
    });
  }

  function proxyFor({ host, target }: Pick<Dial, "host" | "target">): UpstreamProxy | null {
    const written = target.endpoints !== undefined && target.endpoints.length > 0;
    return proxy === null || written || proxy.bypasses(host) ? null : proxy;
  }

  /** What the name says: an address that it is, or those that DNS knows. */
  function named(host: string, port: number, then: (addresses: readonly Endpoint[], literal: boolean) => void): void {
    const literal = parsePlainAddress(host);
    if (literal !== null) return then([{ address: literal, port }], true);
    resolver.resolve(host, (resolution) => {
      const found: readonly Address[] = resolution.kind === "addresses" ? resolution.addresses : [];
      then(
        found.map((address) => ({ address, port })),
        false,
      );
    });
  }

  return {
    proxyFor,
    endpoints(request, then) {
      const { host, port, target } = request;
      if (target.endpoints !== undefined && target.endpoints.length > 0) {
        const endpoints = target.endpoints.map(parseEndpoint).filter((endpoint) => endpoint !== null);
        return then(judged(endpoints, "endpoint", host, target));
      }
      const through = proxyFor(request);
      if (through === null)
        return named(host, port, (found, literal) => then(judged(found, literal ? "literal" : "dns", host, target)));
      // The proxy resolves names; a literal address is judged here, or a proxy would lead to what we refuse.
      const literal = parsePlainAddress(host);
      if (literal !== null && judged([{ address: literal, port }], "literal", host, target).length === 0)
        return then(NONE);
      named(through.host, through.port, (found) => then(judged(found, "endpoint", through.host, target)));
    },
  };
}
