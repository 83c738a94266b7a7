/**
 * What the parts of one conversation share: its two legs, what the upstream still has to answer, and what is known of the server's
 * state. One object a session; whoever changes a field says here what it means.
 */

import type { Intake } from "#sidecar/intake/intake.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Upstream } from "#sidecar/seam/leg.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import type { Act } from "./act.ts";
import type { TransactionStatus } from "./codec/backend.ts";
import { FLUSH } from "./codec/frontend.ts";
import { History } from "./history.ts";
import type { PostgresLimits } from "./limits.ts";
import { UpstreamNames } from "./names.ts";
import type { ReadingState } from "./reading-state.ts";
import type { Identity } from "./settings.ts";
import type { SqlReader } from "./sql/reading.ts";
import { Steps } from "./steps.ts";

export interface TalkOptions {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly reader: SqlReader;
  readonly random: (bytes: number) => Uint8Array;
  readonly intake: Intake;
  readonly upstream: Upstream;
  readonly identity: Identity;
  readonly status: TransactionStatus;
  /** The startup parameters that went upstream. */
  readonly parameters: readonly (readonly [string, string])[];
}

export class Talk implements ReadingState {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly sql: SqlReader;
  readonly upstream: Upstream;
  readonly intake: Intake;
  readonly identity: Identity;
  readonly steps = new Steps();
  readonly names: UpstreamNames;
  readonly history: History;
  readonly readOnly: boolean;
  over = false;
  /** As of the last ReadyForQuery. */
  status: TransactionStatus;
  /** Messages of the extended protocol were sent since the last Sync or Query. */
  begun = false;
  /** The server answers all that it was sent without being told to (Flush, Sync, Query). */
  hurried = true;
  /** Statements under way that do more than read. */
  impure = 0;
  generation = 0;
  /** One of those has run since the last ReadyForQuery: settings may have changed without a word. */
  obscured = false;
  /** A statement has run that may have left in the session what DISCARD ALL does not undo. */
  lasting = false;
  #upstreamPaused = false;

  constructor(options: TalkOptions) {
    const { ports, identity, parameters } = options;
    this.ports = ports;
    this.limits = options.limits;
    this.sql = options.reader;
    this.upstream = options.upstream;
    this.intake = options.intake;
    this.identity = identity;
    this.status = options.status;
    this.names = new UpstreamNames(options.random);
    this.readOnly = ports.peer.target.readOnly === true;
    this.history = new History([ports.peer.target.name, ports.peer.host, ports.peer.port, parameters]);
  }

  /** To the upstream. */
  write(permit: Permit<"connect" | "ask">, text: string): void {
    if (!this.upstream.write(permit, text)) this.intake.hinder(true);
  }

  /** To the agent, between messages of the upstream. */
  tell(text: string): void {
    if (!this.ports.agent.write(text)) this.agentFull();
  }

  agentFull(): void {
    if (this.#upstreamPaused) return;
    this.#upstreamPaused = true;
    this.upstream.pause();
  }

  agentDrained(): void {
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.upstream.resume();
  }

  /** Lets the server answer what it was sent, although the client has not asked for it yet. */
  hurry(): void {
    if (this.hurried || this.steps.length === 0) return;
    this.hurried = true;
    this.write(this.ports.connect, FLUSH);
  }

  starts(act: Act): void {
    if (!act.discardable) this.lasting = true;
    if (!act.pure) this.impure++;
    if (!act.opaque) return;
    this.obscured = true;
    this.generation++;
  }

  /** However it ended, or was never sent. What was named while it ran is not to be trusted either. */
  ends(act: Act): void {
    if (!act.pure) this.impure--;
    if (act.opaque) this.generation++;
  }
}
