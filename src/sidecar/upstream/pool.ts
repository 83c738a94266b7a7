/**
 * Idle keep-alive connections. One is used again only for what it was made for: the key holds the target and its version, host,
 * port, TLS, ALPN, credential and run, so nothing of one run or identity can reach another (THREATS H6).
 *
 * Errs towards closing: a byte, an end, a fault or anything unfinished on an idle connection, and a target that changed, close it.
 */
import type { Credential } from "#contract/credential.ts";
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";
import type { LegEvents, Resumable } from "../seam/leg.ts";
import type { Outbound } from "../seam/stages.ts";
import type { LeaseOwner } from "./lease.ts";
import { sessionKey } from "./pool-key.ts";

export interface PoolLimits {
  /** Connections that may be idle in all, and for one key. */
  readonly maxIdle: number;
  readonly maxIdlePerKey: number;
  /** Closed after so long without use; many servers close at 60 s or more, and a closed one costs a retry. */
  readonly idleMs: number;
  /** Not used again after so long, so that a re-pointed name is felt. */
  readonly maxAgeMs: number;
}

export const POOL_LIMITS: PoolLimits = { maxIdle: 256, maxIdlePerKey: 256, idleMs: 30_000, maxAgeMs: 600_000 };

/** Credentials are as many as targets; beyond this the pool forgets, and keeps less. */
const MAX_LOGINS = 4_096;

export interface PoolOptions {
  readonly limits: PoolLimits;
  readonly clock: Clock;
  readonly after: (ms: number, fire: () => void) => Alarm;
}

/** A credential by its target's name and its own, and which of its values. */
export type Login = Pick<Credential, "name" | "version">;

export interface Made {
  readonly key: string;
  readonly version: number;
  readonly login: Login | null;
}

/** A connection for as long as it lives; its own listener while it is idle, and its lease's owner while it is not. */
export class PooledConnection implements LegEvents, LeaseOwner {
  readonly outbound: Outbound;
  /** Of the dial that it was made by. */
  readonly dialed: string;
  /** What it waits as; for a session that is logged in another one than the dial's. */
  key: string;
  /** Of such a session: what the lane knows of it, and how many of its kind may wait. */
  session: Resumable | null = null;
  /** What it logged in with. Null: nothing. */
  readonly login: Login | null;
  /** Of the target's spec. */
  readonly version: number;
  readonly madeAtMs: number;
  idleSinceMs = 0;
  readonly #pool: Pool;

  constructor(pool: Pool, outbound: Outbound, made: Made, madeAtMs: number) {
    const { key, version, login } = made;
    this.#pool = pool;
    this.outbound = outbound;
    this.dialed = key;
    this.key = key;
    this.login = login;
    this.version = version;
    this.madeAtMs = madeAtMs;
  }

  keep(as: Resumable | null): boolean {
    this.session = as;
    this.key = as === null ? this.dialed : sessionKey(this.dialed, as.alike);
    return this.#pool.put(this);
  }

  /** Nobody waits for it any more. A session ends by FIN: its server takes a reset for a client that crashed, and says so in its log. */
  drop(): void {
    if (this.session === null) return this.outbound.reset();
    this.outbound.relisten(DEAF);
    this.outbound.release(false);
  }
  cancel(): void {}

  data(): void {
    this.#close();
  }
  ended(): void {
    this.#close();
  }
  secured(): void {
    this.#close();
  }
  failed(): void {
    this.#pool.forget(this);
  }
  opened(): void {}
  drained(): void {}

  #close(): void {
    if (this.#pool.forget(this)) this.outbound.reset();
  }
}

/** Whatever a connection says that nobody has any more. */
const DEAF: LegEvents = {
  opened() {},
  data() {},
  drained() {},
  secured() {},
  ended() {},
  failed() {},
};

export class Pool {
  readonly #limits: PoolLimits;
  readonly #clock: Clock;
  readonly #after: PoolOptions["after"];
  /** The most recently used is taken first: the others may grow old and go. */
  readonly #byKey = new Map<string, PooledConnection[]>();
  /** Longest idle first. */
  readonly #idle = new Set<PooledConnection>();
  #alarm: Alarm | null = null;
  #closed = false;
  /** Credentials, and the value of each that was used last. */
  readonly #logins = new Map<string, number>();
  /** Versions in force; null: none were told yet, all are taken. Empty after `close`. */
  #versions: Set<number> | null = null;

  constructor({ limits, clock, after }: PoolOptions) {
    this.#limits = limits;
    this.#clock = clock;
    this.#after = after;
  }

  get size(): number {
    return this.#idle.size;
  }

  take(key: string): PooledConnection | null {
    const stack = this.#byKey.get(key);
    if (stack === undefined) return null;
    const now = this.#clock.elapsedMs();
    for (;;) {
      const connection = stack.pop();
      if (stack.length === 0) this.#byKey.delete(key);
      if (connection === undefined) return null;
      this.#idle.delete(connection);
      const young = now - connection.idleSinceMs < this.#limits.idleMs;
      if (young && now - connection.madeAtMs < this.#limits.maxAgeMs && connection.outbound.idleSafe) return connection;
      connection.drop();
    }
  }

  /** False: not kept; the caller still has it. */
  put(connection: PooledConnection): boolean {
    const { maxIdle, maxIdlePerKey, maxAgeMs } = this.#limits;
    const now = this.#clock.elapsedMs();
    if (this.#versions?.has(connection.version) === false) return false;
    if (!connection.outbound.idleSafe || now - connection.madeAtMs >= maxAgeMs) return false;
    const { login, session } = connection;
    if (login !== null && this.#logins.get(login.name) !== login.version) return false;
    const stack = this.#byKey.get(connection.key);
    if (stack === undefined) this.#byKey.set(connection.key, [connection]);
    else if (stack.length >= Math.min(maxIdlePerKey, session?.most ?? maxIdlePerKey)) return false;
    else stack.push(connection);
    connection.idleSinceMs = now;
    connection.outbound.relisten(connection);
    this.#idle.add(connection);
    if (this.#idle.size > maxIdle) this.#closeOldest();
    this.#alarm ??= this.#after(this.#limits.idleMs, () => this.#sweep());
    return true;
  }

  /** False: it was not idle. */
  forget(connection: PooledConnection): boolean {
    if (!this.#idle.delete(connection)) return false;
    const stack = this.#byKey.get(connection.key);
    const at = stack?.indexOf(connection) ?? -1;
    if (at >= 0) stack?.splice(at, 1);
    if (stack?.length === 0) this.#byKey.delete(connection.key);
    return true;
  }

  /** From now on only connections of these versions are kept; idle ones of others are closed. */
  retain(versions: Set<number>): void {
    this.#versions = versions;
    for (const connection of this.#idle)
      if (!versions.has(connection.version)) {
        this.forget(connection);
        connection.drop();
      }
  }

  /** Somebody logs in with this: what logged in with another value of the same credential serves nobody any more. */
  loggingIn({ name, version }: Login): void {
    const before = this.#logins.get(name);
    if (before === version) return;
    if (this.#logins.size >= MAX_LOGINS) this.#logins.clear();
    this.#logins.set(name, version);
    for (const connection of this.#idle)
      if (connection.login?.name === name && connection.login.version !== version) {
        this.forget(connection);
        connection.drop();
      }
  }

  /** One more version, until the next `retain`. */
  admit(version: number): void {
    if (!this.#closed) this.#versions?.add(version);
  }

  /** Closes all that is idle, and keeps nothing any more. */
  close(): void {
    this.#alarm?.cancel();
    this.#alarm = null;
    this.#closed = true;
    this.retain(new Set());
  }

  #closeOldest(): void {
    const oldest = this.#idle.values().next().value;
    if (oldest === undefined) return;
    this.forget(oldest);
    oldest.drop();
  }

  #sweep(): void {
    this.#alarm = null;
    const now = this.#clock.elapsedMs();
    for (const connection of this.#idle) {
      const left = connection.idleSinceMs + this.#limits.idleMs - now;
      if (left > 0) {
        this.#alarm = this.#after(left, () => this.#sweep());
        return;
      }
      this.forget(connection);
      connection.drop();
    }
  }
}
