/**
 * Idle keep-alive connections. One is used again only for what it was made for: the key holds the target and its version, host,
 * port, TLS, ALPN, credential and run, so nothing of one run or identity can reach another (THREATS H6).
 *
 * Errs towards closing: a byte, an end, a fault or anything unfinished on an idle connection, and a target that changed, close it.
 */
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";
import type { LegEvents } from "../seam/leg.ts";
import type { Outbound } from "../seam/stages.ts";
import type { LeaseOwner } from "./lease.ts";

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

export interface PoolOptions {
  readonly limits: PoolLimits;
  readonly clock: Clock;
  readonly after: (ms: number, fire: () => void) => Alarm;
}

/** A connection for as long as it lives; its own listener while it is idle, and its lease's owner while it is not. */
export class PooledConnection implements LegEvents, LeaseOwner {
  readonly outbound: Outbound;
  readonly key: string;
  /** Of the target's spec. */
  readonly version: number;
  readonly madeAtMs: number;
  idleSinceMs = 0;
  readonly #pool: Pool;

  constructor(pool: Pool, outbound: Outbound, key: string, version: number, madeAtMs: number) {
    this.#pool = pool;
    this.outbound = outbound;
    this.key = key;
    this.version = version;
    this.madeAtMs = madeAtMs;
  }

  keep(): boolean {
    return this.#pool.put(this);
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
      connection.outbound.reset();
    }
  }

  /** False: not kept; the caller still has it. */
  put(connection: PooledConnection): boolean {
    const { maxIdle, maxIdlePerKey, maxAgeMs } = this.#limits;
    const now = this.#clock.elapsedMs();
    if (this.#versions?.has(connection.version) === false) return false;
    if (!connection.outbound.idleSafe || now - connection.madeAtMs >= maxAgeMs) return false;
    const stack = this.#byKey.get(connection.key);
    if (stack === undefined) this.#byKey.set(connection.key, [connection]);
    else if (stack.length >= maxIdlePerKey) return false;
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
        connection.outbound.reset();
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
    oldest.outbound.reset();
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
      connection.outbound.reset();
    }
  }
}
