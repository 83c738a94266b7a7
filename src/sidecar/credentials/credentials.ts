/**
 * The credentials that this sidecar has at hand: fetched when a decision first names one, kept in memory only, asked for again
 * before they expire, wiped when another value took their place.
 *
 * Fails closed: a credential that expired, that nobody has, or that did not come within the limit is a fault, and what waited for it
 * is refused. A source that fails is asked again after a pause that grows, so that an agent cannot make us hammer it.
 */
import {
  type Credential,
  CredentialFault,
  type CredentialSource,
  type IssuedCredential,
} from "#contract/credential.ts";
import type { Clock } from "#core/clock.ts";
import { type Secret, SHOWN } from "#core/secret.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Credentials, Waiting } from "#sidecar/seam/credentials.ts";

export interface CredentialsOptions {
  readonly source: CredentialSource;
  readonly clock: Clock;
  readonly after: (ms: number, fire: () => void) => Alarm;
  /** Told of what a source could not give; never of a value. */
  readonly onFault: (name: string, fault: CredentialFault) => void;
  readonly limitMs?: number;
}

/** A person waits behind an agent: longer than a slow token endpoint takes, shorter than most clients' own limit. */
const LIMIT_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** A value that was replaced may still be on its way into a connection that is being made. */
const WIPE_MS = 60_000;
/** A value that ends sooner than this is not put into anything. */
const MARGIN_MS = 2_000;
/** An upstream that answers 401 to everything must not make us ask for a token each time. */
const RENEW_MS = 10_000;
/** Names come from a policy; more than this is a policy gone wrong. */
const MAX_ENTRIES = 1_024;

export interface CredentialRoom extends Credentials {
  close(): void;
}

export function createCredentials(options: CredentialsOptions): CredentialRoom {
  const entries = new Map<string, Entry>();
  options.source.onChanged((name) => entries.get(name)?.changed());

  function entry(name: string): Entry | null {
    let found = entries.get(name);
    if (found === undefined) {
      if (entries.size >= MAX_ENTRIES) return null;
      found = new Entry(name, options);
      entries.set(name, found);
    }
    return found;
  }

  return {
    limitMs: options.limitMs ?? LIMIT_MS,
    find: (name) => entry(name)?.find() ?? (entries.has(name) ? null : tooMany()),
    wait(name, then) {
      const found = entry(name);
      if (found !== null) return found.wait(then);
      queueMicrotask(() => then(tooMany()));
      return { cancel() {} };
    },
    renew(bad, then) {
      const found = entry(bad.name);
      if (found !== null) return found.renew(bad, then);
      queueMicrotask(() => then(null));
      return { cancel() {} };
    },
    close() {
      options.source.close();
      for (const each of entries.values()) each.close();
      entries.clear();
    },
  };
}

function tooMany(): CredentialFault {
  return new CredentialFault("unavailable", "too many credentials are named");
}

let versions = 0;

class Held implements Credential {
  readonly name: string;
  readonly version = ++versions;
  readonly kind: Credential["kind"];
  readonly user: string | null;
  readonly field: string | null;
  readonly prefix: string | null;
  readonly database: string | null;
  readonly certificate: string | null;
  readonly #secret: Secret;

  constructor(name: string, { kind, user, field, prefix, database, certificate, secret }: IssuedCredential) {
    this.name = name;
    this.kind = kind;
    this.user = user;
    this.field = field;
    this.prefix = prefix;
    this.database = database;
    this.certificate = certificate;
    this.#secret = secret;
  }

  reveal(): string {
    return this.#secret.reveal();
  }

  wipe(): void {
    this.#secret.wipe();
  }

  toJSON(): typeof SHOWN {
    return SHOWN;
  }

  toString(): typeof SHOWN {
    return SHOWN;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): typeof SHOWN {
    return SHOWN;
  }
}

type Found = Credential | CredentialFault;

class Entry {
  readonly #name: string;
  readonly #options: CredentialsOptions;
  readonly #waiters = new Set<(found: Found) => void>();
  #held: Held | null = null;
  #fetchedMs = 0;
  #expiresMs = Number.POSITIVE_INFINITY;
  #refreshMs = 0;
  /** It changed where it comes from, or an upstream refused it: waited for, not merely asked for. */
  #stale = false;
  #abort: AbortController | null = null;
  #fault: CredentialFault | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #againMs = 0;
  #closed = false;

  constructor(name: string, options: CredentialsOptions) {
    this.#name = name;
    this.#options = options;
  }

  find(): Found | null {
    const now = this.#options.clock.elapsedMs();
    const held = this.#usable(now);
    if (held !== null && !this.#stale) {
      if (now >= this.#refreshMs && now >= this.#againMs) this.#fetch();
      return held;
    }
    if (now < this.#againMs && this.#fault !== null && this.#abort === null) return held ?? this.#fault;
    this.#fetch();
    return null;
  }

  wait(then: (found: Found) => void): Waiting {
    const { after, limitMs } = this.#options;
    const done = (found: Found): void => {
      this.#waiters.delete(done);
      alarm.cancel();
      then(found);
    };
    const alarm = after(limitMs ?? LIMIT_MS, () =>
      done(new CredentialFault("unavailable", `the credential ${this.#name} did not come in time`)),
    );
    this.#waiters.add(done);
    this.#fetch();
    return {
      cancel: () => {
        this.#waiters.delete(done);
        alarm.cancel();
      },
    };
  }

  renew(bad: Credential, then: (found: Credential | null) => void): Waiting {
    const now = this.#options.clock.elapsedMs();
    const held = this.#usable(now);
    // Somebody else has found out already.
    if (held !== null && held.version !== bad.version) {
      let over = false;
      queueMicrotask(() => {
        if (!over) then(held);
      });
      return { cancel: () => void (over = true) };
    }
    if (now - this.#fetchedMs < RENEW_MS || now < this.#againMs) {
      let over = false;
      queueMicrotask(() => {
        if (!over) then(null);
      });
      return { cancel: () => void (over = true) };
    }
    this.#stale = true;
    return this.wait((found) => then(found instanceof CredentialFault || found.version === bad.version ? null : found));
  }

  changed(): void {
    this.#stale = true;
    this.#againMs = 0;
    this.#fault = null;
    // What is on its way may be the old value.
    if (this.#abort === null) return;
    this.#abort.abort();
    this.#abort = null;
    this.#fetch();
  }

  close(): void {
    this.#closed = true;
    this.#abort?.abort();
    this.#held?.wipe();
    this.#held = null;
    this.#tell(new CredentialFault("unavailable", "the gateway is shutting down"));
  }

  #usable(now: number): Held | null {
    return this.#held !== null && now < this.#expiresMs - MARGIN_MS ? this.#held : null;
  }

  #fetch(): void {
    if (this.#abort !== null || this.#closed) return;
    const abort = new AbortController();
    this.#abort = abort;
    const { source, after, limitMs } = this.#options;
    const settle = (act: () => void): void => {
      late.cancel();
      // Another fetch took its place, or it was given up.
      if (this.#abort !== abort) return;
      this.#abort = null;
      act();
    };
    const late = after(limitMs ?? LIMIT_MS, () => {
      abort.abort();
      settle(() =>
        this.#failed(new CredentialFault("unavailable", `the credential ${this.#name} did not come in time`)),
      );
    });
    // A source that throws is a source that rejects.
    const fetched = Promise.resolve().then(() => source.fetch(this.#name, abort.signal));
    fetched.then(
      (issued) => {
        if (this.#abort !== abort) issued.secret.wipe();
        settle(() => this.#took(issued));
      },
      (error: unknown) => settle(() => this.#failed(error)),
    );
  }

  #took(issued: IssuedCredential): void {
    if (this.#closed) return issued.secret.wipe();
    const { clock, after } = this.#options;
    const now = clock.elapsedMs();
    const before = this.#held;
    this.#fetchedMs = now;
    this.#expiresMs = issued.expiresInMs === null ? Number.POSITIVE_INFINITY : now + issued.expiresInMs;
    this.#refreshMs = now + issued.refreshInMs;
    this.#stale = false;
    this.#fault = null;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#againMs = 0;
    if (before !== null && isSame(before, issued)) {
      issued.secret.wipe();
    } else {
      this.#held = new Held(this.#name, issued);
      if (before !== null) after(WIPE_MS, () => before.wipe());
    }
    const found = this.#usable(now);
    if (found !== null) this.#tell(found);
    else this.#failed(new CredentialFault("unavailable", `the credential ${this.#name} came expired`));
  }

  #failed(error: unknown): void {
    const now = this.#options.clock.elapsedMs();
    const fault =
      error instanceof CredentialFault
        ? error
        : new CredentialFault("unavailable", `the credential ${this.#name} could not be had`);
    this.#fault = fault;
    this.#againMs = now + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#options.onFault(this.#name, fault);
    // What is there may still serve, unless the source says that there is none.
    const held = fault.why === "unknown" ? null : this.#usable(now);
    if (held === null) this.#drop();
    this.#tell(held ?? fault);
  }

  #drop(): void {
    const before = this.#held;
    this.#held = null;
    if (before !== null) this.#options.after(WIPE_MS, () => before.wipe());
  }

  #tell(found: Found): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(found);
  }
}

function isSame(held: Credential, issued: IssuedCredential): boolean {
  return (
    held.kind === issued.kind &&
    held.user === issued.user &&
    held.field === issued.field &&
    held.prefix === issued.prefix &&
    held.database === issued.database &&
    held.certificate === issued.certificate &&
    held.reveal() === issued.secret.reveal()
  );
}
