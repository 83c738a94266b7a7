/**
 * A session after its start-up: what the agent says is read, judged where it would act, and sent under its permit.
 *
 *   Parse, Bind, Describe, Close ─▶ pending ─▶ judged with their Execute (or by themselves at Flush and Sync) ─▶ sent
 *   Query ─▶ each of its statements judged ─▶ sent whole
 *   refused ─▶ ErrorResponse, and what follows is skipped up to Sync, as the server does it
 *
 * One statement is under way at a time, unless the one before only reads: until it has ended, nobody knows how the server would read
 * the next one (THREATS Q2). After a statement that nobody understood, no name upstream is taken for what it was (Q1).
 */
import type { Profile } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, Upstream } from "#sidecar/seam/leg.ts";
import type { Held, Operation, Permit, Refusal, Waiter } from "#sidecar/seam/verdict.ts";
import { Act } from "./act.ts";
import { type Answered, Answers } from "./answers.ts";
import { noticeText, readyText, type TransactionStatus } from "./codec/backend.ts";
import { isFault, type WireFault } from "./codec/fault.ts";
import {
  bindText,
  closeText,
  describeText,
  executeText,
  FLUSH,
  FRONTEND,
  type Named,
  parseText,
  queryText,
  readBind,
  readExecute,
  readNamed,
  readParameters,
  readParse,
  readQuery,
  SYNC,
  TERMINATE,
} from "./codec/frontend.ts";
import { MessageReader, type MessageTaker } from "./codec/reader.ts";
import { fromUtf8, isLexedAlike, utf8 } from "./codec/text.ts";
import type { Intake, Taker } from "./intake.ts";
import type { PostgresLimits } from "./limits.ts";
import { Names, type Portal, type Prepared, UpstreamNames } from "./names.ts";
import { type Judged, OperationWriter, parametersText, type Redact, type Written } from "./operations.ts";
import { errorText, refusalText, serverErrorText } from "./refuse.ts";
import { type Identity, objection, reported, type SettingObjection } from "./settings.ts";
import type { SessionEffect, SqlReader, SqlReading, Statement } from "./sql/reading.ts";
import { Step, Steps } from "./steps.ts";

export interface ConversationOptions {
  readonly ports: Ports;
  readonly limits: PostgresLimits;
  readonly reader: SqlReader;
  readonly redact: Redact;
  readonly random: (bytes: number) => Uint8Array;
  readonly intake: Intake;
  readonly upstream: Upstream;
  readonly identity: Identity;
  readonly status: TransactionStatus;
  /** The session is over; both legs are dealt with. */
  readonly ended: () => void;
}

interface Waiting {
  readonly held: Held;
  /** Statements of the same Query that were permitted already, and not sent. */
  readonly before: readonly Act[];
  readonly goOn: (verdict: Permit<"ask"> | Refusal) => void;
}

/** What one statement amounts to when it is judged; or why it is refused whatever a policy says. */
type Question =
  | { readonly kind: "judged"; readonly judged: Judged; readonly extra: string }
  | { readonly kind: "refused"; readonly objection: SettingObjection; readonly judged: Judged };

/** A held statement's client hears of it this often, so that no limit between takes the silence for an end. */
const KEEPALIVE_MS = 15_000;

export class Conversation implements Answered, Taker, MessageTaker, Waiter<"ask"> {
  over = false;
  readonly #options: ConversationOptions;
  readonly #ports: Ports;
  readonly #limits: PostgresLimits;
  readonly #sql: SqlReader;
  readonly #upstream: Upstream;
  readonly #steps = new Steps();
  readonly #answers: Answers;
  readonly #messages: MessageReader;
  readonly #writer: OperationWriter;
  readonly #upstreamNames: UpstreamNames;
  readonly #readOnly: boolean;

  readonly #statements: Names<Prepared>;
  readonly #portals: Names<Portal<Act>>;
  /** Names that PREPARE gave; they are the server's own. */
  readonly #sqlNames: Names<Prepared>;
  #generation = 0;
  readonly #written = new WeakMap<Prepared, Written>();

  /** Messages of the batch that wait for their Execute, Flush or Sync. */
  #pending: Step[] = [];
  #pendingBytes = 0;
  /** Something of the present batch has been sent. */
  #begun = false;
  /** The server answers what it was sent so far without a Sync or a Flush. */
  #hurried = true;
  /** The rest of the batch, up to its Sync, is thrown away. */
  #skipping = false;
  /** The batch was refused before anything of it was sent: its Sync is answered by us. */
  #local = false;
  /** A Sync whose batch changed names, until it is answered. */
  #changing: Step | null = null;
  #changed = false;

  #status: TransactionStatus;
  /** Statements under way that do more than read. */
  #impure = 0;
  /** A statement that nobody understood has run since the last ReadyForQuery: settings may have changed without a word. */
  #obscured = false;
  #copying: Act | null = null;
  #held: Waiting | null = null;
  #loading = false;
  #unreadable = false;
  #upstreamPaused = false;
  #draining = false;
  #listening = false;

  constructor(options: ConversationOptions) {
    const { ports, limits } = options;
    this.#options = options;
    this.#ports = ports;
    this.#limits = limits;
    this.#sql = options.reader;
    this.#upstream = options.upstream;
    this.#status = options.status;
    this.#readOnly = ports.peer.target.readOnly === true;
    const prepared = {
      count: limits.statements,
      bytes: limits.statementBytes,
      weigh: ({ text, types }: Prepared) => text.length + types.length,
    };
    this.#statements = new Names(prepared);
    this.#sqlNames = new Names(prepared);
    this.#portals = new Names({
      count: limits.portals,
      bytes: limits.statementBytes,
      weigh: ({ rest }: Portal<Act>) => rest.length,
    });
    this.#upstreamNames = new UpstreamNames(options.random);
    this.#writer = new OperationWriter(
      fromUtf8(options.identity.user) ?? "",
      fromUtf8(options.identity.database) ?? "",
      options.redact,
    );
    this.#messages = new MessageReader(this, Math.max(limits.textBytes, limits.bindBytes) + 64);
    this.#answers = new Answers(this, {
      agent: ports.agent,
      judge: ports.judge,
      connect: ports.connect,
      steps: this.#steps,
      limits,
    });
  }

  // --- what the session says ------------------------------------------------------------------------------------------------

  /** Idle: nothing is under way, nothing is held. */
  get idle(): boolean {
    return this.#steps.length === 0 && this.#held === null && this.#copying === null;
  }

  get inTransaction(): boolean {
    return this.#status !== "I";
  }

  /** It may wait for notifications for as long as it likes. */
  get listening(): boolean {
    return this.#listening;
  }

  upstreamData(chunk: Chunk): void {
    this.#answers.data(chunk);
    if (!this.over) this.#options.intake.pump();
  }

  agentDrained(): void {
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.#upstream.resume();
  }

  /** The agent has left without a Terminate; to the server it is the same. */
  agentEnded(): void {
    if (this.over) return;
    this.#close("client-left");
    this.#upstream.end();
    this.#upstream.release(false);
    this.#ports.agent.end();
  }

  agentFailed(): void {
    if (this.over) return;
    this.#close("client-left");
    this.#upstream.reset();
  }

  /** The upstream ended or broke off. What it said before has been passed on. */
  upstreamGone(why: string, ended: boolean): void {
    if (this.over) return;
    const midway = this.#answers.midway;
    const underWay = !this.idle;
    this.#close(why);
    if (ended && !midway && !underWay) this.#ports.agent.end();
    else this.#ports.agent.reset();
    this.#upstream.reset();
  }

  revised(): void {
    const { judge } = this.#ports;
    const profile = judge.profile;
    for (const act of this.#open()) {
      if (act.finished || act.profile === profile) continue;
      const verdict = judge.ask(act.operation, this);
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
    if (this.#held !== null) this.#abandon("drain");
    if (this.idle && !this.inTransaction && !this.#begun)
      this.#fatal("draining", "57P01", "the gateway is shutting down");
  }

  expire(code: "idle_timeout" | "total_timeout"): void {
    if (code === "idle_timeout") this.#fatal(code, "57P05", "nothing was said for too long");
    else this.#fatal(code, "57014", "the statement took longer than the target permits");
  }

  settled(held: Held, verdict: Permit<"ask"> | Refusal): void {
    const waiting = this.#held;
    if (waiting === null || waiting.held !== held) {
      // Its client has left: what was permitted is not done.
      if (verdict.kind === "permit")
        this.#ports.judge.finish(verdict, { status: "client-left", masked: 0, attempts: 0 });
      return;
    }
    this.#held = null;
    waiting.goOn(verdict);
    if (!this.over) this.#options.intake.pump();
  }

  // --- Taker: the agent's messages, in order ----------------------------------------------------------------------------------

  take(chunk: Chunk, from: number): number {
    if (this.over) return chunk.length;
    if (!this.#messages.midway && !this.#mayTake(chunk.at(from))) return from;
    const next = this.#messages.read(chunk, from);
    if (typeof next !== "string") return next;
    this.#ports.judge.refuse("protocol_violation", next, null);
    this.#fatal("protocol_violation", "08P01", `the message is malformed (${next})`);
    return chunk.length;
  }

  /** Whether a message of this type can be looked at now; if not, what it waits for is under way. */
  #mayTake(type: number): boolean {
    if (this.#held !== null || this.#loading) return false;
    if (this.#skipping || this.#copying !== null) return true;
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.functionCall:
        // Those do not belong to a batch: what was begun is brought to an end first.
        if (this.#pending.length > 0) this.#sendPending(null);
        if (this.#skipping) return true;
        return (this.#steps.length === 0 || this.#hurry()) && (type !== FRONTEND.query || this.#readable());
      case FRONTEND.parse:
        return this.#quiet() && this.#readable();
      case FRONTEND.bind:
      case FRONTEND.describe:
      case FRONTEND.execute:
      case FRONTEND.close:
        return this.#quiet();
      case FRONTEND.sync:
        // A COPY that may begin swallows it; a held back Sync would be lost on the way.
        return this.#impure === 0 || !this.#mayCopyIn() || this.#hurry();
      default:
        return true;
    }
  }

  #quiet(): boolean {
    if (this.#changing !== null) return false;
    return (this.#impure === 0 && this.#steps.length < this.#limits.awaited) || this.#hurry();
  }

  #mayCopyIn(): boolean {
    for (const step of this.#steps)
      if (step.act !== null && (step.act.opaque || step.act.effects.some((e) => e.kind === "copy-in"))) return true;
    return false;
  }

  /** Lets the server answer what it has, although the client has not asked for it yet. */
  #hurry(): false {
    if (!this.#hurried && this.#steps.length > 0) {
      this.#hurried = true;
      this.#upstream.write(this.#ports.connect, FLUSH);
    }
    return false;
  }

  /** Whether the reader of SQL is there; loads it where it is not. */
  #readable(): boolean {
    if (this.#sql.loaded || this.#unreadable) return true;
    this.#loading = true;
    const goOn = (unreadable: boolean): void =>
      this.#ports.committed(() => {
        this.#loading = false;
        this.#unreadable = unreadable;
        if (!this.over) this.#options.intake.pump();
      });
    this.#sql.load().then(
      () => goOn(false),
      () => goOn(true),
    );
    return false;
  }

  // --- MessageTaker -----------------------------------------------------------------------------------------------------------

  begins(type: number, length: number): "gather" | "pieces" | WireFault {
    const { textBytes, bindBytes, smallBytes } = this.#limits;
    switch (type) {
      case FRONTEND.query:
      case FRONTEND.parse:
        return this.#skipping || length > textBytes ? "pieces" : "gather";
      case FRONTEND.bind:
        return this.#skipping || length > bindBytes ? "pieces" : "gather";
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

  /** Too long to be judged, COPY data, or skipped. */
  piece(type: number, chunk: Chunk, from: number, to: number, left: number): WireFault | null {
    if (type === FRONTEND.copyData) {
      this.#copyData(chunk, from, to);
      return null;
    }
    if (left > 0 || this.#skipping) return null;
    if (this.#copying !== null) return "type";
    return type === FRONTEND.functionCall ? this.#functionCall() : this.#tooLong(type);
  }

  whole(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    if (this.#copying !== null) return this.#whileCopying(type, chunk, from, to);
    if (this.#skipping && type !== FRONTEND.sync && type !== FRONTEND.terminate) return null;
    const length = to - from;
    switch (type) {
      case FRONTEND.query:
        if (length > this.#limits.textBytes) return this.#tooLong(type);
        return this.#query(chunk.latin1(from + 5, to));
      case FRONTEND.parse:
        if (length > this.#limits.textBytes) return this.#tooLong(type);
        return this.#parse(chunk.latin1(from + 5, to));
      case FRONTEND.bind:
        if (length > this.#limits.bindBytes) return this.#tooLong(type);
        return this.#bind(chunk.latin1(from + 5, to));
      case FRONTEND.describe:
        return this.#describe(chunk.latin1(from + 5, to));
      case FRONTEND.execute:
        return this.#execute(chunk.latin1(from + 5, to));
      case FRONTEND.close:
        return this.#closeNamed(chunk.latin1(from + 5, to));
      case FRONTEND.sync:
        this.#sync();
        return null;
      case FRONTEND.flush:
        this.#sendPending(null);
        if (this.#begun && !this.#skipping) {
          this.#hurried = true;
          this.#write(this.#ports.connect, FLUSH);
        }
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

  // --- simple query -----------------------------------------------------------------------------------------------------------

  #query(body: string): WireFault | null {
    const read = readQuery(body);
    if (isFault(read)) return read;
    const text = fromUtf8(read.text);
    if (text === null) {
      this.#refuseQuery(this.#ports.judge.refuse("not_utf8", "", null));
      return null;
    }
    if (this.#unreadable) {
      this.#refuseQuery(this.#ports.judge.refuse("reader_unavailable", "", null));
      return null;
    }
    const reading = this.#sql.read(text);
    const { statements } = reading;
    if (statements.length > this.#limits.perQuery) {
      this.#refuseQuery(this.#ports.judge.refuse("statement_too_large", `${statements.length} statements`, null));
      return null;
    }
    // The server drops the unnamed ones with every Query.
    this.#statements.delete("");
    this.#portals.delete("");
    if (reading.complete && statements.length === 0) this.#sendQuery("", []);
    else this.#askQuery(read.text, this.#questionsOf(read.text, text, reading), []);
    return null;
  }

  /** One question for each statement, in order; later ones see the names that earlier ones PREPARE. */
  #questionsOf(
    bytes: string,
    text: string,
    reading: SqlReading,
  ): (Question & { readonly effects: readonly SessionEffect[] })[] {
    const { statements } = reading;
    if (statements.length === 0) return [{ ...this.#unread(text, reading), effects: [] }];
    const prepared = new Map<string, Prepared | null>();
    return statements.map((statement) => {
      const own = statements.length === 1 ? text : (fromUtf8(bytes.slice(statement.from, statement.to)) ?? text);
      const question = this.#questionOf(statement, own, reading, prepared);
      for (const effect of statement.effects) {
        if (effect.kind === "prepare") prepared.set(effect.name, this.#preparedBySql(effect.text));
        else if (effect.kind === "deallocate") {
          if (effect.name === null) for (const name of prepared.keys()) prepared.set(name, null);
          else prepared.set(effect.name, null);
        } else if (effect.kind === "discard") for (const name of prepared.keys()) prepared.set(name, null);
      }
      return { ...question, effects: statement.effects };
    });
  }

  #askQuery(
    bytes: string,
    questions: readonly (Question & { readonly effects: readonly SessionEffect[] })[],
    acts: Act[],
  ): void {
    const question = questions[acts.length];
    if (question === undefined) {
      this.#sendQuery(bytes, acts);
      return;
    }
    const then = (verdict: Permit<"ask"> | Refusal, operation: Operation): void => {
      if (verdict.kind === "refusal") {
        for (const act of acts) act.finish(this.#ports.judge, "not-sent");
        this.#refuseQuery(verdict);
        return;
      }
      acts.push(new Act(verdict, operation, question.judged.statements, question.effects, this.#ports.judge.profile));
      this.#askQuery(bytes, questions, acts);
    };
    const profile = this.#ports.judge.profile;
    this.#ask(question, this.#writer.write(question.judged, profile), "", then, acts);
  }

  #sendQuery(bytes: string, acts: readonly Act[]): void {
    const step = new Step("query");
    step.acts = acts;
    this.#steps.push(step);
    for (const act of acts) this.#starts(act);
    this.#begun = false;
    this.#hurried = true;
    this.#write(acts[0]?.permit ?? this.#ports.connect, queryText(bytes));
  }

  /** Nothing is awaited. Inside a transaction the server must know that a statement failed, as it would if it had refused it itself. */
  #refuseQuery(refusal: Refusal): void {
    const text = refusalText(refusal);
    if (this.#status === "I" && !this.#begun && !this.#answers.midway) {
      this.#tell(text + readyText("I"));
      this.#endIfDraining();
      return;
    }
    const step = new Step("poison");
    step.text = text;
    this.#steps.push(step);
    this.#steps.push(new Step("sync"));
    this.#begun = false;
    this.#hurried = true;
    this.#write(this.#ports.connect, executeText(this.#upstreamNames.next(), 0) + SYNC);
  }

  // --- extended query ---------------------------------------------------------------------------------------------------------

  #parse(body: string): WireFault | null {
    const read = readParse(body);
    if (isFault(read)) return read;
    const { judge } = this.#ports;
    const text = fromUtf8(read.text);
    if (text === null) return this.#refuseBatch(judge.refuse("not_utf8", "", null), null);
    if (this.#unreadable) return this.#refuseBatch(judge.refuse("reader_unavailable", "", null), null);
    if (this.#obscured && !isLexedAlike(read.text)) return this.#refuseBatch(judge.refuse("obscured", "", null), null);
    if (read.name !== "" && (this.#statements.get(read.name) ?? this.#sqlNames.get(read.name)) !== undefined)
      return this.#serverError("42P05", `prepared statement "${fromUtf8(read.name) ?? ""}" already exists`);
    const reading = this.#sql.read(text);
    if (reading.statements.length > 1)
      return this.#serverError("42601", "cannot insert multiple commands into a prepared statement");
    const empty = reading.complete && reading.statements.length === 0;
    const prepared: Prepared = {
      upstream: read.name === "" ? "" : this.#upstreamNames.next(),
      text: empty ? "" : read.text,
      types: read.types,
      reading,
      statements: reading.statements,
      generation: this.#generation,
      judged: null,
      bySql: false,
    };
    const undo = this.#statements.set(read.name, prepared);
    if (undo === null) return this.#refuseBatch(judge.refuse("statement_too_large", "prepared statements", null), null);
    const step = new Step("parse");
    step.prepared = prepared;
    step.undo = undo;
    step.wire = parseText(prepared.upstream, prepared.text, prepared.types);
    this.#changed = true;
    this.#wait(step);
    return null;
  }

  #bind(body: string): WireFault | null {
    const read = readBind(body);
    if (isFault(read)) return read;
    const prepared = this.#prepared(read.statement);
    if (prepared === null) return this.#unknownStatement(read.statement);
    if (!this.#renew(prepared)) return this.#unknownStatement(read.statement);
    const portal: Portal<Act> = {
      upstream: read.portal === "" ? "" : this.#upstreamNames.next(),
      prepared,
      rest: read.rest,
      generation: this.#generation,
      act: null,
    };
    this.#leave(read.portal);
    const undo = this.#portals.set(read.portal, portal);
    if (undo === null) return this.#refuseBatch(this.#ports.judge.refuse("statement_too_large", "portals", null), null);
    const step = new Step("bind");
    step.prepared = prepared;
    step.undo = undo;
    step.wire = bindText(portal.upstream, prepared.upstream, read.rest);
    this.#changed = true;
    this.#wait(step);
    return null;
  }

  #describe(body: string): WireFault | null {
    const read = readNamed(body);
    if (isFault(read)) return read;
    const step = new Step("describe");
    if (read.what === "S") {
      const prepared = this.#prepared(read.name);
      if (prepared === null || !this.#renew(prepared)) return this.#unknownStatement(read.name);
      step.prepared = prepared;
      step.parameters = true;
      step.wire = describeText({ what: "S", name: prepared.upstream });
    } else {
      const portal = this.#portals.get(read.name);
      if (portal === undefined) return this.#unknownPortal(read.name);
      step.prepared = portal.prepared;
      step.wire = describeText({ what: "P", name: portal.upstream });
    }
    this.#wait(step);
    return null;
  }

  #closeNamed(body: string): WireFault | null {
    const read = readNamed(body);
    if (isFault(read)) return read;
    const step = new Step("close");
    let upstream: string | undefined;
    if (read.what === "S") {
      const prepared = this.#prepared(read.name);
      upstream = prepared?.upstream;
      step.undo = (prepared?.bySql === true ? this.#sqlNames : this.#statements).delete(read.name);
    } else {
      upstream = this.#portals.get(read.name)?.upstream;
      this.#leave(read.name);
      step.undo = this.#portals.delete(read.name);
    }
    // Closing what does not exist is no error.
    const named: Named = { what: read.what, name: upstream ?? this.#upstreamNames.next() };
    step.wire = closeText(named);
    this.#changed = true;
    this.#wait(step);
    return null;
  }

  #execute(body: string): WireFault | null {
    const read = readExecute(body);
    if (isFault(read)) return read;
    const portal = this.#portals.get(read.portal);
    if (portal === undefined) return this.#unknownPortal(read.portal);
    const { prepared } = portal;
    const { judge } = this.#ports;
    const { profile } = judge;
    const step = new Step("execute");
    step.prepared = prepared;
    step.wire = executeText(portal.upstream, read.rows);
    if (prepared.reading.complete && prepared.reading.statements.length === 0) {
      this.#wait(step);
      return null;
    }
    const known = portal.generation === this.#generation || portal.upstream === "";
    if (portal.act !== null && !portal.act.opaque && portal.act.profile === profile && known) {
      step.acts = [portal.act];
      portal.act = null;
      this.#send(step, portal);
      return null;
    }
    this.#leave(read.portal);
    const parameters = readParameters(portal.rest);
    if (isFault(parameters)) return parameters;
    const question = this.#questionOfPrepared(prepared, known);
    const written = known
      ? this.#writtenFor(prepared, question.judged, profile)
      : this.#writer.write(question.judged, profile);
    const then = (verdict: Permit<"ask"> | Refusal, operation: Operation): void => {
      if (verdict.kind === "refusal") {
        this.#refuseBatch(verdict, prepared);
        return;
      }
      const act = new Act(
        verdict,
        operation,
        question.judged.statements,
        prepared.statements[0]?.effects ?? [],
        profile,
      );
      prepared.judged = profile;
      step.acts = [act];
      this.#send(step, portal);
    };
    this.#ask(question, written, parametersText(parameters), then, []);
    return null;
  }

  /** A permitted Execute, with everything that waited for it. */
  #send(step: Step, portal: Portal<Act>): void {
    const { act } = step;
    if (act === null) throw new Error("an execute without its act");
    this.#suspending.set(step, portal);
    this.#pending.push(step);
    this.#starts(act);
    this.#sendPending(act);
  }
  readonly #suspending = new WeakMap<Step, Portal<Act>>();

  #sync(): void {
    this.#sendPending(null);
    if (this.#local) {
      this.#local = false;
      this.#skipping = false;
      this.#changed = false;
      this.#tell(readyText(this.#status));
      this.#endIfDraining();
      return;
    }
    const step = new Step("sync");
    this.#steps.push(step);
    if (this.#changed) this.#changing = step;
    this.#changed = false;
    this.#skipping = false;
    this.#begun = false;
    this.#hurried = true;
    this.#write(this.#ports.connect, SYNC);
  }

  #wait(step: Step): void {
    this.#pending.push(step);
    this.#pendingBytes += step.wire.length;
    if (this.#pendingBytes > this.#limits.pendingBytes) this.#sendPending(null);
  }

  /**
   * Sends what waits. `act`: the permitted Execute at its end. Whatever is about another statement that no policy has seen yet is
   * asked for first: a Parse alone tells of tables, and a Bind plans, which may run functions.
   */
  #sendPending(act: Act | null): void {
    if (this.#pending.length === 0) return;
    const { judge, connect } = this.#ports;
    const { profile } = judge;
    const steps = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    let refused: { readonly refusal: Refusal; readonly prepared: Prepared } | null = null;
    for (const { prepared } of steps) {
      if (prepared === null || prepared.judged === profile) continue;
      if (prepared.reading.complete && prepared.statements.length === 0) continue;
      const question = this.#questionOfPrepared(prepared, true);
      if (question.kind === "refused") {
        refused = { refusal: this.#objected(question), prepared };
        break;
      }
      const operation = this.#writer.operation(
        this.#writtenFor(prepared, question.judged, profile),
        ',"step":"prepare"',
        null,
      );
      const verdict = judge.ask(operation, this);
      if (verdict.kind === "refusal") {
        refused = { refusal: verdict, prepared };
        break;
      }
      // A person is asked when it would act, and once.
      if (verdict.kind === "held") verdict.abandon("cancelled");
      else judge.finish(verdict, { status: "prepared", masked: 0, attempts: 1 });
      prepared.judged = profile;
    }
    if (refused !== null) {
      if (act !== null) {
        act.finish(judge, "not-sent");
        if (!act.pure) this.#impure--;
      }
      this.#pending = steps.filter((step) => step.act === null);
      this.#refuseBatch(refused.refusal, refused.prepared);
      return;
    }
    let text = "";
    for (const step of steps) {
      text += step.wire;
      step.wire = "";
      this.#steps.push(step);
    }
    this.#begun = true;
    this.#hurried = false;
    this.#write(act?.permit ?? connect, text);
  }

  /** Refuses the batch from here on. What waits of other statements goes on; what waits of this one never happened. */
  #refuseBatch(refusal: Refusal, prepared: Prepared | null): null {
    this.#breakBatch(refusalText(refusal), prepared);
    return null;
  }

  /** An error that the server would have said; it has no record, because nothing was asked of anybody. */
  #serverError(state: string, message: string): null {
    this.#breakBatch(serverErrorText(state, message), null);
    return null;
  }

  #unknownStatement(name: string): null {
    const text = fromUtf8(name) ?? "";
    return this.#serverError(
      "26000",
      name === "" ? "unnamed prepared statement does not exist" : `prepared statement "${text}" does not exist`,
    );
  }

  #unknownPortal(name: string): null {
    return this.#serverError("34000", `portal "${fromUtf8(name) ?? ""}" does not exist`);
  }

  #breakBatch(text: string, prepared: Prepared | null): void {
    if (prepared !== null) {
      const dropped = this.#pending.filter((step) => step.prepared === prepared);
      for (const step of dropped.toReversed()) step.undo?.back();
      this.#pending = this.#pending.filter((step) => step.prepared !== prepared);
    }
    this.#sendPending(null);
    // Sending the rest may have been refused by itself.
    if (this.#skipping) return;
    this.#skipping = true;
    if (this.#status === "I" && !this.#begun && this.#steps.length === 0 && !this.#answers.midway) {
      this.#local = true;
      this.#tell(text);
      return;
    }
    const step = new Step("poison");
    step.text = text;
    this.#steps.push(step);
    this.#begun = true;
    this.#write(this.#ports.connect, executeText(this.#upstreamNames.next(), 0));
  }

  /** By either kind of name; null: nothing is known by it. */
  #prepared(name: string): Prepared | null {
    return this.#statements.get(name) ?? (name === "" ? null : (this.#sqlNames.get(name) ?? null));
  }

  /** After something that nobody understood, a named statement is parsed again under a new name. False: it cannot be. */
  #renew(prepared: Prepared): boolean {
    if (prepared.generation === this.#generation || prepared.upstream === "") return true;
    if (prepared.bySql) return false;
    const close = new Step("close", true);
    close.wire = closeText({ what: "S", name: prepared.upstream });
    const parse = new Step("parse", true);
    const before = { upstream: prepared.upstream, generation: prepared.generation };
    parse.undo = {
      back: () => {
        prepared.upstream = before.upstream;
        prepared.generation = before.generation;
      },
    };
    prepared.upstream = this.#upstreamNames.next();
    prepared.generation = this.#generation;
    parse.prepared = prepared;
    parse.wire = parseText(prepared.upstream, prepared.text, prepared.types);
    this.#changed = true;
    this.#wait(close);
    this.#wait(parse);
    return true;
  }

  /** A portal that stopped at its row limit will not be gone on with. */
  #leave(name: string): void {
    const portal = this.#portals.get(name);
    if (portal?.act === null || portal === undefined) return;
    portal.act.finish(this.#ports.judge, "suspended");
    portal.act = null;
  }

  // --- other messages ---------------------------------------------------------------------------------------------------------

  #tooLong(type: number): null {
    const refusal = this.#ports.judge.refuse("statement_too_large", "", null);
    if (type === FRONTEND.query) this.#refuseQuery(refusal);
    else this.#refuseBatch(refusal, null);
    return null;
  }

  #functionCall(): null {
    this.#refuseQuery(this.#ports.judge.refuse("method_unsupported", "FunctionCall", null));
    return null;
  }

  #terminate(): void {
    this.#close("terminated");
    this.#upstream.write(this.#ports.connect, TERMINATE);
    this.#upstream.end();
    this.#upstream.release(false);
    this.#ports.agent.end();
  }

  #copyData(chunk: Chunk, from: number, to: number): void {
    const act = this.#copying;
    if (act === null || this.#skipping) return;
    if (!this.#upstream.forward(act.permit, chunk, from, to)) this.#options.intake.hinder(true);
  }

  #whileCopying(type: number, chunk: Chunk, from: number, to: number): WireFault | null {
    switch (type) {
      case FRONTEND.copyData:
        this.#copyData(chunk, from, to);
        return null;
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        this.#copyData(chunk, from, to);
        this.#copying = null;
        // The server says no more before it is told to, where the COPY was begun by Execute.
        this.#hurried = false;
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

  // --- judging ----------------------------------------------------------------------------------------------------------------

  #ask(
    question: Question,
    written: Written,
    parameters: string,
    then: (verdict: Permit<"ask"> | Refusal, operation: Operation) => void,
    before: readonly Act[],
  ): void {
    const { judge } = this.#ports;
    if (question.kind === "refused") {
      const operation = this.#writer.operation(written, parameters, null);
      then(judge.refuse(question.objection.code, question.objection.why, operation), operation);
      return;
    }
    const operation = this.#writer.operation(written, question.extra + parameters, null);
    const verdict = judge.ask(operation, this);
    if (verdict.kind !== "held") {
      then(verdict, operation);
      return;
    }
    this.#held = { held: verdict, before, goOn: (settled) => then(settled, operation) };
    this.#keepAlive(verdict);
  }

  #keepAlive(held: Held): void {
    this.#ports.after(KEEPALIVE_MS, () => {
      if (this.#held?.held !== held || this.over) return;
      if (!this.#answers.midway)
        this.#tell(
          noticeText("N", [
            ["S", "NOTICE"],
            ["V", "NOTICE"],
            ["C", "00000"],
            ["M", `sidegate: waiting for approval (${held.id})`],
            ["D", held.reason],
          ]),
        );
      this.#keepAlive(held);
    });
  }

  #objected(question: Question & { readonly kind: "refused" }): Refusal {
    const { judge } = this.#ports;
    const operation = this.#writer.operation(this.#writer.write(question.judged, judge.profile), "", null);
    return judge.refuse(question.objection.code, question.objection.why, operation);
  }

  #writtenFor(prepared: Prepared, judged: Judged, profile: Profile | null): Written {
    const kept = this.#written.get(prepared);
    if (kept !== undefined && kept.profile === profile && kept.complete === judged.complete) return kept;
    const written = this.#writer.write(judged, profile);
    // What it runs by name may be another statement next time.
    if (!prepared.statements.some((s) => s.effects.some((e) => e.kind === "execute")))
      this.#written.set(prepared, written);
    return written;
  }

  #questionOfPrepared(prepared: Prepared, known: boolean): Question {
    const text = fromUtf8(prepared.text) ?? "";
    const [statement] = prepared.statements;
    const question =
      statement === undefined
        ? this.#unread(text, prepared.reading)
        : this.#questionOf(statement, text, prepared.reading, null);
    if (known || question.kind === "refused") return question;
    const { judged } = question;
    const doubts = [...judged.doubts, "a statement that nobody understood has run since this portal was opened"];
    return { ...question, judged: { ...judged, complete: false, doubts } };
  }

  #unread(text: string, reading: SqlReading): Question {
    return { kind: "judged", judged: { statements: [], text, complete: false, doubts: reading.doubts }, extra: "" };
  }

  /** `before`: names that statements in front of it, in the same Query, give or take. */
  #questionOf(
    statement: Statement,
    text: string,
    reading: SqlReading,
    before: ReadonlyMap<string, Prepared | null> | null,
  ): Question {
    const runs: Statement[] = [];
    const doubts = [...statement.doubts, ...(reading.complete ? [] : reading.doubts)];
    let complete = statement.complete && reading.complete;
    let extra = "";
    for (const effect of statement.effects) {
      if (effect.kind !== "execute") continue;
      const given = before?.get(effect.name);
      const prepared = given === undefined ? this.#sqlNames.get(utf8(effect.name)) : given;
      if (prepared === undefined || prepared === null || prepared.generation !== this.#generation) {
        complete = false;
        doubts.push(`prepared statement ${quote(effect.name)} is not known`);
        continue;
      }
      runs.push(...prepared.statements);
      extra += `,"prepared":${quote(fromUtf8(prepared.text) ?? "")}`;
      if (!prepared.reading.complete) {
        complete = false;
        doubts.push(...prepared.reading.doubts);
      }
      for (const run of prepared.statements)
        if (!run.complete) {
          complete = false;
          doubts.push(...run.doubts);
        }
    }
    // EXECUTE is what it runs; EXPLAIN ANALYZE EXECUTE and the like are that, too.
    const statements = statement.kind === "execute" && runs.length > 0 ? runs : [statement, ...runs];
    const judged: Judged = { statements, text, complete, doubts };
    for (const s of [statement, ...runs]) {
      const found = objection(s, this.#readOnly);
      if (found !== null) return { kind: "refused", objection: found, judged };
    }
    return { kind: "judged", judged, extra };
  }

  #preparedBySql(text: string): Prepared {
    const reading = this.#sql.read(text);
    return {
      upstream: "",
      text: utf8(text),
      types: "",
      reading,
      statements: reading.statements,
      generation: this.#generation,
      judged: null,
      bySql: true,
    };
  }

  #starts(act: Act): void {
    if (!act.pure) this.#impure++;
    if (act.opaque) {
      this.#obscured = true;
      this.#generation++;
    }
  }

  // --- Answered ---------------------------------------------------------------------------------------------------------------

  done(act: Act): void {
    if (!act.pure) this.#impure--;
    for (const effect of act.effects) this.#apply(effect);
  }

  suspended(step: Step): void {
    const { act } = step;
    const portal = this.#suspending.get(step);
    if (act === null || portal === undefined) return;
    if (!act.pure) this.#impure--;
    portal.act = act;
  }

  skipped(dropped: readonly Step[], syncIsSent: boolean): void {
    for (const step of dropped) for (const act of step.acts) if (!act.pure) this.#impure--;
    this.#copying = null;
    if (!syncIsSent) {
      this.#skipping = true;
      for (const step of this.#pending.toReversed()) step.undo?.back();
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    for (const step of dropped.toReversed()) step.undo?.back();
  }

  ready(status: TransactionStatus): void {
    this.#status = status;
    this.#impure = 0;
    this.#obscured = false;
    this.#copying = null;
    if (this.#changing !== null && !this.#stillAwaited(this.#changing)) this.#changing = null;
    if (status === "I") {
      // Portals live as long as their transaction.
      this.#portals.drop((name) => {
        this.#leave(name);
        return true;
      });
    }
    for (const step of this.#steps) for (const act of step.acts) if (!act.pure) this.#impure++;
    this.#endIfDraining();
  }

  copyIn(step: Step): WireFault | null {
    this.#copying = step.act;
    // A Sync that came before was read as a part of the COPY, and is not answered.
    const behind = this.#steps.takeUntil(() => false).filter((s) => s !== step);
    if (behind.some((s) => s.kind !== "sync")) return "type";
    this.#steps.push(step);
    if (behind.length > 0) this.#changing = null;
    return null;
  }

  parameter(name: string, value: string): string | null {
    const why = reported(name, value, this.#readOnly);
    if (why === null) return null;
    this.#ports.judge.refuse("setting_pinned", why, null);
    this.#fatal("setting_pinned", "42501", `a setting on which judgements rest has changed (${fromUtf8(why) ?? name})`);
    return why;
  }

  agentFull(): void {
    if (this.#upstreamPaused) return;
    this.#upstreamPaused = true;
    this.#upstream.pause();
  }

  malformed(fault: string): void {
    this.#ports.judge.refuse("upstream_malformed", fault, null);
    this.#fatal("upstream_malformed", "08P01", "the upstream's answer is malformed");
  }

  #stillAwaited(step: Step): boolean {
    for (const s of this.#steps) if (s === step) return true;
    return false;
  }

  #apply(effect: SessionEffect): void {
    switch (effect.kind) {
      case "prepare":
        this.#sqlNames.set(utf8(effect.name), { ...this.#preparedBySql(effect.text), upstream: utf8(effect.name) });
        return;
      case "deallocate":
        if (effect.name === null) this.#forgetAll();
        else this.#sqlNames.delete(utf8(effect.name));
        return;
      case "listen":
        this.#listening = true;
        return;
      case "discard":
        this.#listening = false;
        this.#forgetAll();
        this.#portals.drop(() => true);
        return;
      default:
    }
  }

  /** DEALLOCATE ALL reaches every named one, however it was made. */
  #forgetAll(): void {
    this.#sqlNames.drop(() => true);
    this.#statements.drop((name) => name !== "");
  }

  // --- ends -------------------------------------------------------------------------------------------------------------------

  #write(permit: Permit<"connect" | "ask">, text: string): void {
    if (!this.#upstream.write(permit, text)) this.#options.intake.hinder(true);
  }

  #tell(text: string): void {
    if (!this.#ports.agent.write(text)) this.agentFull();
  }

  #endIfDraining(): void {
    if (this.#draining && this.idle && !this.inTransaction && !this.#begun)
      this.#fatal("draining", "57P01", "the gateway is shutting down");
  }

  #abandon(why: "client-left" | "cancelled" | "drain"): void {
    const waiting = this.#held;
    this.#held = null;
    waiting?.held.abandon(why);
    for (const act of waiting?.before ?? []) act.finish(this.#ports.judge, "not-sent");
  }

  /** Acts that are under way, or stopped at a row limit. */
  #open(): Act[] {
    const acts: Act[] = [];
    for (const step of this.#steps)
      for (let i = step.done; i < step.acts.length; i++) if (step.acts[i] !== undefined) acts.push(step.acts[i] as Act);
    for (const portal of this.#portals.values()) if (portal.act !== null) acts.push(portal.act);
    return acts;
  }

  #fatal(status: string, state: string, message: string): void {
    if (this.over) return;
    const midway = this.#answers.midway;
    this.#close(status);
    this.#upstream.reset();
    const { agent } = this.#ports;
    if (midway) agent.reset();
    else {
      agent.write(errorText("FATAL", state, message));
      agent.end();
    }
  }

  /** Everything that is open is finished; the legs are the caller's. */
  #close(status: string): void {
    if (this.over) return;
    if (this.#held !== null) this.#abandon(status === "draining" ? "drain" : "client-left");
    this.#answers.close();
    for (const act of this.#open()) act.finish(this.#ports.judge, status);
    this.over = true;
    this.#options.ended();
  }
}
