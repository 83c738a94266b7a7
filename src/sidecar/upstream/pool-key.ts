/**
 * What makes two upstream connections the same kind, as one text (THREATS H6). Errs towards "different": another order of the same
 * words in a target costs a new connection, never a shared one.
 */
import type { Target } from "#contract/target.ts";
import type { Dial } from "../seam/stages.ts";

/** Everything that must be equal; the free text comes last and ALPN names carry their length, so no two keys can read alike. */
export function poolKey({ host, port, secure, alpn }: Dial, credentialAndRun: string, version: number): string {
  const tls = secure ? `s${alpn.map((name) => `${name.length}:${name}`).join("")}` : "p";
  return `${version} ${host} ${port} ${alpn.length} ${tls} ${credentialAndRun}`;
}

/** Of a session that is logged in: no dial's key, and none of another session. `key`: of a dial to the same place. */
export function sessionKey(key: string, alike: string): string {
  return `session ${key.length} ${key} ${alike}`;
}

/** A number for each wording of a target. A number is never used again, so what was made for an older wording never matches. */
export class Versions {
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
