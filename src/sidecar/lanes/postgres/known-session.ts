/**
 * What a session upstream is known by when it waits for another agent connection: only that of the same run, on the same credential, with
 * the same user, database and startup settings (THREATS H6). Sessions in which the agent proved itself to the server never wait: whoever
 * came next would not have to. Nor do those without TLS: a developer's server may be one session for all of its connections (PGlite is), and
 * DISCARD ALL would be everybody's.
 */
import type { Identity } from "./settings.ts";

/** Given to the pool with the session, and back to whoever goes on with it. */
export class KnownSession {
  /** Its settings as the server told them last: name → the ParameterStatus, as it came. */
  readonly statuses = new Map<string, string>();
  /** Of its BackendKeyData; null: it gave none. */
  key: { readonly pid: number; readonly key: string } | null = null;
  readonly alike: string;
  /** It did what DISCARD ALL may not undo, or a CancelRequest for it may still be on its way. */
  tainted = false;

  constructor(alike: string) {
    this.alike = alike;
  }

  /** What the server would say at a start-up. */
  get told(): string {
    return [...this.statuses.values()].join("");
  }
}

/** How many of one kind wait at a time: each is a process of the server's. */
export const MOST_WAITING = 8;

/** `parameters`: the whole of what a startup message says, what we pin included. */
export function alikeText({ user, database }: Identity, parameters: readonly (readonly [string, string])[]): string {
  return JSON.stringify(["postgres", user, database, parameters]);
}
