/**
 * One agent connection that speaks PostgreSQL: opening, then conversation; or a CancelRequest, which is a connection of its own.
 * Here are its limits in time, and who hears what the legs say.
 */
import type { Clock } from "#core/clock.ts";
import type { Alarm } from "#core/wheel.ts";
import { Intake, NOT_NOW, type Taker } from "#sidecar/intake/intake.ts";
import type { Ports, Session } from "#sidecar/seam/lane.ts";
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { AgentAuthentication } from "./agent-proof.ts";
import { Cancelling } from "./cancel.ts";
import type { CancelKeys } from "./cancel-keys.ts";
import { fromUtf8 } from "./codec/text.ts";
import { Conversation } from "./conversation.ts";
import { HandBack } from "./hand-back.ts";
import type { PostgresLimits } from "./limits.ts";
import type { RowMasker } from "./masking.ts";
import { Opening, type OpeningOptions, type Started } from "./opening.ts";
import type { Redact } from "./operations.ts";
import type { SqlReader } from "./sql/reading.ts";
import { faultCode } from "./upstream-start.ts";

export interface SessionOptions {
  readonly limits: PostgresLimits;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  readonly reader: SqlReader;
  readonly redact: Redact;
  readonly masker: RowMasker | null;
  readonly keys: CancelKeys;
  readonly authentication: AgentAuthentication;
  readonly identity: OpeningOptions["identity"];
}

/** What is read and thrown away behind a last message. */
const LINGER_BYTES = 1_048_576;

export class PostgresSession implements Session, Taker {
  readonly #ports: Ports;
  readonly #options: SessionOptions;
  readonly #intake: Intake;
  readonly #opening: Opening;
  #conversation: Conversation | null = null;
  #cancelling: Cancelling | null = null;
  #cancelPid: number | null = null;
  /** The agent has had its last message, or is gone. */
  #over = false;
  /** It has ended its side. */
  #left = false;
  #lingered = 0;
  #alarm: Alarm | null = null;
  #active = false;
  #activeMs: number;
  readonly #openedMs: number;

  constructor(ports: Ports, options: SessionOptions) {
    const { limits, random, keys, authentication, identity, redact } = options;
    this.#ports = ports;
    this.#options = options;
    this.#intake = new Intake(ports.agent, this, {
      bound: limits.keptBytes,
      soon: ports.soon,
      rested: () => this.#endIfLeft(),
    });
    this.#openedMs = options.clock.elapsedMs();
    this.#activeMs = this.#openedMs;
    this.#opening = new Opening({
      ports,
      limits,
      random,
      keys,
      authentication,
      identity,
      redact,
      intake: this.#intake,
      started: (started) => this.#started(started),
      cancel: (target) => {
        this.#end();
        if (target === null || target.host !== ports.peer.host || target.port !== ports.peer.port) {
          // A server says nothing to a key that it does not know.
          if (target === null) ports.judge.refuse("cancel_unknown", "", null);
          ports.agent.end();
          return;
        }
        target.sent?.();
        this.#cancelling = new Cancelling(ports, target, () => ports.agent.end());
      },
      refused: () => this.#end(),
    });
    this.#watch();
  }

  // --- LegEvents: what the agent's leg says ---------------------------------------------------------------------------------

  opened(): void {}

  secured(): void {
    this.#opening.secured();
    this.#intake.pump();
  }

  data(chunk: Chunk): void {
    this.#active = true;
    if (this.#over) {
      this.#lingered += chunk.length;
      if (this.#lingered > LINGER_BYTES) this.#ports.agent.reset();
      return;
    }
    if (this.#intake.feed(chunk)) return;
    this.failed();
    this.#ports.agent.reset();
  }

  drained(): void {
    this.#active = true;
    this.#conversation?.agentDrained();
  }

  ended(): void {
    if (this.#over) return;
    // What it said before it left is still being taken.
    this.#left = true;
    this.#endIfLeft();
  }

  #endIfLeft(): void {
    if (this.#over || !this.#left || this.#intake.resting) return;
    if (this.#conversation !== null) this.#conversation.agentEnded();
    else {
      this.#opening.close();
      this.#end();
      this.#ports.agent.end();
    }
  }

  failed(): void {
    this.#cancelling?.close();
    this.#opening.close();
    this.#conversation?.agentFailed();
    this.#end();
  }

  // --- Session --------------------------------------------------------------------------------------------------------------

  revised(): void {
    if (!this.#over) this.#conversation?.revised();
  }

  drain(): void {
    if (this.#over) return;
    if (this.#conversation !== null) this.#conversation.drain();
    else this.#opening.refuse("draining", "");
  }

  take(chunk: Chunk, from: number): number {
    if (this.#over) return chunk.length;
    if (this.#intake.hindered) return NOT_NOW;
    return (this.#conversation ?? this.#opening).take(chunk, from);
  }

  #started({ upstream, link, identity, parameters, status, cancelPid, known }: Started): void {
    const { limits, reader, redact, random, masker } = this.#options;
    const { name } = this.#ports.peer.target;
    const place = {
      target: name,
      user: fromUtf8(identity.user) ?? "",
      database: fromUtf8(identity.database) ?? "",
    };
    this.#cancelPid = cancelPid;
    const conversation = new Conversation({
      ports: this.#ports,
      limits,
      reader,
      redact,
      masker: masker?.open(place) ?? null,
      parameters,
      random,
      intake: this.#intake,
      upstream,
      identity,
      status,
      known,
      handBack: (session) => {
        link.to = new HandBack(this.#ports, upstream, session);
      },
      ended: () => this.#end(),
    });
    this.#conversation = conversation;
    link.to = {
      data: (chunk) => {
        this.#active = true;
        conversation.upstreamData(chunk);
      },
      drained: () => {
        this.#active = true;
        this.#intake.hinder(false);
        this.#intake.pump();
      },
      ended: () => conversation.upstreamGone("upstream_unreachable", true),
      failed: (fault) => conversation.upstreamGone(faultCode(fault)[0], false),
    };
    this.#intake.pump();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#alarm?.cancel();
    this.#intake.drop();
    if (this.#cancelPid !== null) this.#options.keys.forget(this.#cancelPid);
  }

  /** One alarm a session; limits are noticed up to one round late. */
  #watch(): void {
    if (this.#over) return;
    const { headerMs, idleMs, totalMs } = this.#ports.peer.limits;
    const now = this.#options.clock.elapsedMs();
    const conversation = this.#conversation;
    if (this.#active || conversation?.idle === false) this.#activeMs = now;
    this.#active = false;
    if (conversation === null && now - this.#openedMs >= headerMs) return this.#opening.refuse("header_timeout", "");
    if (conversation !== null) {
      if (totalMs > 0 && now - this.#openedMs >= totalMs) return conversation.expire("total_timeout");
      if (!conversation.listening && now - this.#activeMs >= idleMs) return conversation.expire("idle_timeout");
    }
    const round = Math.min(headerMs, idleMs, totalMs > 0 ? totalMs : idleMs);
    const due = conversation === null ? this.#openedMs + headerMs : this.#activeMs + idleMs;
    this.#alarm = this.#ports.after(Math.max(10, Math.min(round, due - now)), () => this.#watch());
  }
}
