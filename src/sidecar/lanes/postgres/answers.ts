/**
 * What the upstream says, towards the agent: each message is matched with the step that it answers, and passed on as it is, many at
 * once where nothing has to be changed. Rows and COPY data are never held in memory, however large.
 *
 * Fails closed: an answer that nothing asked for ends the session, because from then on nobody knows what answers what.
 */
import type { Agent, Chunk } from "#sidecar/seam/leg.ts";
import type { Judge, Permit } from "#sidecar/seam/verdict.ts";
import type { Act } from "./act.ts";
import {
  BACKEND,
  readCommandTag,
  readNotice,
  readParameterStatus,
  readReady,
  type TransactionStatus,
} from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import type { PostgresLimits } from "./limits.ts";
import type { Step, Steps } from "./steps.ts";

/** What the session makes of answers. */
export interface Answered {
  /** A statement has ended well; its permit is finished a little later. */
  done(act: Act): void;
  /** Stopped at a row limit. */
  suspended(step: Step): void;
  /** The server skips everything up to a Sync; `dropped`, in order, were sent and will not be answered. */
  skipped(dropped: readonly Step[], syncIsSent: boolean): void;
  /** ReadyForQuery. */
  ready(status: TransactionStatus): void;
  copyIn(step: Step): WireFault | null;
  /** Null, or why the session must end. */
  parameter(name: string, value: string): string | null;
  /** The agent can take no more now. */
  agentFull(): void;
  malformed(fault: string): void;
  over: boolean;
}

export interface AnswersOptions {
  readonly agent: Agent;
  readonly judge: Judge;
  readonly connect: Permit<"connect">;
  readonly steps: Steps;
  readonly limits: PostgresLimits;
}

export class Answers implements MessageTaker {
  readonly #owner: Answered;
  readonly #options: AnswersOptions;
  readonly #steps: Steps;
  readonly #reader: MessageReader;
  /** The chunk being read, and what of it is to be passed on as it is. */
  #chunk: Chunk | null = null;
  #from = 0;
  #to = 0;
  /** An act whose end has been heard; finished with the next message, because a Sync may still undo it (deferred constraints). */
  #ended: Act | null = null;
  #endedStatus = "";
  #copyingOut = false;
  #inError = false;

  constructor(owner: Answered, options: AnswersOptions) {
    this.#owner = owner;
    this.#options = options;
    this.#steps = options.steps;
    this.#reader = new MessageReader(this, options.limits.describedBytes);
  }

  /** A message of the upstream's is half on its way to the agent: nothing of ours may be put between. */
  get midway(): boolean {
    return this.#reader.inPieces;
  }

  data(chunk: Chunk): void {
    this.#chunk = chunk;
    this.#from = 0;
    this.#to = 0;
    let at = 0;
    while (at < chunk.length && !this.#owner.over) {
      const next = this.#reader.read(chunk, at);
      if (typeof next === "string") {
        this.#flush();
        this.#chunk = null;
        this.#owner.malformed(next);
        return;
      }
      at = next;
    }
    if (!this.#owner.over) this.#flush();
    this.#chunk = null;
  }

  /** Finishes what has ended; for the session's own end. */
  close(): void {
    this.#finishEnded();
  }

  /** Something of ours, in its turn. */
  say(text: string): void {
    this.#flush();
    if (!this.#options.agent.write(text)) this.#owner.agentFull();
  }

  // --- MessageTaker -------------------------------------------------------------------------------------------------------

  begins(type: number, length: number): "gather" | "pieces" | WireFault {
    const { answerBytes, describedBytes } = this.#options.limits;
    switch (type) {
      case BACKEND.dataRow:
        if (!this.#isRunning()) return "type";
        this.#finishEnded();
        return "pieces";
      case BACKEND.copyData:
        return this.#copyingOut ? "pieces" : "type";
      case BACKEND.noticeResponse:
      case BACKEND.notificationResponse:
        return "pieces";
      case BACKEND.errorResponse:
        return length <= describedBytes ? "gather" : "pieces";
      case BACKEND.rowDescription:
      case BACKEND.parameterDescription:
        return length <= describedBytes ? "gather" : "length";
      default:
        return length <= answerBytes ? "gather" : "length";
    }
  }

  piece(type: number, chunk: Chunk, from: number, to: number, left: number): WireFault | null {
    // The first piece of an error that is too long to be read.
    const begins = type === BACKEND.errorResponse && !this.#inError;
    this.#inError = type === BACKEND.errorResponse && left > 0;
    return begins ? this.#failed("error", chunk, from, to) : this.#pass(chunk, from, to);
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    const first = this.#steps.first;
    const kind = first?.kind;
    switch (type) {
      case BACKEND.dataRow:
      case BACKEND.copyData:
      case BACKEND.noticeResponse:
      case BACKEND.notificationResponse:
        return this.#pass(chunk, from, to);
      case BACKEND.parseComplete:
        return kind === "parse" ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.bindComplete:
        return kind === "bind" ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.closeComplete:
        return kind === "close" ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.noData:
        return kind === "describe" && !first?.parameters ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.parameterDescription:
        if (kind !== "describe" || first === null || !first.parameters) return "type";
        this.#finishEnded();
        first.parameters = false;
        return this.#pass(chunk, from, to);
      case BACKEND.rowDescription:
        if (kind === "describe" && !first?.parameters) return this.#answered(first, chunk, from, to);
        if (kind !== "query" || first?.act === null) return "type";
        this.#finishEnded();
        return this.#pass(chunk, from, to);
      case BACKEND.commandComplete:
        return this.#completed(chunk, from, to);
      case BACKEND.emptyQueryResponse:
        if ((kind !== "execute" && kind !== "query") || first?.act !== null) return "type";
        this.#finishEnded();
        if (kind === "execute") this.#steps.shift();
        return this.#pass(chunk, from, to);
      case BACKEND.portalSuspended:
        if (kind !== "execute" || first === null || first.act === null) return "type";
        this.#finishEnded();
        this.#pass(chunk, from, to);
        this.#flush();
        this.#steps.shift();
        this.#owner.suspended(first);
        return null;
      case BACKEND.errorResponse: {
        const fields = readNotice(chunk.latin1(from + 5, to));
        return fields === null ? "text" : this.#failed(fields.get("C") ?? "error", chunk, from, to);
      }
      case BACKEND.readyForQuery:
        return this.#ready(chunk, from, to);
      case BACKEND.parameterStatus: {
        const read = readParameterStatus(chunk.latin1(from + 5, to));
        if (read === null) return "text";
        const why = this.#owner.parameter(read.name, read.value);
        return why === null ? this.#pass(chunk, from, to) : null;
      }
      case BACKEND.copyInResponse: {
        if ((kind !== "execute" && kind !== "query") || first === null || first.act === null) return "type";
        this.#finishEnded();
        return this.#owner.copyIn(first) ?? this.#pass(chunk, from, to);
      }
      case BACKEND.copyOutResponse:
        if ((kind !== "execute" && kind !== "query") || first?.act === null) return "type";
        this.#finishEnded();
        this.#copyingOut = true;
        return this.#pass(chunk, from, to);
      case BACKEND.copyDone:
        if (!this.#copyingOut) return "type";
        this.#copyingOut = false;
        return this.#pass(chunk, from, to);
      default:
        return "type";
    }
  }

  // --- single answers -----------------------------------------------------------------------------------------------------

  #isRunning(): boolean {
    const first = this.#steps.first;
    return first !== null && (first.kind === "execute" || first.kind === "query") && first.act !== null;
  }

  /** The first step is done. */
  #answered(step: Step | null, chunk: Chunk, from: number, to: number): null {
    this.#finishEnded();
    this.#steps.shift();
    if (step?.hidden === true) return null;
    return this.#pass(chunk, from, to);
  }

  #completed(chunk: Chunk, from: number, to: number): WireFault | null {
    const first = this.#steps.first;
    if (first === null || (first.kind !== "execute" && first.kind !== "query")) return "type";
    const { act } = first;
    // More answers than statements: what ran was not what was read.
    if (act === null || first.failed) return "type";
    const tag = readCommandTag(chunk.latin1(from + 5, to));
    if (tag === null) return "text";
    this.#finishEnded();
    this.#copyingOut = false;
    first.done++;
    if (first.kind === "execute") this.#steps.shift();
    this.#ended = act;
    this.#endedStatus = tag;
    this.#owner.done(act);
    return this.#owner.over ? null : this.#pass(chunk, from, to);
  }

  #failed(state: string, chunk: Chunk, from: number, to: number): WireFault | null {
    const first = this.#steps.first;
    this.#copyingOut = false;
    if (first === null) return this.#pass(chunk, from, to);
    switch (first.kind) {
      case "sync":
        // At commit: what had ended well did not happen.
        if (this.#ended !== null) this.#endedStatus = state;
        return this.#pass(chunk, from, to);
      case "query":
        this.#finishEnded();
        first.failed = true;
        this.#pass(chunk, from, to);
        this.#flush();
        this.#finishActs(first, state);
        return null;
      default: {
        this.#finishEnded();
        if (first.kind === "poison") this.say(first.text);
        else this.#pass(chunk, from, to);
        this.#flush();
        const dropped = this.#steps.takeUntil((step) => step.kind === "sync");
        for (const step of dropped) this.#finishActs(step, step === first ? state : "skipped");
        this.#owner.skipped(dropped, this.#steps.length > 0);
        return null;
      }
    }
  }

  #finishActs(step: Step, status: string): void {
    for (let i = step.done; i < step.acts.length; i++)
      step.acts[i]?.finish(this.#options.judge, i === step.done ? status : "skipped");
  }

  #ready(chunk: Chunk, from: number, to: number): WireFault | null {
    const status = readReady(chunk.latin1(from + 5, to));
    const first = this.#steps.first;
    if (status === null) return "type";
    if (first === null || (first.kind !== "sync" && first.kind !== "query")) return "type";
    if (!first.hidden) this.#pass(chunk, from, to);
    this.#flush();
    this.#finishEnded();
    this.#finishActs(first, "unanswered");
    this.#steps.shift();
    this.#owner.ready(status);
    return null;
  }

  #finishEnded(): void {
    const act = this.#ended;
    if (act === null) return;
    this.#flush();
    this.#ended = null;
    act.finish(this.#options.judge, this.#endedStatus);
  }

  // --- bytes --------------------------------------------------------------------------------------------------------------

  #pass(chunk: Chunk, from: number, to: number): null {
    if (chunk !== this.#chunk) {
      this.#flush();
      this.#forward(chunk, from, to);
    } else if (this.#to === from && this.#from < this.#to) this.#to = to;
    else {
      this.#flush();
      this.#from = from;
      this.#to = to;
    }
    return null;
  }

  #flush(): void {
    const chunk = this.#chunk;
    if (chunk === null || this.#from === this.#to) return;
    const from = this.#from;
    const to = this.#to;
    this.#from = 0;
    this.#to = 0;
    this.#forward(chunk, from, to);
  }

  #forward(chunk: Chunk, from: number, to: number): void {
    const { agent, connect } = this.#options;
    const act = this.#ended ?? this.#steps.first?.act ?? null;
    const permit = act === null || act.finished ? connect : act.permit;
    if (!agent.forward(permit, chunk, from, to)) this.#owner.agentFull();
  }
}
