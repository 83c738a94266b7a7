/**
 * What upstream TLS is verified by, and the sessions that make the next handshake to the same server cheap. Bounded: a policy
 * with very many private CAs costs a context again, never memory.
 */
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
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
}

export class Contexts {
  readonly #roots: Roots;
  readonly #contexts = new Lru<string, { readonly context: SecureContext; readonly id: number }>(CONTEXTS);
  readonly #sessions = new Lru<string, Resumable>(SESSIONS);
  #ids = 0;

  constructor(roots: Roots) {
    this.#roots = roots;
  }

  /** `ca`: PEM, instead of the roots. Throws where that is no certificate (a target is checked when policy is compiled). */
  for(ca: string | null): SecureContext {
    return this.#entry(ca).context;
  }

  session(key: ServerKey): Resumable | undefined {
    return this.#sessions.get(this.#name(key));
  }

  keep(key: ServerKey, session: Resumable): void {
    this.#sessions.set(this.#name(key), session);
  }

  #entry(ca: string | null): { readonly context: SecureContext; readonly id: number } {
    const known = this.#contexts.get(ca ?? "");
    if (known !== undefined) return known;
    const made = {
      context: createSecureContext({ minVersion: "TLSv1.2", ca: ca ?? this.#rootPem() }),
      id: ++this.#ids,
    };
    this.#contexts.set(ca ?? "", made);
    return made;
  }

  #rootPem(): string[] {
    const roots = this.#roots;
    return typeof roots === "string" ? [...new Set(getCACertificates(roots))] : [...roots];
  }

  /** The context's number stands for its roots: two PEM texts never share a session. */
  #name({ serverName, address, port, ca }: ServerKey): string {
    return `${this.#entry(ca).id} ${port} ${address} ${serverName}`;
  }
}
