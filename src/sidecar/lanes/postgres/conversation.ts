/**
 * A session after its start-up: what the agent says is read, judged where it would act, and sent under its permit.
 *
 *   Query ─▶ each of its statements judged ─▶ sent whole          Parse, Bind, …, Execute, Sync ─▶ batch.ts
 *   refused ─▶ ErrorResponse, and what follows is skipped up to Sync, as the server does it
 *
 * One statement is under way at a time, unless the one before only reads: until it has ended, nobody knows how the server would read
 * the next one (THREATS Q2). After a statement that nobody understood, no name upstream is taken for what it was (Q1).
 */

import { NOT_NOW, type Taker } from "#sidecar/intake/intake.ts";
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { Act } from "./act.ts";
import { type Answered, Answers } from "./answers.ts";
import { Asking } from "./asking.ts";
import { Batch } from "./batch.ts";
import type { TransactionStatus } from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import { FRONTEND, TERMINATE } from "./codec/frontend.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { fromUtf8, message } from "./codec/text.ts";
import { copyRunEnd } from "./copy-run.ts";
import type { KnownSession } from "./known-session.ts";
import { LongBind } from "./long-bind.ts";
import type { SessionMasker } from "./masking.ts";
import { Masks } from "./masks.ts";
import { Named } from "./named.ts";
import type { Redact } from "./operations.ts";
import { errorText } from "./refuse.ts";
import { reported } from "./settings.ts";
import { SimpleQuery } from "./simple-query.ts";
import { SqlNames } from "./sql-names.ts";
import type { Step } from "./steps.ts";
import { Talk, type TalkOptions } from "./talk.ts";

export interface ConversationOptions extends TalkOptions {
  readonly redact: Redact;
  readonly masker: SessionMasker | null;
  /** What its upstream may wait as for another connection; null: it may not. */
  readonly known: KnownSession | null;
  /** The upstream is given to whoever makes it as good as new. */
  readonly handBack: (known: KnownSession) => void;
  /** The session is over; both legs are dealt with. */
  readonly ended: () => void;
}

export class Conversation implements Answered, Taker, MessageTaker {
  readonly #options: ConversationOptions;
  readonly #talk: Talk;
  readonly #answers: Answers;
  readonly #asking: Asking;
  readonly #named: Named;
  readonly #batch: Batch;
  readonly #query: SimpleQuery;
  readonly #masks: Masks;
  readonly #sqlNames: SqlNames;
  readonly #messages: MessageReader;
  #longBind: LongBind | null = null;
  /** A COPY … FROM STDIN is under way: the agent's data are its. */
  #copying: Act | null = null;
  #loading = false;
  #unreadable = false;
  #draining = false;
  #listening = false;

  constructor(options: ConversationOptions) {
    const { limits } = options;
    const talk = new Talk(options);
    const between = (): boolean => !this.#answers.midway;
    this.#options = options;
    this.#talk = talk;
    this.#masks = new Masks(talk, options.masker);
    this.#answers = new Answers(this, talk, this.#masks);
    this.#asking = new Asking(talk, options.redact, between);
    this.#sqlNames = new SqlNames(talk);
    this.#named = new Named(limits, this.#sqlNames, options.ports.judge);
    this.#batch = new Batch({
      talk,
      named: this.#named,
      asking: this.#asking,
      sqlNames: this.#sqlNames,
      masks: this.#masks,
      unreadable: () => this.#unreadable,
      between,
    });
    this.#query = new SimpleQuery({
      talk,
      asking: this.#asking,
      named: this.#named,
      masks: this.#masks,
      sqlNames: this.#sqlNames,
      unreadable: () => this.#unreadable,
      between,
      quiet: () => this.#endIfDraining(),
    });
    this.#messages = new MessageReader(this, Math.max(limits.textBytes, limits.bindBytes, limits.smallBytes));
  }

  // --- what the session says ------------------------------------------------------------------------------------------------

  /** Nothing is under way, nothing is held. */
  get idle(): boolean {
    return this.#talk.steps.length === 0 && !this.#asking.waits && this.#copying === null;
  }

  /** It may wait for notifications for as long as it likes. */
  get listening(): boolean {
    return this.#listening;
  }

  get over(): boolean {
    return this.#talk.over;
  }

  upstreamData(chunk: Chunk): void {
    this.#answers.data(chunk);
    if (!this.#talk.over) this.#talk.intake.pump();
  }

  agentDrained(): void {
    this.#talk.agentDrained();
  }

  /** The agent has left without a Terminate; to the server it is the same. */
  agentEnded(): void {
    const known = this.#discardable;
    if (this.#close("client-left")) this.#leave(known);
  }

  agentFailed(): void {
    if (this.#close("client-left")) this.#talk.upstream.reset();
  }

  /** The upstream ended or broke off. What it said before has been passed on. */
  upstreamGone(why: string, ended: boolean): void {
    const whole = ended && !this.#answers.midway && this.idle;
    if (!this.#close(why)) return;
    const { agent } = this.#talk.ports;
    if (whole) agent.end();
    else agent.reset();
    this.#talk.upstream.reset();
  }

  revised(): void {
    const { judge } = this.#talk.ports;
    const { profile } = judge;
    for (const act of this.#open()) {
      if (act.finished || act.profile === profile) continue;
      const verdict = judge.ask(act.operation, this.#asking);
      if (verdict.kind === "permit") {
        act.permittedAnew(judge, verdict, profile);
        continue;
      }
      if (verdict.kind === "held") verdict.abandon("cancelled");
      this.#fatal("revoked", "57P01", "a policy change ended this statement");
      return;
    }
  }

  drain(): void {
    this.#draining = true;
    this.#endIfDraining();
  }

  expire(code: "idle_timeout" | "total_timeout"): void {
    if (code === "idle_timeout") this.#fatal(code, "57P05", "nothing was said for too long");
    else this.#fatal(code, "57014", "the statement took longer than the target permits");
  }

  // --- Taker: the agent's messages, in order ----------------------------------------------------------------------------------

  take(chunk: Chunk, from: number): number {
    if (this.#talk.over) return chunk.length;
    if (!this.#messages.midway && !this.#mayTake(chunk.at(from))) return NOT_NOW;
    if (this.#copying !== null && !this.#messages.midway) {
      const end = copyRunEnd(chunk, from);
      if (end > from) {
        this.#copyData(chunk, from, end);
        return end;
      }
    }
    const next = this.#messages.read(chunk, from);
    if (typeof next !== "string") return next;
    this.#talk.ports.judge.refuse("protocol_violation", next, null);
    this.#fatal("protocol_violation", "08P01", `the message is malformed (${next})`);
    return chunk.length;
  }

  /** Whether a message of this type can be looked at now; if not, what it waits for is under way. */
  #mayTake(type: number): boolean {
    if (this.#asking.waits || this.#masks.waits || this.#loading) return false;
    if (this.#batch.skipping || this.#copying !== null) return true;
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.functionCall:
        // Those do not belong to a batch: what was begun is brought to an end first.
        if (this.#batch.pending) this.#batch.send(null);
        if (this.#batch.skipping) return true;
        if (this.#talk.steps.length > 0) return this.#later();
        return type === FRONTEND.functionCall || this.#readable();
      case FRONTEND.parse:
        return this.#quiet() && this.#readable();
      case FRONTEND.bind:
      case FRONTEND.describe:
      case FRONTEND.execute:
      case FRONTEND.close:
        return this.#quiet();
      case FRONTEND.sync:
        if (this.#talk.steps.length >= this.#talk.limits.awaited) return this.#later();
        // A COPY that may begin would swallow it.
        return this.#talk.impure === 0 || !this.#mayCopyIn() || this.#later();
      default:
        return true;
    }
  }

  /** Nothing is under way that could change what the next message means. */
  #quiet(): boolean {
    const { impure, steps, limits } = this.#talk;
    if (!this.#batch.settled) return false;
    return (impure === 0 && steps.length < limits.awaited) || this.#later();
  }

  #later(): false {
    this.#talk.hurry();
    return false;
  }

  #mayCopyIn(): boolean {
    for (const { act } of this.#talk.steps)
      if (act !== null && (act.opaque || act.effects.some((effect) => effect.kind === "copy-in"))) return true;
    return false;
  }

  /** Whether the reader of SQL is there; loads it where it is not. */
  #readable(): boolean {
    const { sql, ports } = this.#talk;
    if (sql.loaded || this.#unreadable) return true;
    this.#loading = true;
    const goOn = (unreadable: boolean): void =>
      ports.committed(() => {
        this.#loading = false;
        this.#unreadable = unreadable;
        if (!this.#talk.over) this.#talk.intake.pump();
      });
    sql.load().then(
      () => goOn(false),
      () => goOn(true),
    );
    return false;
  }

  // --- MessageTaker -----------------------------------------------------------------------------------------------------------

  begins(type: number, length: number): "gather" | "pieces" | WireFault {
    const { textBytes, bindBytes, smallBytes } = this.#talk.limits;
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.parse:
        return this.#batch.skipping || length > textBytes ? "pieces" : "gather";
      case FRONTEND.bind:
        if (this.#batch.skipping) return "pieces";
        if (length <= bindBytes) return "gather";
        this.#longBind = new LongBind(this.#talk, this.#batch, length);
        return "pieces";
      case FRONTEND.functionCall:
      case FRONTEND.copyData:
        return "pieces";
      case FRONTEND.describe:
      case FRONTEND.execute:
      case FRONTEND.close:
      case FRONTEND.copyFail:
        return length > smallBytes ? "length" : "gather";
      case FRONTEND.sync:
      case FRONTEND.flush:
      case FRONTEND.copyDone:
      case FRONTEND.terminate:
        return length === 5 ? "gather" : "length";
      default:
        return "type";
    }
  }

  /** A part of what is not gathered: COPY data, a Bind that is too long to be kept, a text too long to be judged; or what is skipped. */
  piece(type: number, chunk: Chunk, from: number, to: number, left: number): WireFault | null {
    if (type === FRONTEND.copyData) return this.#copyData(chunk, from, to);
    if (this.#copying !== null) return "type";
    const bind = this.#longBind;
    if (bind !== null) {
      if (left === 0) this.#longBind = null;
      return bind.piece(chunk, from, to);
    }
    if (left > 0 || this.#batch.skipping) return null;
    return type === FRONTEND.functionCall ? this.#functionCall() : this.#tooLong(type);
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    if (this.#copying !== null) return this.#whileCopying(type, chunk, from, to);
    if (this.#batch.skipping && type !== FRONTEND.sync && type !== FRONTEND.terminate) return null;
    const bind = this.#longBind;
    this.#longBind = null;
    switch (type) {
      case FRONTEND.query:
        if (to - from > this.#talk.limits.textBytes) return this.#tooLong(type);
        return this.#query.take(chunk.latin1(from + 5, to));
      case FRONTEND.parse:
        if (to - from > this.#talk.limits.textBytes) return this.#tooLong(type);
        return this.#batch.parse(chunk.latin1(from + 5, to));
      case FRONTEND.bind:
        return bind === null ? this.#batch.bind(chunk.latin1(from + 5, to)) : bind.piece(chunk, from, to);
      case FRONTEND.describe:
        return this.#batch.describe(chunk.latin1(from + 5, to));
      case FRONTEND.execute:
        return this.#batch.execute(chunk.latin1(from + 5, to));
      case FRONTEND.close:
        return this.#batch.close(chunk.latin1(from + 5, to));
      case FRONTEND.flush:
        this.#batch.flush();
        return null;
      case FRONTEND.sync:
        if (this.#batch.sync()) this.#endIfDraining();
        return null;
      case FRONTEND.functionCall:
        return this.#functionCall();
      case FRONTEND.terminate:
        this.#terminate();
        return null;
      // Left over from a COPY that the server has refused; it ignores them, too.
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        return null;
      default:
        return "type";
    }
  }

  // --- other messages ---------------------------------------------------------------------------------------------------------

  #tooLong(type: number): null {
    const refusal = this.#talk.ports.judge.refuse("statement_too_large", "", null);
    return type === FRONTEND.query ? this.#query.refuse(refusal) : this.#batch.refuse(refusal, null);
  }

  #functionCall(): null {
    return this.#query.refuse(this.#talk.ports.judge.refuse("method_unsupported", "FunctionCall", null));
  }

  #terminate(): void {
    const known = this.#discardable;
    if (!this.#close("terminated")) return;
    if (known === null) this.#talk.upstream.write(this.#talk.ports.connect, TERMINATE);
    this.#leave(known);
  }

  #copyData(chunk: Chunk, from: number, to: number): null {
    const act = this.#copying;
    if (act !== null && !this.#talk.upstream.forward(act.permit, chunk, from, to)) this.#talk.intake.hinder(true);
    return null;
  }

  #whileCopying(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    switch (type) {
      case FRONTEND.copyData:
        return this.#copyData(chunk, from, to);
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        this.#copyData(chunk, from, to);
        this.#copying = null;
        // Begun by Execute, its end is answered only when the client asks for it.
        this.#talk.hurried = false;
        return null;
      // The server ignores them while it reads a COPY.
      case FRONTEND.flush:
      case FRONTEND.sync:
        return null;
      case FRONTEND.terminate:
        this.#terminate();
        return null;
      default:
        return "type";
    }
  }

  // --- Answered ---------------------------------------------------------------------------------------------------------------

  done(act: Act): void {
    this.#talk.ends(act);
    this.#talk.history.done(act);
    this.#sqlNames.done(act.effects, act.statements);
    for (const effect of act.effects)
      switch (effect.kind) {
        case "deallocate":
          this.#named.deallocated(effect.name);
          break;
        case "discard":
          this.#named.deallocated(null);
          this.#listening = false;
          break;
        case "listen":
          this.#listening = true;
          break;
        default:
      }
  }

  stopped(step: Step): void {
    this.#batch.stopped(step);
  }

  closed(step: Step): void {
    if (step.closesSql !== null) this.#sqlNames.closed(fromUtf8(step.closesSql) ?? "");
  }

  skipped(dropped: readonly Step[], syncIsSent: boolean): void {
    for (const step of dropped) this.#gone(step);
    this.#copying = null;
    this.#batch.skip(dropped, syncIsSent);
  }

  failed(step: Step): void {
    this.#gone(step);
    this.#copying = null;
  }

  ready(step: Step, status: TransactionStatus): void {
    const talk = this.#talk;
    talk.status = status;
    talk.obscured = false;
    this.#copying = null;
    if (status === "I") talk.history.idle();
    // A Sync that was sent before a change says nothing of the change.
    if (status === "I" && !talk.begun && talk.steps.length === 0) this.#masks.settled();
    this.#batch.ready(step);
    this.#endIfDraining();
  }

  copyIn(step: Step): WireFault | null {
    const { steps } = this.#talk;
    this.#copying = step.act;
    // A Sync that came before was read as a part of the COPY, and is not answered.
    const [, ...behind] = steps.takeUntil(() => false);
    if (behind.some((s) => s.kind !== "sync")) return "type";
    steps.push(step);
    for (const sync of behind) this.#batch.swallowed(sync);
    return null;
  }

  parameter(name: string, value: string): string | null {
    const why = reported(name, value, this.#talk.readOnly);
    if (why === null) {
      this.#options.known?.statuses.set(name, message("S", `${name}\0${value}\0`));
      return null;
    }
    this.#talk.ports.judge.refuse("setting_pinned", fromUtf8(why) ?? name, null);
    this.#fatal("setting_pinned", "42501", `a setting on which judgements rest has changed (${fromUtf8(why) ?? name})`);
    return why;
  }

  malformed(fault: string): void {
    this.#talk.ports.judge.refuse("upstream_malformed", fault, null);
    this.#fatal("upstream_malformed", "08P01", "the upstream's answer is malformed");
  }

  /** Acts of a step that did not end well, or did not run at all. */
  #gone(step: Step): void {
    for (let i = step.done; i < step.acts.length; i++) {
      const act = step.acts[i];
      if (act === undefined) continue;
      this.#talk.ends(act);
      this.#talk.history.done(act);
    }
  }

  // --- ends -------------------------------------------------------------------------------------------------------------------

  #endIfDraining(): void {
    if (!this.#draining) return;
    if (this.#asking.waits) this.#fatal("draining", "57P01", "the gateway is shutting down");
    else if (this.idle && this.#talk.status === "I" && !this.#talk.begun && !this.#batch.skipping)
      this.#fatal("draining", "57P01", "the gateway is shutting down");
  }

  /** Acts that are under way, or stopped at a row limit. */
  *#open(): Iterable<Act> {
    for (const step of this.#talk.steps) for (const act of step.acts.slice(step.done)) yield act;
    yield* this.#named.suspended();
  }

  /** Whether its upstream may wait for another connection: nothing is under way or open in it, and it can be made as good as new. */
  get #discardable(): KnownSession | null {
    const { known } = this.#options;
    const talk = this.#talk;
    if (known === null || known.tainted || talk.lasting || this.#draining) return null;
    if (!this.idle || this.#masks.waits || talk.status !== "I" || talk.begun) return null;
    return this.#batch.pending || this.#batch.skipping || this.#answers.partly ? null : known;
  }

  /** Both sides, after what is queued. `known`: the upstream's session goes on. */
  #leave(known: KnownSession | null): void {
    this.#talk.ports.agent.end();
    if (known !== null) return this.#options.handBack(known);
    this.#talk.upstream.end();
    this.#talk.upstream.release(false);
  }

  #fatal(status: string, state: string, message: string): void {
    const { midway } = this.#answers;
    if (!this.#close(status)) return;
    this.#talk.upstream.reset();
    const { agent } = this.#talk.ports;
    if (midway) return agent.reset();
    agent.write(errorText("FATAL", state, message));
    agent.end();
  }

  /** Everything that is open is finished; the legs are the caller's. False: it was closed before. */
  #close(status: string): boolean {
    if (this.#talk.over) return false;
    this.#asking.abandon(status === "draining" ? "drain" : "client-left");
    this.#answers.close();
    for (const act of this.#open()) act.finish(this.#talk.ports.judge, status);
    this.#talk.over = true;
    this.#masks.ended();
    this.#options.ended();
    return true;
  }
}
