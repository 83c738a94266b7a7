/**
 * Access tokens (OAuth 2.0 client credentials) that the controller fetches for sidecars: one for all pods with the same target and
 * Secret, fetched anew before it ends. The client's own secret never leaves the controller.
 *
 * A namespace's people may name a token endpoint, so who is dialled is checked here, at the address that is then used: never
 * loopback, link-local or metadata; private addresses only for targets of the cluster.
 */
import { lookup as systemLookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { CredentialFault } from "#contract/credential.ts";
import { parseAddress, unmapped } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import { Secret } from "#core/secret.ts";
import { kindOf } from "#core/special-addresses.ts";
import { type fetchToken, type TokenRequest } from "#identity/client-credentials.ts";

export interface TokenWanted extends Omit<TokenRequest, "lookup"> {
  /** The endpoint may have a private address. */
  readonly private: boolean;
}

export interface GivenToken {
  readonly value: string;
  readonly expiresInMs: number;
  readonly refreshInMs: number;
}

export interface TokenKeeper {
  /** `key`: of everything that it depends on. `fresh`: the one at hand was refused. Rejects with a CredentialFault. */
  token(key: string, fresh: boolean, wanted: TokenWanted): Promise<GivenToken>;
}

export interface TokensOptions {
  readonly clock: Clock;
  readonly fetch: typeof fetchToken;
  readonly lookup?: LookupFunction;
}

const KEPT = 1_000;
/** Of its time; then the next who asks gets another. */
const REFRESH_AT = 0.8;
/** Where the endpoint does not say how long it is good. */
const UNSAID_MS = 300_000;
/** One that is refused is not fetched anew more often: an upstream that refuses everything must not make us hammer the endpoint. */
const FRESH_MS = 10_000;
/** One that ends sooner is not given out. */
const MARGIN_MS = 5_000;

interface Kept {
  readonly secret: Secret;
  readonly fetchedMs: number;
  readonly refreshMs: number;
  readonly endMs: number;
}

export function createTokens({ clock, fetch, lookup = systemLookup }: TokensOptions): TokenKeeper {
  const kept = new Lru<string, Kept>(KEPT, (_key, { secret }) => secret.wipe());
  const under = new Map<string, Promise<Kept>>();

  async function renew(key: string, { private: allowed, ...asked }: TokenWanted): Promise<Kept> {
    const { hostname } = new URL(asked.tokenUrl);
    const literal = parseAddress(hostname.replaceAll(/[[\]]/g, ""));
    if (literal !== null && !mayDial(hostname.replaceAll(/[[\]]/g, ""), allowed)) throw notThere(hostname);
    const { value, expiresInMs } = await fetch({ ...asked, lookup: checked(lookup, allowed) });
    const now = clock.elapsedMs();
    const life = expiresInMs ?? UNSAID_MS;
    const made = { secret: new Secret(value), fetchedMs: now, refreshMs: now + life * REFRESH_AT, endMs: now + life };
    kept.set(key, made);
    return made;
  }

  return {
    async token(key, fresh, wanted) {
      const now = clock.elapsedMs();
      const have = kept.get(key);
      const usable = have !== undefined && now < have.endMs - MARGIN_MS;
      const stale = have !== undefined && fresh && now - have.fetchedMs > FRESH_MS;
      if (have !== undefined && usable && now < have.refreshMs && !stale) return given(have, now);
      let asking = under.get(key);
      if (asking === undefined) {
        asking = renew(key, wanted).finally(() => under.delete(key));
        under.set(key, asking);
      }
      try {
        return given(await asking, clock.elapsedMs());
      } catch (fault) {
        // In good time before its end: the one at hand serves meanwhile.
        if (usable && !stale) return given(have, now);
        throw fault;
      }
    },
  };
}

function given({ secret, refreshMs, endMs }: Kept, now: number): GivenToken {
  return { value: secret.reveal(), expiresInMs: endMs - now, refreshInMs: Math.max(1_000, refreshMs - now) };
}

function mayDial(text: string, privateToo: boolean): boolean {
  const address = parseAddress(text);
  if (address === null) return false;
  const { kind } = kindOf(unmapped(address));
  return kind === "public" || (kind === "private" && privateToo);
}

function notThere(host: string): CredentialFault {
  return new CredentialFault("unavailable", `the token endpoint ${host} is at an address where none may be`);
}

/** Resolves as the machine does, and gives back only addresses that may be dialled. */
function checked(lookup: LookupFunction, privateToo: boolean): LookupFunction {
  return (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, []);
      const all = Array.isArray(found) ? found : [];
      const fit = all.filter(({ address }) => mayDial(address, privateToo));
      const [first] = fit;
      if (first === undefined) return done(notThere(host), []);
      if (options.all === true) done(null, fit);
      else done(null, first.address, first.family);
    });
  };
}
