/**
 * The room `upstream`: a dial is an idle connection of the same kind, or a new one to an address that the rules permit, with the
 * server verified by the connector.
 *
 * Fails closed: no address that may be dialled is `unresolved`; a dial never throws and never answers before it has returned.
 */
import type { CommitGate } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import { type Address, type Endpoint, formatAddress, parseEndpoint, parsePlainAddress } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import type { Alarm } from "#core/wheel.ts";
import type { LegEvents, LegFault } from "../seam/leg.ts";
import type { Connector, ConnectTo, Dial, Outbound, Upstreams } from "../seam/stages.ts";
import { type AddressRules, type AddressSource, refusedAddress } from "./address-rules.ts";
import { Dialing } from "./dialing.ts";
import { Lease, type LeaseOwner } from "./lease.ts";
import { POOL_LIMITS, Pool, PooledConnection, type PoolLimits } from "./pool.ts";
import type { StubResolver } from "./resolve.ts";

/** A name or endpoint that led where it may not: a finding for the record. `what`: "loopback", "metadata", "private", … */
export interface AddressFinding {
  readonly target: string;
  readonly host: string;
  readonly address: string;
  readonly what: string;
}

export interface UpstreamsOptions {
  readonly connector: Connector;
  readonly resolver: StubResolver;
  readonly gate: CommitGate;
  readonly rules: AddressRules;
  readonly clock: Clock;
  readonly after: (ms: number, fire: () => void) => Alarm;
  /** For a target that says none: resolving, connecting and TLS together. */
  readonly connectMs: number;
  readonly pool?: PoolLimits;
  /** Once a minute for the same one. */
  readonly onFinding: (finding: AddressFinding) => void;
}

/** An agent that dials again and again must not fill the record. */
const FINDING_MS = 60_000;
const MAX_FINDINGS = 256;

export interface UpstreamRoom extends Upstreams {
  /** The addresses that a target's name may have now, for `answer: upstream`. Calls back once; empty: none. */
  addresses(host: string, target: Target, then: (addresses: readonly string[]) => void): void;
  /** Idle connections, for the metric. */
  readonly idle: number;
}

export function createUpstreams(options: UpstreamsOptions): UpstreamRoom {
  const { resolver, rules } = options;
  const pool = new Pool({ limits: options.pool ?? POOL_LIMITS, clock: options.clock, after: options.after });
  const versions = new Versions();
  const told = new Lru<string, number>(MAX_FINDINGS);
  /** A lane dials with the same object again and again. */
  const keys = new WeakMap<Dial, string>();

  function keyOf(request: Dial, credentialAndRun: string): string {
    let key = keys.get(request);
    if (key === undefined) {
      key = poolKey(request, credentialAndRun, versions.of(request.target));
      keys.set(request, key);
    }
    return key;
  }

  function report(finding: AddressFinding): void {
    const key = `${finding.target} ${finding.host} ${finding.address} ${finding.what}`;
    const now = options.clock.elapsedMs();
    const toldAt = told.get(key);
    if (toldAt !== undefined && now - toldAt < FINDING_MS) return;
    told.set(key, now);
    options.onFinding(finding);
  }

  function judged(addresses: readonly Endpoint[], source: AddressSource, host: string, target: Target): Endpoint[] {
    return addresses.filter(({ address }) => {
      const what = refusedAddress(address, source, target.private === true, rules);
      if (what === null) return true;
      report({ target: target.name, host, address: formatAddress(address), what });
      return false;
    });
  }

  /** Calls back once, perhaps at once. */
  function endpointsOf({ host, port, target }: Dial, then: (endpoints: readonly Endpoint[]) => void): void {
    if (target.endpoints !== undefined && target.endpoints.length > 0) {
      const endpoints = target.endpoints.map(parseEndpoint).filter((endpoint) => endpoint !== null);
      return then(judged(endpoints, "endpoint", host, target));
    }
    const literal = parsePlainAddress(host);
    if (literal !== null) return then(judged([{ address: literal, port }], "literal", host, target));
    resolver.resolve(host, (resolution) => {
      const found: readonly Address[] = resolution.kind === "addresses" ? resolution.addresses : [];
      then(
        judged(
          found.map((address) => ({ address, port })),
          "dns",
          host,
          target,
        ),
      );
    });
  }

  return {
    dial(request, _permit, events) {
      const key = request.pool === null ? null : keyOf(request, request.pool);
      // A target that observation made up is in no list.
      if (key !== null && request.target.name === "") pool.admit(versions.of(request.target));
      if (key !== null && !request.fresh) {
        const idle = pool.take(key);
        if (idle !== null) return new Lease(events, idle, idle.outbound);
      }
      const making = new Making(options, request, events, (outbound) =>
        key === null
          ? null
          : new PooledConnection(pool, outbound, key, versions.of(request.target), options.clock.elapsedMs()),
      );
      endpointsOf(request, (endpoints) => making.start(endpoints));
      return making.lease;
    },
    update(targets) {
      pool.retain(versions.update(targets));
    },
    close() {
      pool.close();
    },
    addresses(host, target, then) {
      const request = { host, port: 0, target, secure: false, alpn: [], pool: null, fresh: true };
      endpointsOf(request, (endpoints) => then(endpoints.map(({ address }) => formatAddress(address))));
    },
    get idle() {
      return pool.size;
    },
  };
}

/** A dial that found nothing in the pool, until its lease has a connection or has failed. */
class Making implements LeaseOwner {
  readonly lease: Lease;
  readonly #dialing: Dialing;
  readonly #pooled: (outbound: Outbound) => PooledConnection | null;
  #connection: PooledConnection | null = null;
  /** Resolving counts too, and the connector knows nothing of that. */
  readonly #alarm: Alarm;
  #over = false;

  constructor(
    options: UpstreamsOptions,
    request: Dial,
    events: LegEvents,
    pooled: (outbound: Outbound) => PooledConnection | null,
  ) {
    const limitMs = request.target.limits?.connectMs ?? options.connectMs;
    this.#pooled = pooled;
    this.lease = new Lease(events, this, null);
    this.#alarm = options.after(limitMs, () => {
      this.#dialing.cancel();
      this.#fail("timeout");
    });
    this.#dialing = new Dialing({
      connector: options.connector,
      gate: options.gate,
      clock: options.clock,
      tls: tlsOf(request),
      inBand: verifiedAs(request),
      deadlineMs: options.clock.elapsedMs() + limitMs,
      won: (outbound) => this.#won(outbound),
      lost: (fault) => this.#fail(fault),
    });
  }

  start(endpoints: readonly Endpoint[]): void {
    if (this.#over) return;
    if (endpoints.length > 0) this.#dialing.start(endpoints);
    else this.#fail("unresolved");
  }

  keep(): boolean {
    return this.#connection?.keep() ?? false;
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm.cancel();
    this.#dialing.cancel();
  }

  #won(outbound: Outbound): void {
    this.#over = true;
    this.#alarm.cancel();
    this.#connection = this.#pooled(outbound);
    this.lease.connected(outbound);
  }

  /** From a microtask: the fault may be known while `dial` still runs, and its caller has no leg yet. */
  #fail(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm.cancel();
    queueMicrotask(() => this.lease.failed(fault));
  }
}

function tlsOf({ secure, host, target, alpn }: Dial): ConnectTo["tls"] {
  if (!secure) return null;
  return { ...verifiedAs({ host, target }), alpn };
}

function verifiedAs({ host, target }: Pick<Dial, "host" | "target">): NonNullable<ConnectTo["inBand"]> {
  return { serverName: target.upstream?.serverName ?? host, ca: target.upstream?.ca ?? null };
}

/** Everything that must be equal; the free text comes last and ALPN names carry their length, so no two keys can read alike. */
function poolKey({ host, port, secure, alpn }: Dial, credentialAndRun: string, version: number): string {
  const tls = secure ? `s${alpn.map((name) => `${name.length}:${name}`).join("")}` : "p";
  return `${version} ${host} ${port} ${alpn.length} ${tls} ${credentialAndRun}`;
}

/** A number for each wording of a target. A number is never used again, so what was made for an older wording never matches. */
class Versions {
  readonly #of = new WeakMap<Target, number>();
  #texts = new Map<string, number>();
  #last = 0;

  of(target: Target): number {
    let version = this.#of.get(target);
    if (version === undefined) {
      version = this.#texts.get(JSON.stringify(target)) ?? ++this.#last;
      this.#of.set(target, version);
    }
    return version;
  }

  update(targets: readonly Target[]): Set<number> {
    const texts = new Map<string, number>();
    for (const target of targets) texts.set(JSON.stringify(target), this.of(target));
    this.#texts = texts;
    return new Set(texts.values());
  }
}
