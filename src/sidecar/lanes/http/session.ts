/**
 * One agent connection that speaks HTTP/1.1: requests one after the other, each judged before anything of it goes on.
 *
 *   reading ─▶ held ─▶ exchange ─▶ reading        a refused request: discard (the rest of its body) ─▶ reading
 *      └── malformed, refused for good, drained ─▶ linger (the answer is being read) ─▶ over
 *
 * Whatever is malformed ends the connection, because where the next request begins is then not known for sure.
 */
import type { DenialCode } from "#contract/denial.ts";
import { assertNever } from "#core/assert-never.ts";
import type { Clock } from "#core/clock.ts";
import { Intake, NOT_NOW, type Taker } from "#sidecar/intake/intake.ts";
import type { Dialect } from "#sidecar/seam/exchange.ts";
import type { Ports, Session } from "#sidecar/seam/lane.ts";
import type { Chunk, LegFault } from "#sidecar/seam/leg.ts";
import type { Held, Operation, Permit, Refusal, Waiter } from "#sidecar/seam/verdict.ts";
import { AnswerReading } from "./answer-relay.ts";
import { type BodyReader, NO_BODY } from "./codec/body.ts";
import { codeOf, type Fault } from "./codec/fault.ts";
import { problem } from "./dialects/problem.ts";
import { Exchange, type Owner } from "./exchange.ts";
import type { HttpLimits } from "./limits.ts";
import { Operations } from "./operations.ts";
import { type Overdue, Patrol } from "./patrol.ts";
import { answerText } from "./refuse.ts";
import { NOWHERE, type ReadRequest, RequestReader } from "./request-reader.ts";
import { UNREAD } from "./request-view.ts";
import { requestText } from "./rewrite.ts";

export interface SessionOptions {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /** The first that claims a request reads it; the last one claims all. */
  readonly dialects: readonly Dialect[];
}

type Phase = "reading" | "held" | "exchange" | "discard" | "linger" | "over";

/** What is read and thrown away behind a last answer. */
const LINGER_BYTES = 1_048_576;

/** A request that was read and is being judged, held, exchanged or refused. */
interface Current extends ReadRequest {
  readonly dialect: Dialect;
  readonly operation: Operation;
}

export class HttpSession implements Session, Owner, Taker, Waiter<"ask"> {
  readonly ports: Ports;
  readonly answers: AnswerReading;
  readonly #limits: HttpLimits;
  readonly #requests: RequestReader;
  readonly #operations: Operations;
  readonly #intake: Intake;
  readonly #patrol: Patrol;

  #phase: Phase = "reading";
  #current: Current | null = null;
  #held: Held | null = null;
  #exchange: Exchange | null = null;
  #body: BodyReader = NO_BODY;
  #discarded = 0;
  #agentEnded = false;
  #agentFull = false;
  #draining = false;

  constructor(ports: Ports, options: SessionOptions) {
    const { limits } = options;
    this.ports = ports;
    this.answers = new AnswerReading(limits);
    this.#limits = limits;
    this.#requests = new RequestReader(ports.peer, limits);
    this.#operations = new Operations(options.dialects, ports.peer.target);
    this.#intake = new Intake(ports.agent, this, {
      bound: limits.pendingBytes,
      soon: ports.soon,
      rested: () => {
        this.#exchange?.flush();
        this.#endIfEnded();
      },
    });
    this.#patrol = new Patrol(
      (ms, fire) => ports.after(ms, fire),
      options.clock,
      ports.peer.limits,
      (what) => this.#overdue(what),
    );
  }

  // --- LegEvents: what the agent's leg says -----------------------------------------------------------------------------

  opened(): void {}

  secured(): void {}

  data(chunk: Chunk): void {
    if (this.#phase === "over") return;
    this.#patrol.active = true;
    if (!this.#intake.feed(chunk)) this.brokenOff();
    this.#endIfEnded();
  }

  drained(): void {
    this.#patrol.active = true;
    this.#agentFull = false;
    this.#exchange?.agentDrained();
    this.#intake.pump();
    this.#endIfEnded();
  }

  ended(): void {
    this.#agentEnded = true;
    if (this.#held !== null) {
      // An approval for a client that has gone would act for nobody.
      this.#abandon("client-left");
      this.#close();
      return;
    }
    this.#endIfEnded();
  }

  failed(fault: LegFault): void {
    if (this.#phase === "over") return;
    const exchange = this.#exchange;
    if (this.#held !== null) this.#abandon("client-left");
    this.#over();
    exchange?.abort(fault === "reset" ? "client-left" : fault);
  }

  // --- Session: what the policy and the process say ---------------------------------------------------------------------

  revised(): void {
    const exchange = this.#exchange;
    const current = this.#current;
    if (exchange === null || current === null) return;
    const operation = this.#operations.of(current.view, current.dialect, this.ports.judge.profile);
    let verdict = this.ports.judge.ask(operation, this);
    if (verdict.kind === "permit") {
      exchange.permittedAnew(verdict);
      return;
    }
    if (verdict.kind === "held") {
      verdict.abandon("cancelled");
      verdict = this.ports.judge.refuse("revoked", "", operation);
    }
    const { answered } = exchange;
    this.#exchange = null;
    exchange.abort("revoked");
    if (answered) this.brokenOff();
    else this.#refuse(verdict, true);
  }

  drain(): void {
    this.#draining = true;
    if (this.#held !== null) {
      this.#abandon("drain");
      this.#refuse(this.#refusal("draining", "", this.#current?.operation ?? null), true);
    } else if (this.#exchange !== null) this.#exchange.closing = true;
    else if (this.#phase === "reading" || this.#phase === "discard") this.#close();
  }

  settled(held: Held, verdict: Permit<"ask"> | Refusal): void {
    if (this.#held !== held || this.#current === null) {
      // Its client has left: what was permitted is not done.
      if (verdict.kind === "permit")
        this.ports.judge.finish(verdict, { status: "client-left", masked: 0, attempts: 0 });
      return;
    }
    this.#held = null;
    if (verdict.kind === "permit") this.#begin(this.#current, verdict);
    else this.#refuse(verdict, false);
    this.#intake.pump();
    this.#exchange?.flush();
    this.#endIfEnded();
  }

  // --- Owner: what the exchange says ------------------------------------------------------------------------------------

  exchanged(reusable: boolean): void {
    this.#exchange = null;
    this.#current = null;
    if (!reusable || this.#draining) this.#close();
    else this.#read();
    this.#intake.hinder(false);
    this.#intake.pump();
    this.#endIfEnded();
  }

  unanswered(code: DenialCode, why: string, reusable: boolean): void {
    this.#exchange = null;
    this.#refuse(this.#refusal(code, why, this.#current?.operation ?? null), !reusable);
    this.#intake.hinder(false);
    this.#intake.pump();
    this.#endIfEnded();
  }

  brokenOff(): void {
    const exchange = this.#exchange;
    if (this.#held !== null) this.#abandon("client-left");
    this.#over();
    exchange?.abort("client-left");
    this.ports.agent.reset();
  }

  flow(full: boolean): void {
    if (!full) this.#patrol.active = true;
    this.#intake.hinder(full);
  }

  agentFull(): void {
    this.#agentFull = true;
  }

  progress(): void {
    this.#patrol.active = true;
  }

  // --- Taker: bytes of the agent, in order ------------------------------------------------------------------------------

  #ready(): boolean {
    switch (this.#phase) {
      case "reading":
        // Answers that nobody reads must not pile up.
        return !this.#agentFull;
      case "exchange":
        return this.#exchange?.requestDone === false;
      case "held":
        return false;
      case "discard":
      case "linger":
      case "over":
        return true;
      default:
        return assertNever(this.#phase);
    }
  }

  take(chunk: Chunk, from: number): number {
    if (!this.#ready()) return NOT_NOW;
    switch (this.#phase) {
      case "reading":
        return this.#readRequest(chunk, from);
      case "exchange":
        return this.#exchange?.requestData(chunk, from, -1) ?? chunk.length;
      case "discard":
        return this.#discard(chunk, from);
      case "linger":
        this.#discarded += chunk.length - from;
        if (this.#discarded > LINGER_BYTES) this.brokenOff();
        return chunk.length;
      case "held":
      case "over":
        return chunk.length;
      default:
        return assertNever(this.#phase);
    }
  }

  #readRequest(chunk: Chunk, from: number): number {
    const requests = this.#requests;
    const wasPartial = requests.partial;
    const end = requests.read(chunk, from);
    if (typeof end === "string") return this.#malformed(chunk, end);
    const request = requests.take();
    if (end < 0 || request === null) {
      if (!wasPartial && requests.partial) this.#patrol.watch("header");
      return chunk.length;
    }
    return this.#judge(request, chunk, end);
  }

  /** Position behind what was taken of the chunk: the head, and the part of the body that went with it. */
  #judge(request: ReadRequest, chunk: Chunk, end: number): number {
    const { judge } = this.ports;
    const { view, refused } = request;
    const dialect = this.#operations.dialectOf(view);
    const operation = this.#operations.of(view, dialect, judge.profile);
    const current: Current = { ...request, dialect, operation };
    this.#current = current;
    if (refused !== null) {
      this.#refuse(judge.refuse(refused.code, refused.why, operation), refused.closing);
      return end;
    }
    const verdict = judge.ask(operation, this);
    switch (verdict.kind) {
      case "permit": {
        this.#begin(current, verdict);
        const exchange = this.#exchange;
        if (exchange === null || exchange.requestDone) return end;
        const taken = end < chunk.length ? exchange.requestData(chunk, end, this.#requests.headFrom) : end;
        exchange.flush();
        return taken;
      }
      case "refusal":
        this.#refuse(verdict, false);
        return end;
      case "held":
        this.#held = verdict;
        this.#enter("held");
        return end;
      default:
        return assertNever(verdict);
    }
  }

  #discard(chunk: Chunk, from: number): number {
    const end = this.#body.read(chunk, from, NOWHERE);
    if (typeof end === "string") return this.#malformed(chunk, end);
    this.#discarded += end - from;
    if (this.#body.done) this.#read();
    else if (this.#discarded > this.#limits.discardBytes) this.#close();
    return end;
  }

  // --- the states -------------------------------------------------------------------------------------------------------

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#patrol.watch(phase === "reading" ? "idle" : phase);
  }

  #read(): void {
    this.#current = null;
    this.#enter("reading");
  }

  #begin(current: Current, permit: Permit<"ask">): void {
    const { head, body } = current;
    this.#enter("exchange");
    const text = requestText(head, this.#requests.authority);
    const exchange = new Exchange(this, { head, text, body, permit });
    if (this.#draining) exchange.closing = true;
    this.#exchange = exchange;
    exchange.start();
  }

  /** Answers the current request with a refusal. Its connection goes on where the rest of the request is known and small. */
  #refuse(refusal: Refusal, closing: boolean): void {
    const current = this.#current;
    const answer = current === null ? problem(refusal, false) : current.dialect.refuse(refusal, current.view);
    const ends = closing || this.#draining || current === null || this.#endsConnection(current);
    if (!this.ports.agent.write(answerText(answer, ends))) this.#agentFull = true;
    if (ends) this.#close();
    else if (current.body.done) this.#read();
    else {
      this.#body = current.body;
      this.#discarded = 0;
      this.#current = null;
      this.#enter("discard");
    }
  }

  #endsConnection({ head, body }: Current): boolean {
    const { block } = head;
    return (
      block.close ||
      head.minor === 0 ||
      block.contentLength - body.length > this.#limits.discardBytes ||
      // The body may come or not come: what follows could be either.
      (block.expectContinue && body.length === 0 && !body.done)
    );
  }

  /** Takes nothing more: answers that are queued go out, and the client is given time to read them and to end its side. */
  #close(): void {
    this.#current = null;
    this.#intake.drop();
    this.#discarded = 0;
    this.#enter("linger");
    this.ports.agent.end();
  }

  #over(): void {
    this.#exchange = null;
    this.#current = null;
    this.#intake.drop();
    this.#enter("over");
  }

  /** The client has ended its side, and everything that it sent before has been dealt with. */
  #endIfEnded(): void {
    if (!this.#agentEnded || !this.#intake.empty) return;
    switch (this.#phase) {
      case "reading":
        if (this.#requests.partial) this.#malformed(null, "truncated");
        else this.#close();
        return;
      case "exchange":
        if (this.#exchange?.requestDone === false) this.#exchange.truncated();
        return;
      case "discard":
        this.#close();
        return;
      case "linger":
      case "held":
      case "over":
        return;
    }
  }

  #malformed(chunk: Chunk | null, fault: Fault): number {
    this.#current = null;
    this.#refuse(this.#refusal(codeOf(fault), fault, null), true);
    return chunk?.length ?? 0;
  }

  #refusal(code: DenialCode, why: string, operation: Operation | null): Refusal {
    return this.ports.judge.refuse(code, why, operation ?? UNREAD);
  }

  #abandon(why: "client-left" | "drain"): void {
    const held = this.#held;
    this.#held = null;
    held?.abandon(why);
  }

  #overdue(what: Overdue): void {
    switch (what) {
      case "header":
        this.#refuse(this.#refusal("header_timeout", "", null), true);
        return;
      case "total":
        this.#exchange?.expire("total_timeout");
        return;
      case "idle":
        if (this.#exchange !== null)
          this.#exchange.expire(this.#exchange.requestDone ? "upstream_timeout" : "idle_timeout");
        else if (this.#phase === "linger") this.brokenOff();
        else this.#close();
        return;
      case "discard":
        this.#close();
        return;
    }
  }
}
