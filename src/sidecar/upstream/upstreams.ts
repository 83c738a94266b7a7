/**
 * The room `upstream`: a dial is an idle connection of the same kind, or a new one to an address that the rules permit, with the
 * server verified by the connector.
 *
 * Fails closed: no address that may be dialled is `unresolved`; a dial never throws and never fails before it has returned.
 */
import type { Target } from "#contract/target.ts";
import { formatAddress } from "#core/cidr.ts";
import type { Dial, Upstreams } from "../seam/stages.ts";
import type { AddressRules } from "./address-rules.ts";
import { Lease } from "./lease.ts";
import { Making, type MakingOptions } from "./making.ts";
import { type Login, POOL_LIMITS, Pool, PooledConnection, type PoolLimits } from "./pool.ts";
import { poolKey, sessionKey, Versions } from "./pool-key.ts";
import type { UpstreamProxy } from "./proxy.ts";
import type { StubResolver } from "./resolve.ts";
import { type AddressFinding, createWays } from "./way.ts";

/** `connectMs`: for a target that says none; resolving, connecting and TLS together. */
export interface UpstreamsOptions extends MakingOptions {
  readonly resolver: StubResolver;
  readonly rules: AddressRules;
  readonly pool?: PoolLimits;
  /** `egress.upstreamProxy`; absent: every dial goes straight. */
  readonly proxy?: UpstreamProxy;
  readonly onFinding: (finding: AddressFinding) => void;
}

export interface UpstreamRoom extends Upstreams {
  /** The addresses that a target's name may have now, for `answer: upstream`. Calls back once; empty: none. */
  addresses(host: string, target: Target, then: (addresses: readonly string[]) => void): void;
  /** Idle connections, for the metric. */
  readonly idle: number;
}

export function createUpstreams(options: UpstreamsOptions): UpstreamRoom {
  const { clock, after } = options;
  const pool = new Pool({ limits: options.pool ?? POOL_LIMITS, clock, after });
  const ways = createWays({ ...options, proxy: options.proxy ?? null });
  const versions = new Versions();
  /** A lane dials with the same object again and again. */
  const keys = new WeakMap<Dial, string>();
  const logins = new WeakMap<Dial, Login>();

  function keyOf(request: Dial, credentialAndRun: string): string {
    let key = keys.get(request);
    if (key === undefined) {
      key = poolKey(request, credentialAndRun, versions.of(request.target));
      keys.set(request, key);
    }
    return key;
  }

  /** A credential is had for each target by itself: the same name is another value with another version elsewhere. */
  function loginOf(request: Dial): Login | null {
    if (request.login == null) return null;
    let login = logins.get(request);
    if (login === undefined) {
      login = { name: JSON.stringify([request.target.name, request.login.name]), version: request.login.version };
      logins.set(request, login);
    }
    return login;
  }

  return {
    dial(request, permit, events) {
      const key = request.pool === null ? null : keyOf(request, request.pool);
      const login = loginOf(request);
      if (login !== null) pool.loggingIn(login);
      // A target that observation made up is in no list.
      if (key !== null && request.target.name === "") pool.admit(versions.of(request.target));
      if (key !== null && !request.fresh) {
        const idle = pool.take(key);
        if (idle !== null) return new Lease(events, idle, idle.outbound);
      }
      const making = new Making(options, {
        request,
        permit,
        events,
        proxy: ways.proxyFor(request),
        pooled: (outbound) =>
          key === null
            ? null
            : new PooledConnection(
                pool,
                outbound,
                { key, version: versions.of(request.target), login },
                clock.elapsedMs(),
              ),
      });
      ways.endpoints(request, (endpoints) => making.start(endpoints));
      return making.lease;
    },
    resume(request, alike, events) {
      if (request.pool === null) return null;
      const login = loginOf(request);
      if (login !== null) pool.loggingIn(login);
      const idle = pool.take(sessionKey(keyOf(request, request.pool), alike));
      if (idle?.session == null) return null;
      const { known } = idle.session;
      idle.session = null;
      return { upstream: new Lease(events, idle, idle.outbound), known };
    },
    update(targets) {
      pool.retain(versions.update(targets));
    },
    close() {
      pool.close();
    },
    addresses(host, target, then) {
      // Behind a proxy there is nothing to answer with but the proxy's own, which would stand for every name.
      if (ways.proxyFor({ host, target }) !== null) return then([]);
      ways.endpoints({ host, port: 0, target }, (endpoints) =>
        then(endpoints.map(({ address }) => formatAddress(address))),
      );
    },
    get idle() {
      return pool.size;
    },
  };
}
