/**
 * What the upstream says, towards the agent: each message is matched with the step that it answers, and passed on as it is, many at
 * once where nothing has to be changed. Rows and COPY data are never held in memory, however large, unless they are masked.
 *
 * Fails closed: an answer that nothing asked for ends the session, because from then on nobody knows what answers what.
 */
import type { Chunk } from "#sidecar/seam/leg.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import type { Act } from "./act.ts";
import {
  BACKEND,
  readCommandTag,
  readDataRow,
  readNotice,
  readParameterStatus,
  readReady,
  type TransactionStatus,
} from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { MaskedRows } from "./masked-rows.ts";
import type { Masks } from "./masks.ts";
import type { Step, Steps } from "./steps.ts";
import type { Talk } from "./talk.ts";

/** What the session makes of answers. */
export interface Answered {
  /** A statement has ended well; its permit is finished a little later. */
  done(act: Act): void;
  /** Stopped at a row limit. */
  stopped(step: Step): void;
  closed(step: Step): void;
  /** The server skips everything up to a Sync; `dropped`, in order, were sent and will not be answered. */
  skipped(dropped: readonly Step[], syncIsSent: boolean): void;
  /** A statement of a Query has failed. */
  failed(step: Step): void;
  ready(step: Step, status: TransactionStatus): void;
  copyIn(step: Step): WireFault | null;
  /** Null, or why the session has ended. */
  parameter(name: string, value: string): string | null;
  malformed(fault: string): void;
}

/** Rows of our own queries: names and numbers of a catalogue. */
const MAX_COLLECTED = 65_536;

export class Answers implements MessageTaker {
  readonly #owner: Answered;
  readonly #talk: Talk;
  readonly #masks: Masks;
  readonly #steps: Steps;
  readonly #reader: MessageReader;
  /** Rows with masks, on their way to the agent. */
  readonly #rows: MaskedRows;
  /** The chunk being read, and what of it is to be passed on as it is. */
  #chunk: Chunk | null = null;
  #from = 0;
  #to = 0;
  /** An act whose end has been heard; finished with the next message, because a Sync may still undo it (deferred constraints). */
  #ended: Act | null = null;
  #endedStatus = "";
  #copyingOut = false;
  /** In the middle of an error that is too long to be read. */
  #inError = false;

  constructor(owner: Answered, talk: Talk, masks: Masks) {
    this.#owner = owner;
    this.#talk = talk;
    this.#masks = masks;
    this.#steps = talk.steps;
    this.#rows = new MaskedRows(talk);
    this.#reader = new MessageReader(this, Math.max(talk.limits.describedBytes, talk.limits.rowBytes));
  }

  /** A message of the upstream's is half on its way to the agent: nothing of ours may be put between. */
  get midway(): boolean {
    return this.#reader.inPieces;
  }

  /** A message has begun that is not all there. */
  get partly(): boolean {
    return this.#reader.midway;
  }

  data(chunk: Chunk): void {
    this.#chunk = chunk;
    this.#from = 0;
    this.#to = 0;
    let at = 0;
    while (at < chunk.length && !this.#talk.over) {
      const next = this.#reader.read(chunk, at);
      if (typeof next === "string") {
        this.#flush();
        this.#chunk = null;
        this.#owner.malformed(next);
        return;
      }
      at = next;
    }
    if (!this.#talk.over) this.#flush();
    this.#chunk = null;
  }

  /** Finishes what has ended; for the session's own end. */
  close(): void {
    this.#finishEnded();
  }

  // --- MessageTaker -------------------------------------------------------------------------------------------------------

  begins(type: number, length: number): "gather" | "pieces" | WireFault {
    const { answerBytes, describedBytes, rowBytes } = this.#talk.limits;
    const first = this.#steps.first;
    switch (type) {
      case BACKEND.dataRow:
        if (first === null || !isRunning(first)) return "type";
        this.#finishEnded();
        if (first.collecting !== null) return length <= MAX_COLLECTED ? "gather" : "length";
        if (first.mask === null) return "pieces";
        return length <= rowBytes ? "gather" : "length";
      case BACKEND.copyData:
        if (!this.#copyingOut) return "type";
        if (!this.#masks.copying) return "pieces";
        return length <= rowBytes ? "gather" : "length";
      case BACKEND.notificationResponse:
        if (!this.#masks.listening) return "pieces";
        return length <= answerBytes ? "gather" : "length";
      case BACKEND.noticeResponse:
      case BACKEND.errorResponse:
        if (length <= describedBytes) return "gather";
        return this.#masks.speaking ? "length" : "pieces";
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
    return begins ? this.#failed("error", null, chunk, from, to) : this.#pass(chunk, from, to);
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    const first = this.#steps.first;
    switch (type) {
      case BACKEND.dataRow:
        return this.#row(first, chunk, from, to);
      case BACKEND.copyData:
        return this.#masks.copying ? this.#maskedCopy(chunk, from, to) : this.#pass(chunk, from, to);
      case BACKEND.notificationResponse:
        return this.#notification(chunk, from, to);
      case BACKEND.noticeResponse:
        return this.#notice(first, chunk, from, to);
      case BACKEND.parseComplete:
        return first?.kind === "parse" ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.bindComplete:
        return first?.kind === "bind" ? this.#answered(first, chunk, from, to) : "type";
      case BACKEND.closeComplete:
        if (first?.kind !== "close") return "type";
        this.#owner.closed(first);
        return this.#answered(first, chunk, from, to);
      case BACKEND.noData:
        if (first?.kind !== "describe" || first.parameters) return "type";
        return this.#answered(first, chunk, from, to);
      case BACKEND.parameterDescription:
        if (first?.kind !== "describe" || !first.parameters) return "type";
        this.#finishEnded();
        first.parameters = false;
        return this.#pass(chunk, from, to);
      case BACKEND.rowDescription:
        return this.#described(first, chunk, from, to);
      case BACKEND.commandComplete:
        return this.#completed(first, chunk, from, to);
      case BACKEND.emptyQueryResponse:
        if (first === null || (first.kind !== "execute" && first.kind !== "query") || first.act !== null) return "type";
        this.#finishEnded();
        if (first.kind === "execute") this.#steps.shift();
        return this.#pass(chunk, from, to);
      case BACKEND.portalSuspended:
        if (first === null || first.kind !== "execute" || first.act === null) return "type";
        this.#finishEnded();
        this.#pass(chunk, from, to);
        this.#flush();
        this.#steps.shift();
        this.#owner.stopped(first);
        return null;
      case BACKEND.errorResponse: {
        const fields = readNotice(chunk.latin1(from + 5, to));
        return fields === null ? "text" : this.#failed(fields.get("C") ?? "error", fields, chunk, from, to);
      }
      case BACKEND.readyForQuery:
        return this.#ready(first, chunk, from, to);
      case BACKEND.parameterStatus: {
        const read = readParameterStatus(chunk.latin1(from + 5, to));
        if (read === null) return "text";
        return this.#owner.parameter(read.name, read.value) === null ? this.#pass(chunk, from, to) : null;
      }
      case BACKEND.copyInResponse: {
        if (first === null || !isRunning(first)) return "type";
        this.#finishEnded();
        return this.#owner.copyIn(first) ?? this.#pass(chunk, from, to);
      }
      case BACKEND.copyOutResponse:
        return this.#copyOut(first, chunk, from, to);
      case BACKEND.copyDone:
        if (!this.#copyingOut) return "type";
        this.#endCopy();
        return this.#pass(chunk, from, to);
      default:
        return "type";
    }
  }

  // --- single answers -----------------------------------------------------------------------------------------------------

  /** The first step is done. */
  #answered(step: Step, chunk: Chunk, from: number, to: number): null {
    this.#finishEnded();
    this.#steps.shift();
    return step.hidden ? null : this.#pass(chunk, from, to);
  }

  #described(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    if (first?.kind === "describe" && !first.parameters) {
      const execute = first.describes;
      if (execute?.act != null) {
        const fault = this.#masks.described(execute, chunk.latin1(from + 5, to));
        if (fault !== null) return fault;
      }
      return this.#answered(first, chunk, from, to);
    }
    if (first === null || first.kind !== "query" || first.act === null) return "type";
    this.#finishEnded();
    const fault = this.#masks.concern(first) ? this.#masks.described(first, chunk.latin1(from + 5, to)) : null;
    return fault ?? this.#pass(chunk, from, to);
  }

  #row(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    if (first === null) return "type";
    if (first.collecting !== null) {
      const row = readDataRow(chunk.latin1(from + 5, to));
      if (row === null || first.collecting.rows.length >= MAX_COLLECTED) return "count";
      first.collecting.rows.push(row);
      return null;
    }
    const { mask, act } = first;
    if (mask === null || act === null) return this.#pass(chunk, from, to);
    this.#addRow(act.permit, BACKEND.dataRow, mask.row(chunk.view(from + 5, to)));
    return null;
  }

  #notice(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    if (first?.hidden === true) return null;
    if (!this.#masks.speaking) return this.#pass(chunk, from, to);
    const fields = readNotice(chunk.latin1(from + 5, to));
    if (fields === null) return "text";
    const instead = this.#masks.notice("N", fields);
    return instead === null ? this.#pass(chunk, from, to) : this.#say(this.#charged(), instead);
  }

  #notification(chunk: Chunk, from: number, to: number): WireFault | null {
    if (!this.#masks.listening) return this.#pass(chunk, from, to);
    const masked = this.#masks.notification(chunk.latin1(from + 5, to));
    return masked === null ? "text" : this.#say(this.#talk.ports.connect, masked);
  }

  #completed(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    if (first === null || (first.kind !== "execute" && first.kind !== "query")) return "type";
    if (first.collecting !== null) {
      this.#finishEnded();
      this.#steps.shift();
      first.collecting.complete();
      return null;
    }
    const { act } = first;
    // More answers than statements: what ran was not what was read.
    if (act === null || first.failed) return "type";
    const tag = readCommandTag(chunk.latin1(from + 5, to));
    if (tag === null) return "text";
    this.#finishEnded();
    this.#endCopy();
    if (first.mask !== null) act.masked = first.mask.masked;
    first.mask = null;
    first.done++;
    if (first.kind === "execute") this.#steps.shift();
    this.#ended = act;
    this.#endedStatus = tag;
    this.#masks.listens(act);
    this.#owner.done(act);
    return this.#talk.over ? null : this.#pass(chunk, from, to);
  }

  #failed(
    state: string,
    fields: ReadonlyMap<string, string> | null,
    chunk: Chunk,
    from: number,
    to: number,
  ): WireFault | null {
    const first = this.#steps.first;
    this.#endCopy();
    const tell = (): null => {
      const instead = fields === null ? null : this.#masks.notice("E", fields);
      return instead === null ? this.#pass(chunk, from, to) : this.#say(this.#charged(), instead);
    };
    switch (first?.kind) {
      case undefined:
        return this.#pass(chunk, from, to);
      case "sync":
        // At commit: what had ended well did not happen.
        if (this.#ended !== null) this.#endedStatus = state;
        if (!first?.hidden) tell();
        return null;
      case "query":
        this.#finishEnded();
        tell();
        this.#flush();
        first.failed = true;
        this.#finishActs(first, state);
        this.#owner.failed(first);
        return null;
      default: {
        this.#finishEnded();
        const instead = this.#instead(first);
        if (instead === undefined) tell();
        else if (instead !== null) this.#say(this.#talk.ports.connect, instead);
        this.#flush();
        const dropped = this.#steps.takeUntil((step) => step.kind === "sync");
        for (const step of dropped) {
          this.#finishActs(step, step === first ? state : "skipped");
          step.collecting?.failed();
        }
        this.#owner.skipped(dropped, this.#steps.length > 0);
        return null;
      }
    }
  }

  /** What the agent is told in the place of an error that we provoked or caused; null: nothing; undefined: it is the agent's own. */
  #instead(first: Step | null): string | null | undefined {
    if (first?.kind === "poison") return first.text;
    // What was parsed again or described for our sake fails as the agent's own message would have.
    return first?.collecting == null ? undefined : first.collecting.failed();
  }

  #finishActs(step: Step, status: string): void {
    for (let i = step.done; i < step.acts.length; i++)
      step.acts[i]?.finish(this.#talk.ports.judge, i === step.done ? status : "skipped");
  }

  #ready(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    const status = readReady(chunk.latin1(from + 5, to));
    if (status === null || first === null || (first.kind !== "sync" && first.kind !== "query")) return "type";
    if (!first.hidden) this.#pass(chunk, from, to);
    this.#flush();
    this.#finishEnded();
    this.#finishActs(first, "unanswered");
    this.#steps.shift();
    this.#owner.ready(first, status);
    first.synced?.();
    return null;
  }

  // --- COPY … TO STDOUT ---------------------------------------------------------------------------------------------------

  #copyOut(first: Step | null, chunk: Chunk, from: number, to: number): WireFault | null {
    if (first === null || !isRunning(first)) return "type";
    this.#finishEnded();
    this.#copyingOut = true;
    const fault = this.#masks.concern(first) ? this.#masks.copyBegins(first, chunk.latin1(from + 5, to)) : null;
    return fault ?? this.#pass(chunk, from, to);
  }

  #maskedCopy(chunk: Chunk, from: number, to: number): WireFault | null {
    const data = this.#masks.copyData(chunk.view(from + 5, to));
    if (data === null) return "count";
    this.#addRow(this.#charged(), BACKEND.copyData, data);
    return null;
  }

  #endCopy(): void {
    if (!this.#copyingOut) return;
    this.#copyingOut = false;
    this.#masks.copyEnds();
  }

  // --- bytes --------------------------------------------------------------------------------------------------------------

  #finishEnded(): void {
    const act = this.#ended;
    if (act === null) return;
    this.#flush();
    this.#ended = null;
    act.finish(this.#talk.ports.judge, this.#endedStatus);
  }

  #charged(): Permit {
    const act = this.#ended ?? this.#steps.first?.act ?? null;
    return act === null || act.finished ? this.#talk.ports.connect : act.permit;
  }

  /** Something that was made here, in its turn. */
  #say(permit: Permit, bytes: Uint8Array | string): null {
    this.#flush();
    permit.bytesDown += bytes.length;
    if (!this.#talk.ports.agent.write(bytes)) this.#talk.agentFull();
    return null;
  }

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

  /** Behind whatever is to be passed on as it is. */
  #addRow(permit: Permit, type: number, body: Uint8Array): void {
    if (this.#from !== this.#to) this.#flush();
    this.#rows.add(permit, type, body);
  }

  /** Rows first: they came before what is passed on as it is. */
  #flush(): void {
    this.#rows.flush();
    const chunk = this.#chunk;
    if (chunk === null || this.#from === this.#to) return;
    const from = this.#from;
    const to = this.#to;
    this.#from = 0;
    this.#to = 0;
    this.#forward(chunk, from, to);
  }

  /** A permit with masks is none for bytes as they are: what is passed on has no rows in it, and is housekeeping. */
  #forward(chunk: Chunk, from: number, to: number): void {
    const { agent, connect } = this.#talk.ports;
    const permit = this.#charged();
    const plain = permit.decision.mask.length === 0 ? permit : connect;
    if (!agent.forward(plain, chunk, from, to)) this.#talk.agentFull();
  }
}

function isRunning(step: Step): boolean {
  return (step.kind === "execute" || step.kind === "query") && (step.act !== null || step.collecting !== null);
}
