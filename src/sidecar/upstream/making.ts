/**
 * A dial that found nothing in the pool, until its lease has a connection or has failed: connect, through the proxy where the way
 * says so, all within one time limit that began with the dial (resolving counts, too).
 */
import type { CommitGate } from "#contract/record.ts";
import type { Endpoint } from "#core/cidr.ts";
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";
import type { Chunk, LegEvents, LegFault, Resumable } from "../seam/leg.ts";
import type { Connector, ConnectTo, Dial, Outbound } from "../seam/stages.ts";
import type { Permit } from "../seam/verdict.ts";
import { Dialing } from "./dialing.ts";
import { Lease, type LeaseOwner } from "./lease.ts";
import type { PooledConnection } from "./pool.ts";
import { Tunnel, type UpstreamProxy } from "./proxy.ts";

export interface MakingOptions {
  readonly connector: Connector;
  readonly gate: CommitGate;
  readonly clock: Clock;
  readonly after: (ms: number, fire: () => void) => Alarm;
  readonly connectMs: number;
}

export interface Wanted {
  readonly request: Dial;
  readonly permit: Permit<"connect" | "ask">;
  readonly events: LegEvents;
  /** Null: go straight. */
  readonly proxy: UpstreamProxy | null;
  /** Null: never pooled. */
  readonly pooled: (outbound: Outbound) => PooledConnection | null;
}

export class Making implements LeaseOwner {
  readonly lease: Lease;
  readonly #wanted: Wanted;
  readonly #dialing: Dialing;
  readonly #alarm: Alarm;
  #tunnel: Tunnel | null = null;
  #connection: PooledConnection | null = null;
  #over = false;

  constructor(options: MakingOptions, wanted: Wanted) {
    const { request, proxy } = wanted;
    const limitMs = request.target.limits?.connectMs ?? options.connectMs;
    const verifiedAs = {
      serverName: request.target.upstream?.serverName ?? request.host,
      ca: request.target.upstream?.ca ?? null,
      ...(request.identity === null ? {} : { identity: request.identity }),
    };
    this.#wanted = wanted;
    this.lease = new Lease(wanted.events, this, null);
    this.#alarm = options.after(limitMs, () => {
      this.#dialing.cancel();
      this.#tunnel?.cancel();
      this.#fail("timeout");
    });
    const tls: ConnectTo["tls"] = request.secure && proxy === null ? { ...verifiedAs, alpn: request.alpn } : null;
    this.#dialing = new Dialing({
      connector: options.connector,
      gate: options.gate,
      clock: options.clock,
      tls,
      inBand: verifiedAs,
      deadlineMs: options.clock.elapsedMs() + limitMs,
      won: (outbound) => this.#connected(outbound),
      lost: (fault) => this.#fail(fault),
    });
  }

  start(endpoints: readonly Endpoint[]): void {
    if (this.#over) return;
    if (endpoints.length > 0) this.#dialing.start(endpoints);
    else this.#fail("unresolved");
  }

  keep(as: Resumable | null): boolean {
    return this.#connection?.keep(as) ?? false;
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm.cancel();
    this.#dialing.cancel();
    this.#tunnel?.cancel();
  }

  #connected(outbound: Outbound): void {
    const { proxy, request, permit } = this.#wanted;
    if (proxy === null) return this.#won(outbound, null);
    this.#tunnel = new Tunnel(outbound, {
      proxy,
      request,
      permit,
      opened: (through, early) => this.#won(through, early),
      failed: (fault) => this.#fail(fault),
    });
  }

  #won(outbound: Outbound, early: Chunk | null): void {
    this.#over = true;
    this.#alarm.cancel();
    this.#connection = this.#wanted.pooled(outbound);
    this.lease.connected(outbound, early);
  }

  /** From a microtask: the fault may be known while `dial` still runs, and its caller has no leg yet. */
  #fail(fault: LegFault): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm.cancel();
    queueMicrotask(() => this.lease.failed(fault));
  }
}
