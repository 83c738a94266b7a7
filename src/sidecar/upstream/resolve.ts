/**
 * Our own stub resolver. It asks the name servers that it was given, and nothing of the pod's: no resolv.conf, no hosts file,
 * no getaddrinfo (those are the pod author's, THREATS P8). Asked only when somebody dials.
 *
 * Fails towards "no address". Everything is bounded: the cache, the chain of CNAMEs, the questions under way, the time.
 */
import { type Address, parsePlainAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { DNS_CLASS_IN, DNS_TYPE, type DnsResponse, RCODE, readTarget } from "#core/dns-wire.ts";
import { Lru } from "#core/lru.ts";
import { askNameServer, type DnsOutcome, type NameServer } from "./dns-exchange.ts";

export type Resolution =
  | { readonly kind: "addresses"; readonly addresses: readonly Address[] }
  | { readonly kind: "none"; readonly why: "nxdomain" | "nodata" | "fault" };

export interface StubResolver {
  /** Calls back exactly once; at once where the answer is at hand. */
  resolve(name: string, then: (resolution: Resolution) => void): void;
}

export interface ResolveOptions {
  /** Asked in this order; the next one when one gives no answer. At least one, or only `hosts` are known. */
  readonly nameservers: readonly NameServer[];
  /** Names known without asking, with numeric addresses (`sidegate run`: the host's /etc/hosts). */
  readonly hosts: ReadonlyMap<string, readonly string[]>;
  /** Whether AAAA is asked for. IPv4 addresses come first. */
  readonly v6: boolean;
  readonly clock: Clock;
  /** 16 random bits, not guessable. */
  readonly randomId: () => number;
  /** One try of one name server. */
  readonly tryMs?: number;
  /** Times the whole list is gone through. */
  readonly rounds?: number;
  /** How long the addresses of one family wait for the other's. */
  readonly otherFamilyMs?: number;
}

const TRY_MS = 1_500;
const ROUNDS = 2;
const MAX_CACHED = 1_024;
/** Names under way at once, and callers that wait for one of them. */
const MAX_UNDER_WAY = 256;
const MAX_WAITING = 1_024;
const MAX_CHAIN = 8;
const MAX_ADDRESSES = 16;
/** Seconds. A short life is for failover, a long one would outlive a re-pointed name. */
const TTL = { min: 5, max: 300 } as const;
const NEGATIVE_TTL = { min: 1, max: 30 } as const;
const FAULT_TTL = 1;
/** RFC 8305 section 3: addresses of one family do not wait long for the other's. */
const OTHER_FAMILY_MS = 50;

interface Cached {
  readonly resolution: Resolution;
  readonly untilMs: number;
}
interface Found {
  readonly resolution: Resolution;
  readonly ttlS: number;
}

const NONE: Resolution = { kind: "none", why: "fault" };
const FAULT: Found = { resolution: NONE, ttlS: FAULT_TTL };

export function createStubResolver(options: ResolveOptions): StubResolver {
  const { nameservers, hosts, clock } = options;
  const tryMs = options.tryMs ?? TRY_MS;
  const otherFamilyMs = options.otherFamilyMs ?? OTHER_FAMILY_MS;
  const tries = nameservers.length * (options.rounds ?? ROUNDS);
  const cache = new Lru<string, Cached>(MAX_CACHED);
  const underWay = new Map<string, ((resolution: Resolution) => void)[]>();
  const fixed = new Map([...hosts].map(([name, texts]) => [name.toLowerCase(), fixedAddresses(texts)]));

  return {
    resolve(name, then) {
      const known = fixed.get(name);
      if (known !== undefined) return then(known);
      const cached = cache.get(name);
      if (cached !== undefined && clock.elapsedMs() < cached.untilMs) return then(cached.resolution);
      const waiting = underWay.get(name);
      if (waiting !== undefined) {
        if (waiting.length < MAX_WAITING) waiting.push(then);
        else then(NONE);
        return;
      }
      if (tries === 0 || underWay.size >= MAX_UNDER_WAY) return then(NONE);
      const waiters = [then];
      underWay.set(name, waiters);
      lookUp(name, ({ resolution, ttlS }) => {
        underWay.delete(name);
        cache.set(name, { resolution, untilMs: clock.elapsedMs() + ttlS * 1_000 });
        for (const waiter of waiters) waiter(resolution);
      });
    },
  };

  function lookUp(name: string, then: (found: Found) => void): void {
    const question = { type: DNS_TYPE.A, depth: 0, ttlS: TTL.max };
    if (!options.v6) return follow(name, question, then);
    let first: Found | null = null;
    let over = false;
    let late: NodeJS.Timeout | undefined;
    const finish = (found: Found): void => {
      if (over) return;
      over = true;
      clearTimeout(late);
      then(found);
    };
    const both = (found: Found): void => {
      if (first !== null) return finish(merge(first, found));
      first = found;
      if (found.resolution.kind === "addresses")
        late = setTimeout(() => finish({ resolution: found.resolution, ttlS: TTL.min }), otherFamilyMs);
    };
    follow(name, question, both);
    follow(name, { ...question, type: DNS_TYPE.AAAA }, both);
  }

  /** Asks for a name, and again where its chain of CNAMEs ends without the addresses. */
  function follow(name: string, link: Link, then: (found: Found) => void): void {
    ask(name, link.type, 0, (outcome) => {
      if (outcome.kind === "fault") return then(FAULT);
      const step = read(outcome.message, outcome.response, link);
      if (step.kind === "found") return then(step.found);
      follow(step.name, step.link, then);
    });
  }

  function ask(name: string, type: number, n: number, then: (outcome: DnsOutcome) => void): void {
    const server = nameservers[n % nameservers.length];
    if (server === undefined) return then({ kind: "fault", fault: "unaskable" });
    askNameServer({ name, type, server, timeoutMs: tryMs, id: options.randomId() & 0xffff }, (outcome) => {
      // SERVFAIL and REFUSED are this server's trouble; "no such name" is an answer.
      const usable =
        outcome.kind === "answer" && (outcome.response.rcode === RCODE.ok || outcome.response.rcode === RCODE.nxDomain);
      if (usable || n + 1 >= tries || (outcome.kind === "fault" && outcome.fault === "unaskable"))
        return then(usable || outcome.kind === "fault" ? outcome : { kind: "fault", fault: "malformed" });
      ask(name, type, n + 1, then);
    });
  }
}

/** How far a chain of CNAMEs has come: its hops, and the shortest life on the way. */
interface Link {
  readonly type: number;
  readonly depth: number;
  readonly ttlS: number;
}
type Step =
  | { readonly kind: "found"; readonly found: Found }
  | { readonly kind: "again"; readonly name: string; readonly link: Link };

/** Follows the CNAMEs of one answer from the question's name to its addresses. */
function read(message: Uint8Array, response: DnsResponse, { type, depth, ttlS: shortest }: Link): Step {
  const addresses: Address[] = [];
  let name = response.question.name;
  let ttlS = shortest;
  let hops = depth;
  for (;;) {
    let next: string | null = null;
    for (const record of response.answers) {
      if (record.class !== DNS_CLASS_IN || record.name !== name) continue;
      if (record.type === DNS_TYPE.CNAME && next === null) next = readTarget(message, record);
      else if (record.type !== type || record.end - record.dataAt !== (type === DNS_TYPE.A ? 4 : 16)) continue;
      else if (addresses.length < MAX_ADDRESSES) {
        const bytes = message.slice(record.dataAt, record.end);
        addresses.push({ family: type === DNS_TYPE.A ? 4 : 6, bytes });
      }
      ttlS = Math.min(ttlS, record.ttl);
    }
    if (addresses.length > 0) return found({ kind: "addresses", addresses }, Math.max(TTL.min, ttlS));
    if (next === null) break;
    if (++hops > MAX_CHAIN) return { kind: "found", found: FAULT };
    name = next;
  }
  const refused = response.rcode === RCODE.nxDomain;
  if (name !== response.question.name && !refused) return { kind: "again", name, link: { type, depth: hops, ttlS } };
  const negative = Math.max(NEGATIVE_TTL.min, Math.min(NEGATIVE_TTL.max, response.negativeTtlS ?? NEGATIVE_TTL.min));
  return found({ kind: "none", why: refused ? "nxdomain" : "nodata" }, negative);
}

function found(resolution: Resolution, ttlS: number): Step {
  return { kind: "found", found: { resolution, ttlS } };
}

function merge(a: Found, b: Found): Found {
  const ttlS = Math.min(a.ttlS, b.ttlS);
  if (a.resolution.kind === "addresses" && b.resolution.kind === "addresses") {
    const all = [...a.resolution.addresses, ...b.resolution.addresses].sort((x, y) => x.family - y.family);
    return { resolution: { kind: "addresses", addresses: all }, ttlS };
  }
  if (a.resolution.kind === "addresses") return { resolution: a.resolution, ttlS: Math.max(TTL.min, ttlS) };
  if (b.resolution.kind === "addresses") return { resolution: b.resolution, ttlS: Math.max(TTL.min, ttlS) };
  // A fault of one family says nothing about the name.
  return a.resolution.why === "fault" ? a : b.resolution.why === "fault" ? b : a;
}

function fixedAddresses(texts: readonly string[]): Resolution {
  const addresses = texts.map(parsePlainAddress).filter((address) => address !== null);
  return addresses.length === 0 ? { kind: "none", why: "nodata" } : { kind: "addresses", addresses };
}
