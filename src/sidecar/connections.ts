/**
 * The connections that are open now: each with its judge, its lane's session and the permit that let it in. Here a new bundle
 * reaches them (what is now refused ends), a drain is waited for, and the end of each is put on record.
 *
 * Fails closed: a session that throws is ended with its connection, never the process with all of them.
 */

import type { Credential } from "#contract/credential.ts";
import type { CommitGate } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Wheel } from "#core/wheel.ts";
import type { ConnectionJudge } from "./judge/judges.ts";
import { opened } from "./judge/permit.ts";
import type { ConnectionMeters } from "./meters.ts";
import type { Lane, Peer, Ports, Session } from "./seam/lane.ts";
import type { LegEvents } from "./seam/leg.ts";
import type { Dial, Inbound, Upstreams } from "./seam/stages.ts";
import type { Permit } from "./seam/verdict.ts";

export interface ConnectionsOptions {
  readonly upstreams: Upstreams;
  readonly wheel: Wheel;
  readonly gate: CommitGate;
  /** Lanes that carry bytes as they are: their upstream is neither pooled nor wrapped in TLS of ours. */
  readonly opaqueTls: Lane;
  readonly opaqueTcp: Lane;
  readonly meters: ConnectionMeters;
  readonly fault: (where: string, error: unknown) => void;
}

export interface OpenConnection {
  open(lane: Lane, peer: Peer, connect: Permit<"connect">): void;
  refused(): void;
  /** The agent did not accept our certificate, or left during the handshake. */
  untrusted(fault: string): void;
}

export interface OpenConnections {
  readonly size: number;
  add(leg: Inbound, judge: ConnectionJudge): OpenConnection;
  /** Another bundle is in force: asks `connect` again for each, and tells the sessions that go on. One whose target changed is drained. */
  revised(targets: readonly Target[]): void;
  /** Sessions finish what is under way. Resolves when none is left, or when `limitMs` has passed (then the rest is reset). */
  drain(limitMs: number): Promise<void>;
}

/** What a session may still need after its target changed. */
const CHANGED_MS = 2_000;

export function createConnections(options: ConnectionsOptions): OpenConnections {
  const open = new Set<Tracked>();
  let draining = false;
  let empty: (() => void) | null = null;

  return {
    get size() {
      return open.size;
    },
    add(leg, judge) {
      const tracked = new Tracked(options, leg, judge);
      open.add(tracked);
      leg.onGone(() => {
        open.delete(tracked);
        tracked.gone();
        if (open.size === 0) empty?.();
      });
      if (draining) tracked.end("draining");
      return tracked;
    },
    revised(targets) {
      const specs = new Map(targets.map((target) => [target.name, JSON.stringify(target)]));
      for (const tracked of open) tracked.revised(specs);
    },
    async drain(limitMs) {
      draining = true;
      for (const tracked of open) tracked.drain();
      if (open.size === 0) return;
      await new Promise<void>((resolve) => {
        let late = setTimeout(() => {
          for (const tracked of open) tracked.end("drain-limit");
          // What ends says so when its socket has closed, a turn later: only then is its end on record.
          if (open.size > 0) late = setTimeout(resolve, GONE_MS);
        }, limitMs);
        empty = () => {
          clearTimeout(late);
          resolve();
        };
      });
    },
  };
}

/** A connection that was reset is gone within a turn; more than this is waited for by nobody. */
const GONE_MS = 1_000;

class Tracked implements OpenConnection {
  readonly #options: ConnectionsOptions;
  readonly #leg: Inbound;
  readonly #judge: ConnectionJudge;
  #session: Session | null = null;
  #connect: Permit<"connect"> | null = null;
  #target: Target | null = null;
  /** Targets of a bundle that came before the session: what was permitted until then is asked again when it opens. */
  #revised: ReadonlyMap<string, string> | null = null;
  #why = "closed";
  #over = false;

  constructor(options: ConnectionsOptions, leg: Inbound, judge: ConnectionJudge) {
    this.#options = options;
    this.#leg = leg;
    this.#judge = judge;
    judge.protect("none", (error) => this.#broken("settled", error));
  }

  open(lane: Lane, peer: Peer, connect: Permit<"connect">): void {
    this.#connect = connect;
    this.#target = peer.target;
    if (this.#revised !== null) {
      if (this.#revoked()) return;
      if (this.#changed(this.#revised)) {
        this.end("target-changed");
        return;
      }
    }
    const session = this.#guard("open", () => lane.open(this.#ports(lane, peer, connect), null));
    if (session === null) return;
    this.#session = session;
    this.#leg.listen(
      new Guarded(
        session,
        (error) => this.#broken("session", error),
        (fault) => {
          this.#why = fault;
          this.#stop(fault);
        },
      ),
    );
  }

  refused(): void {
    this.#why = "refused";
  }

  untrusted(fault: string): void {
    this.#why = fault;
  }

  revised(specs: ReadonlyMap<string, string>): void {
    if (this.#session === null) {
      this.#revised = specs;
      return;
    }
    if (this.#revoked()) return;
    this.#guard("revised", () => this.#session?.revised());
    // The session dials by what its target said when it began: it finishes what is under way, and the agent connects anew.
    if (!this.#changed(specs)) return;
    this.drain();
    this.#options.wheel.after(CHANGED_MS, () => this.end("target-changed"));
  }

  /** Asks `connect` again; a refusal, or a bug while asking, has ended the connection. */
  #revoked(): boolean {
    const refusal = this.#guard("again", () => this.#judge.again());
    if (refusal !== null) this.end("revoked");
    return this.#over;
  }

  #changed(specs: ReadonlyMap<string, string>): boolean {
    const target = this.#target;
    return target !== null && target.name !== "" && specs.get(target.name) !== JSON.stringify(target);
  }

  drain(): void {
    if (this.#session === null) this.end("draining");
    else this.#guard("drain", () => this.#session?.drain());
  }

  /** Ends the connection now; the session hears it as a failed leg, so that it finishes what it holds. */
  end(why: string): void {
    if (this.#over) return;
    this.#why = why;
    this.#leg.reset();
    this.#stop("reset");
  }

  gone(): void {
    this.#stop("reset");
    if (this.#connect !== null) this.#judge.finish(this.#connect, { status: this.#why, masked: 0, attempts: 1 });
    this.#judge.close(this.#leg.bytesIn, this.#leg.bytesOut, this.#why);
    const stage = this.#session !== null ? "opened" : this.#connect !== null ? "admitted" : "accepted";
    this.#options.meters.ended(stage, this.#why, this.#leg.bytesIn, this.#leg.bytesOut);
  }

  #stop(fault: Parameters<LegEvents["failed"]>[0]): void {
    if (this.#over) return;
    this.#over = true;
    const session = this.#session;
    if (session === null) return;
    try {
      session.failed(fault);
    } catch (error) {
      this.#options.fault("failed", error);
    }
  }

  /** A bug in a lane costs its connection, not the process. */
  #guard<T>(where: string, act: () => T): T | null {
    try {
      return act();
    } catch (error) {
      this.#broken(where, error);
      return null;
    }
  }

  #broken(where: string, error: unknown): void {
    this.#options.fault(where, error);
    this.end("internal-error");
  }

  #ports(lane: Lane, peer: Peer, connect: Permit<"connect">): Ports {
    const { upstreams, wheel, gate, opaqueTls, opaqueTcp } = this.#options;
    const opaque = lane === opaqueTls || lane === opaqueTcp;
    const wraps = lane !== opaqueTls && lane.tlsInBand !== true;
    const secure = wraps && (peer.secure || peer.target.upstream?.tls === true);
    this.#judge.protect(secure ? "tls" : "none", (error) => this.#broken("settled", error));
    const dialed = { host: peer.host, port: peer.port, target: peer.target, secure, alpn: secure ? lane.alpn : [] };
    const dials = new Dials(dialed, opaque ? null : this.#judge.run);
    return {
      peer,
      agent: this.#leg,
      judge: this.#judge,
      connect,
      dial: (permit, purpose, events, anew) => {
        const request = dials.of(opened(permit).credential, purpose === "aside" || anew === true);
        const leg = upstreams.dial(request, permit, this.#guarded(events));
        this.#options.meters.dialed(leg.reused);
        return leg;
      },
      resume: (permit, alike, events) => {
        const request = dials.of(opened(permit).credential, false);
        const resumed = upstreams.resume?.(request, alike, this.#guarded(events)) ?? null;
        if (resumed !== null) this.#options.meters.dialed(true);
        return resumed;
      },
      credential: (permit) => opened(permit).credential,
      renew: (permit, then) => this.#judge.renew(permit, then),
      after: (ms, fire) => wheel.after(ms, () => void this.#guard("alarm", fire)),
      soon: (then) => void setImmediate(() => this.#guard("turn", then)),
      committed: (then) => {
        gate.committed((ok) => {
          if (ok) this.#guard("committed", then);
          else this.end("audit");
        });
      },
      become: () => this.end("unsupported"),
      tunnel: () => this.end("unsupported"),
    };
  }

  #guarded(events: LegEvents): LegEvents {
    return new Guarded(
      events,
      (error) => this.#broken("upstream", error),
      (fault) => {
        this.#options.meters.upstreamFault(fault);
        events.failed(fault);
      },
    );
  }
}

/**
 * What a connection dials with: one object for each credential, because the pool knows a request by it. The pool's key has the run
 * and the credential's value in it, so nothing that one of them logged in serves another (THREATS H6).
 */
class Dials {
  readonly #dialed: Omit<Dial, "pool" | "fresh" | "identity">;
  readonly #run: string | null;
  #credential: Credential | null = null;
  #pooled: Dial;
  #fresh: Dial;

  /** `run`: null: never pooled. */
  constructor(dialed: Omit<Dial, "pool" | "fresh" | "identity">, run: string | null) {
    this.#dialed = dialed;
    this.#run = run;
    this.#pooled = this.#make(null, false);
    this.#fresh = this.#make(null, true);
  }

  of(credential: Credential | null, fresh: boolean): Dial {
    if (credential !== this.#credential) {
      this.#credential = credential;
      this.#pooled = this.#make(credential, false);
      this.#fresh = this.#make(credential, true);
    }
    return fresh ? this.#fresh : this.#pooled;
  }

  #make(credential: Credential | null, fresh: boolean): Dial {
    const as = credential === null ? "-" : `${credential.name}/${credential.version}`;
    return {
      ...this.#dialed,
      pool: this.#run === null ? null : `${as} ${this.#run}`,
      fresh,
      identity: credential?.kind === "clientCertificate" ? credential : null,
      login: credential,
    };
  }
}

/** A listener whose bugs stay its connection's own; one object a leg, no closure an event. */
class Guarded implements LegEvents {
  readonly #events: LegEvents;
  readonly #fault: (error: unknown) => void;
  readonly #failed: LegEvents["failed"];
  constructor(events: LegEvents, fault: (error: unknown) => void, failed: LegEvents["failed"]) {
    this.#events = events;
    this.#fault = fault;
    this.#failed = failed;
  }
  opened(): void {
    try {
      this.#events.opened();
    } catch (error) {
      this.#fault(error);
    }
  }
  data(chunk: Parameters<LegEvents["data"]>[0]): void {
    try {
      this.#events.data(chunk);
    } catch (error) {
      this.#fault(error);
    }
  }
  drained(): void {
    try {
      this.#events.drained();
    } catch (error) {
      this.#fault(error);
    }
  }
  secured(tls: Parameters<LegEvents["secured"]>[0]): void {
    try {
      this.#events.secured(tls);
    } catch (error) {
      this.#fault(error);
    }
  }
  ended(): void {
    try {
      this.#events.ended();
    } catch (error) {
      this.#fault(error);
    }
  }
  failed(fault: Parameters<LegEvents["failed"]>[0]): void {
    try {
      this.#failed(fault);
    } catch (error) {
      this.#fault(error);
    }
  }
}
