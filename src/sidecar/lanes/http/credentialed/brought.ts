/**
 * Finds what a request brings along that authenticates somebody (THREATS H4): fields and parameters by their names, keys by how they
 * look wherever they stand; and placeholders, which may only stand where this target's credential can go.
 *
 * Errs towards finding: where the gateway puts the credential in, an agent has nothing to say about who it is.
 */
import { PLACEHOLDER_PREFIX, placeholderOf } from "#contract/credential.ts";
import { decodeQueryPart } from "#core/request-target.ts";
import { isAuthenticatorName, isAuthenticatorParameter } from "#mask/authenticators.ts";
import { holdsKey } from "#mask/detectors.ts";
import type { Brought } from "#sidecar/seam/verdict.ts";
import type { Field } from "../codec/field-block.ts";

/** A request, as far as it is looked at. `raw`: target with its query, as on the wire. */
export interface Looked {
  readonly raw: string;
  readonly fields: readonly Field[];
}

/** `credential`: the name of the target's own; null: none is put in here. Undefined: nothing was brought along. */
export function broughtIn({ raw, fields }: Looked, credential: string | null): Brought | undefined {
  const found = new Found(credential === null ? null : placeholderOf(credential));
  for (const [name, value] of fields) found.field(name, value);
  const at = raw.indexOf("?");
  found.path(at < 0 ? raw : raw.slice(0, at));
  if (at >= 0 && (found.guarded || raw.includes(PLACEHOLDER_PREFIX)))
    for (const [name, value] of parametersOf(raw.slice(at + 1))) found.parameter(name, value);
  const { foreign, misplaced } = found;
  return foreign.length === 0 && misplaced.length === 0 ? undefined : { foreign, misplaced };
}

/** As any server might split it: at semicolons, too. */
export function parametersOf(query: string): (readonly [name: string, value: string])[] {
  return query.split(/[&;]/).map((part) => {
    const equals = part.indexOf("=");
    return equals < 0 ? [decoded(part), ""] : [decoded(part.slice(0, equals)), decoded(part.slice(equals + 1))];
  });
}

/** Collects what is found; `guarded`: the target has a credential of ours. */
class Found {
  readonly foreign: string[] = [];
  readonly misplaced: string[] = [];
  readonly #own: string | null;

  constructor(own: string | null) {
    this.#own = own;
  }

  get guarded(): boolean {
    return this.#own !== null;
  }

  field(name: string, value: string): void {
    const placed = this.guarded && isAuthenticatorName(name);
    if (placed && isOnly(value, this.#own ?? "")) return;
    this.#take(`header ${name.toLowerCase()}`, value, placed);
  }

  path(path: string): void {
    this.#take("path", decoded(path), false);
  }

  parameter(name: string, value: string): void {
    if (value === this.#own) return;
    // A name is the agent's own text, too.
    const where = `query ${name.slice(0, NAME_MAX)}`;
    if (hasPlaceholder(name)) this.misplaced.push("query");
    else this.#take(where, value, this.guarded && isAuthenticatorParameter(name, value));
  }

  #take(where: string, value: string, placed: boolean): void {
    if (hasPlaceholder(value)) this.misplaced.push(where);
    else if (placed || (this.guarded && holdsKey(value))) this.foreign.push(where);
  }
}

const NAME_MAX = 64;

/** The placeholder alone, behind a scheme (`Bearer …`), as either half of a login, or as the value of each cookie. */
function isOnly(value: string, own: string): boolean {
  const scheme = /^[\w-]{1,32} +/.exec(value)?.[0] ?? "";
  if (value === own || value.slice(scheme.length) === own) return true;
  const login = loginIn(value);
  if (login !== null) {
    const colon = login.indexOf(":");
    return login.slice(0, Math.max(colon, 0)) === own || login.slice(colon + 1) === own;
  }
  return value.split(/; */).every((cookie) => cookie.slice(cookie.indexOf("=") + 1) === own);
}

/** Whether any placeholder stands in it, also inside a login. */
export function hasPlaceholder(text: string): boolean {
  return text.includes(PLACEHOLDER_PREFIX) || loginIn(text)?.includes(PLACEHOLDER_PREFIX) === true;
}

/** RFC 7617: what `Basic …` says. */
function loginIn(value: string): string | null {
  const encoded = /^basic +([\w+/=-]+)$/i.exec(value)?.[1];
  return encoded === undefined ? null : Buffer.from(encoded, "base64").toString("latin1");
}

function decoded(text: string): string {
  return decodeQueryPart(text) ?? text;
}
