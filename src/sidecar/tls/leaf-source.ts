/**
 * Gives a TLS context with a leaf for exactly the name that a connection was addressed to. Made at the first connection, kept
 * for a day, bounded: an agent that walks through a wildcard's names costs only the time of making them.
 *
 * All leaves of a day share one key and one set of ticket keys (making a key costs more than the whole leaf); a session of one
 * name is not resumed for another. Fails by throwing LeafNameError on a name that no certificate can carry.
 */
import { generateKeyPairSync, hash, randomBytes } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Clock } from "#core/clock.ts";
import { Lru } from "#core/lru.ts";
import type { LeafSource } from "../seam/stages.ts";
import { type Authority, BACKDATE_MS } from "./authority.ts";
import { leafCertificate, pem, spkiOf } from "./certificate.ts";

const DAY = 86_400_000;
/** How long a leaf says that it is valid; clients keep connections and clocks of their own. */
export const LEAF_LIFE_MS = 7 * DAY;
/** How long we give it out: keys and leaves are new each day. */
const RENEW_MS = DAY;
/** Names that are kept at once, some 20 KiB each. */
const CAPACITY = 256;

interface Era {
  readonly startMs: number;
  readonly keyPem: string;
  readonly publicKey: Uint8Array;
  readonly ticketKeys: Buffer;
  readonly contexts: Lru<string, SecureContext>;
}

export function createLeafSource(authority: Authority, clock: Clock, capacity: number = CAPACITY): LeafSource {
  let era = startEra(clock.wallMs(), capacity);
  return {
    caPem: authority.caPem,
    contextFor(name) {
      const now = clock.wallMs();
      // Also when the clock was set back behind the start: the leaves would be from the future.
      if (now - era.startMs >= RENEW_MS || now < era.startMs) era = startEra(now, capacity);
      const known = era.contexts.get(name);
      if (known !== undefined) return known;
      const context = makeContext(authority, era, name);
      era.contexts.set(name, context);
      return context;
    },
  };
}

function startEra(startMs: number, capacity: number): Era {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    startMs,
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
    publicKey: spkiOf(publicKey),
    ticketKeys: randomBytes(48),
    contexts: new Lru(capacity),
  };
}

function makeContext(authority: Authority, era: Era, name: string): SecureContext {
  // Never longer than the authority itself, and never from before it.
  const validity = {
    fromMs: Math.max(era.startMs - BACKDATE_MS, authority.validity.fromMs),
    untilMs: Math.min(era.startMs + LEAF_LIFE_MS, authority.validity.untilMs),
  };
  return createSecureContext({
    key: era.keyPem,
    cert: pem(leafCertificate(authority, name, era.publicKey, validity)),
    minVersion: "TLSv1.2",
    ticketKeys: era.ticketKeys,
    sessionIdContext: hash("sha256", name).slice(0, 32),
  });
}
