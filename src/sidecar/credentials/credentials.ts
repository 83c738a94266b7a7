/**
 * The credentials that this sidecar has at hand: fetched when a decision first names one for a target, kept in memory only, asked for
 * again before they expire, wiped when another value took their place or their time is over.
 *
 * Each is kept for one target as it was when it was asked for: another target that names the same credential, or the same one
 * pointed elsewhere, is asked for anew, and whoever has the secrets judges it anew.
 *
 * Fails closed: a credential that expired, that nobody has, or that did not come within the limit is a fault, and what waited for it
 * is refused. A source that fails is asked again after a pause that grows, so that an agent cannot make us hammer it.
 */
import {
  type Credential,
  CredentialFault,
  type CredentialSource,
  type IssuedCredential,
  type WantedCredential,
} from "#contract/credential.ts";
import type { Target } from "#contract/target.ts";
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
/** At hand at the same time. Beyond it the one that was asked for least recently makes room, unless somebody waits for it. */
const MAX_ENTRIES = 256;

export interface CredentialRoom extends Credentials {
  close(): void;
}

export function createCredentials(options: CredentialsOptions): CredentialRoom {
  const entries = new Map<string, Entry>();
  /** A target is an object of the bundle in force: found again without making its key. */
  const byTarget = new WeakMap<Target, Entry>();
  const madeBy = new WeakMap<Credential, Entry>();
  let uses = 0;
  options.source.onChanged((name, target) => {
    for (const entry of entries.values()) if (entry.isOf(name, target)) entry.changed();
  });

  function entryOf(name: string, target: Target): Entry | null {
    const near = byTarget.get(target);
    if (near?.wanted.name === name && !near.closed) {
      near.used = ++uses;
      return near;
    }
    const wanted = { name, target: target.name, binding: target.binding ?? "", fresh: false };
    const key = JSON.stringify([wanted.target, wanted.binding, name]);
    let found = entries.get(key);
    if (found === undefined) {
      if (entries.size >= MAX_ENTRIES && !makeRoom()) return null;
      found = new Entry(wanted, options, madeBy);
      entries.set(key, found);
    }
    found.used = ++uses;
    byTarget.set(target, found);
    return found;
  }

  function makeRoom(): boolean {
    let least: readonly [string, Entry] | null = null;
    for (const each of entries) if (!each[1].awaited && (least === null || each[1].used < least[1].used)) least = each;
    if (least === null) return false;
    const [key, entry] = least;
    entry.leave();
    entries.delete(key);
    return true;
  }

  return {
    limitMs: options.limitMs ?? LIMIT_MS,
    find(name, target) {
      const entry = entryOf(name, target);
      return entry === null ? tooMany() : entry.find();
    },
    wait(name, target, then) {
      const found = entryOf(name, target);
      return found === null ? later(() => then(tooMany())) : found.wait(then);
    },
    renew(bad, then) {
      const entry = madeBy.get(bad);
      return entry === undefined ? later(() => then(null)) : entry.renew(bad, then);
    },
    close() {
      options.source.close();
      for (const each of entries.values()) each.close();
      entries.clear();
    },
  };
}

function tooMany(): CredentialFault {
  return new CredentialFault("unavailable", "too many credentials are waited for");
}

/** Soon, unless it is cancelled before. */
function later(act: () => void): Waiting {
  let over = false;
  queueMicrotask(() => {
    if (!over) act();
  });
  return { cancel: () => void (over = true) };
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
  readonly wanted: WantedCredential;
  /** The later it was asked for, the greater. */
  used = 0;
  readonly #options: CredentialsOptions;
  readonly #madeBy: WeakMap<Credential, Entry>;
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
  /** Takes the value away when its time is over, used or not. */
  #end: Alarm | null = null;

  constructor(wanted: WantedCredential, options: CredentialsOptions, madeBy: WeakMap<Credential, Entry>) {
    this.wanted = wanted;
    this.#options = options;
    this.#madeBy = madeBy;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get awaited(): boolean {
    return this.#waiters.size > 0;
  }

  isOf(name: string, target: string | null): boolean {
    return this.wanted.name === name && (target === null || target === this.wanted.target);
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
      done(new CredentialFault("unavailable", `the credential ${this.wanted.name} did not come in time`)),
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
    if (held !== null && held.version !== bad.version) return later(() => then(held));
    if (this.#closed || now - this.#fetchedMs < RENEW_MS || now < this.#againMs) return later(() => then(null));
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

  /** Makes room for another. A connection that is being made may still log in with its value. */
  leave(): void {
    this.#drop();
    this.close();
  }

  close(): void {
    this.#closed = true;
    this.#end?.cancel();
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
        this.#failed(new CredentialFault("unavailable", `the credential ${this.wanted.name} did not come in time`)),
      );
    });
    // A source that throws is a source that rejects.
    const fetched = Promise.resolve().then(() => source.fetch({ ...this.wanted, fresh: this.#stale }, abort.signal));
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
      this.#held = new Held(this.wanted.name, issued);
      this.#madeBy.set(this.#held, this);
      if (before !== null) after(WIPE_MS, () => before.wipe());
    }
    this.#end?.cancel();
    this.#end = issued.expiresInMs === null ? null : after(issued.expiresInMs, () => this.#drop());
    const found = this.#usable(now);
    if (found !== null) this.#tell(found);
    else this.#failed(new CredentialFault("unavailable", `the credential ${this.wanted.name} came expired`));
  }

  #failed(error: unknown): void {
    const now = this.#options.clock.elapsedMs();
    const fault =
      error instanceof CredentialFault
        ? error
        : new CredentialFault("unavailable", `the credential ${this.wanted.name} could not be had`);
    this.#fault = fault;
    this.#againMs = now + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#options.onFault(this.wanted.name, fault);
    // What is there may still serve, unless the source says that there is none.
    const held = fault.why === "unknown" ? null : this.#usable(now);
    if (held === null) this.#drop();
    this.#tell(held ?? fault);
  }

  #drop(): void {
    const before = this.#held;
    this.#held = null;
    this.#end?.cancel();
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
