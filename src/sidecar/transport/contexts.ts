/**
 * What upstream TLS is verified by, and the sessions that make the next handshake to the same server cheap. Bounded: a policy
 * with very many private CAs costs a context again, never memory.
 */

import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import type { Credential } from "#contract/credential.ts";
import { Lru } from "#core/lru.ts";
import type { Resumable } from "./handshake.ts";

/**
 * PEM texts; or `system`: the host's store, `bundled`: Node's copy of Mozilla's list, `default`: what Node was started with.
 * A bundle file's text costs 8 ms to load, once, at the first use; `system` 80 ms (measured: Node reads file and folder).
 */
export type Roots = "system" | "bundled" | "default" | readonly string[];

const CONTEXTS = 64;
const SESSIONS = 512;

export interface ServerKey {
  readonly serverName: string;
  readonly address: string;
  readonly port: number;
  readonly ca: string | null;
  /** Whom we show ourselves as: another one never resumes its sessions. */
  readonly identity: Credential | null;
}

interface Entry {
  readonly context: SecureContext;
  readonly id: number;
}

export class Contexts {
  readonly #roots: Roots;
  readonly #contexts = new Lru<string, Entry>(CONTEXTS);
  /** Those that hold a private key go when nobody has the credential any more. */
  readonly #identities = new WeakMap<Credential, Map<string, Entry>>();
  readonly #sessions = new Lru<string, Resumable>(SESSIONS);
  #ids = 0;

  constructor(roots: Roots) {
    this.#roots = roots;
  }

  /** `ca`: PEM, instead of the roots. Throws where that, or the identity, is none (a target is checked when policy is compiled). */
  for(ca: string | null, identity: Credential | null): SecureContext {
    return this.#entry(ca, identity).context;
  }

  session(key: ServerKey): Resumable | undefined {
    return this.#sessions.get(this.#name(key));
  }

  keep(key: ServerKey, session: Resumable): void {
    this.#sessions.set(this.#name(key), session);
  }

  #entry(ca: string | null, identity: Credential | null): Entry {
    const known = identity === null ? this.#contexts.get(ca ?? "") : this.#identities.get(identity)?.get(ca ?? "");
    if (known !== undefined) return known;
    const shown = identity === null ? {} : { cert: identity.certificate ?? "", key: identity.reveal() };
    const made = {
      context: createSecureContext({ minVersion: "TLSv1.2", ca: ca ?? this.#rootPem(), ...shown }),
      id: ++this.#ids,
    };
    if (identity === null) this.#contexts.set(ca ?? "", made);
    else {
      const own = this.#identities.get(identity) ?? new Map<string, Entry>();
      this.#identities.set(identity, own.set(ca ?? "", made));
    }
    return made;
  }

  #rootPem(): string[] {
    const roots = this.#roots;
    return typeof roots === "string" ? [...new Set(getCACertificates(roots))] : [...roots];
  }

  /** The context's number stands for its roots and its identity: two never share a session. */
  #name({ serverName, address, port, ca, identity }: ServerKey): string {
    return `${this.#entry(ca, identity).id} ${port} ${address} ${serverName}`;
  }
}
