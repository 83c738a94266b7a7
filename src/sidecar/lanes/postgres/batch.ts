/**
 * The extended query protocol: Parse, Bind, Describe, Close and Execute wait together, are judged with their Execute (or by themselves
 * at Flush and Sync), and are sent under its permit.
 *
 * A refusal in the middle is made an error of the server's own (an Execute of what does not exist), so that what was done before in the
 * same transaction is undone and everything up to Sync is skipped, as if the server had refused. Its text is replaced on the way back.
 */
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { Act } from "./act.ts";
import type { Asking } from "./asking.ts";
import { readyText } from "./codec/backend.ts";
import { isFault, type WireFault } from "./codec/fault.ts";
import {
  type Bind,
  closeText,
  describeText,
  executeText,
  FLUSH,
  parseText,
  readBind,
  readExecute,
  readNamed,
  readParameters,
  readParse,
  SYNC,
} from "./codec/frontend.ts";
import { fromUtf8, int32, isLexedAlike } from "./codec/text.ts";
import type { Masks } from "./masks.ts";
import type { Named } from "./named.ts";
import type { Portal, Prepared } from "./names.ts";
import { parametersText } from "./operations.ts";
import { withTypes } from "./parameter-types.ts";
import type { Question } from "./question.ts";
import { deallocationOf, questionOfPrepared } from "./questions.ts";
import { refusalText, serverErrorText } from "./refuse.ts";
import type { SqlNames } from "./sql-names.ts";
import { Step } from "./steps.ts";
import type { Talk } from "./talk.ts";

export interface BatchOptions {
  readonly talk: Talk;
  readonly named: Named;
  readonly asking: Asking;
  readonly sqlNames: SqlNames;
  /** Whether the reader of SQL could not be loaded. */
  readonly unreadable: () => boolean;
  /** Whether something of ours may be put between the upstream's messages now. */
  readonly between: () => boolean;
  readonly masks: Masks;
}

export class Batch {
  readonly #options: BatchOptions;
  readonly #talk: Talk;
  readonly #named: Named;
  #pending: Step[] = [];
  #pendingBytes = 0;
  /** The rest of the batch, up to its Sync, is thrown away. */
  #skipping = false;
  /** It was refused before anything of it was sent: its Sync is answered by us. */
  #local = false;
  /** Names were changed since the last Sync. */
  #changed = false;
  /** A Sync whose batch changed names, until it is answered. */
  #changing: Step | null = null;

  constructor(options: BatchOptions) {
    this.#options = options;
    this.#talk = options.talk;
    this.#named = options.named;
  }

  get skipping(): boolean {
    return this.#skipping;
  }

  get pending(): boolean {
    return this.#pending.length > 0;
  }

  /** Names mean what they will mean when the next message is read: nothing that could still be taken back is awaited. */
  get settled(): boolean {
    return this.#changing === null;
  }

  // --- messages -----------------------------------------------------------------------------------------------------------

  parse(body: string): WireFault | null {
    const read = readParse(body);
    if (isFault(read)) return read;
    const talk = this.#talk;
    const { judge } = talk.ports;
    const text = fromUtf8(read.text);
    if (text === null) return this.refuse(judge.refuse("not_utf8", "", null), null);
    if (this.#options.unreadable()) return this.refuse(judge.refuse("reader_unavailable", "", null), null);
    if (talk.obscured && !isLexedAlike(read.text)) return this.refuse(judge.refuse("obscured", "", null), null);
    if (read.name !== "" && this.#named.find(read.name) !== null)
      return this.#serverError("42P05", `prepared statement "${fromUtf8(read.name) ?? ""}" already exists`);
    const reading = withTypes(talk.sql.read(text), read.types);
    const { statements } = reading;
    if (statements.length > 1)
      return this.#serverError("42601", "cannot insert multiple commands into a prepared statement");
    const [statement] = statements;
    const sent = statement === undefined ? null : deallocationOf(statement, (name) => this.#named.renamed(name));
    const prepared: Prepared = {
      upstream: read.name === "" ? "" : talk.names.next(),
      // A comment alone asks nothing of the server, and tells it nothing.
      text: reading.complete && statement === undefined ? "" : read.text,
      types: read.types,
      reading,
      generation: talk.generation,
      judged: null,
      bySql: false,
      question: null,
      written: null,
    };
    const undo = this.#named.statements.set(read.name, prepared);
    if (undo === null) return this.refuse(judge.refuse("statement_too_large", "prepared statements", null), null);
    const step = new Step("parse");
    step.prepared = prepared;
    step.undo = undo;
    step.wire = parseText(prepared.upstream, sent ?? prepared.text, prepared.types);
    this.#changed = true;
    this.#wait(step);
    return null;
  }

  bind(body: string): WireFault | null {
    const read = readBind(body);
    if (isFault(read)) return read;
    const step = this.#bound(read, read.rest);
    if (step === null) return null;
    step.wire = `B${int32(step.wire.length + read.rest.length + 4)}${step.wire}${read.rest}`;
    this.#wait(step);
    return null;
  }

  /**
   * A Bind that is too long to be kept. What waits is judged and sent; then its header, with our names. Null: the batch is refused, and
   * so is this. `length`: of the whole message as the agent sent it.
   */
  bindLong({ portal, statement }: Pick<Bind, "portal" | "statement">, length: number): string | null {
    const step = this.#bound({ portal, statement }, null);
    if (step === null) return null;
    const names = portal.length + statement.length + 2;
    const ours = step.wire;
    step.wire = "";
    // The step takes its place among the others, and its bytes follow by themselves.
    this.#pending.push(step);
    this.send(null);
    if (this.#skipping) return null;
    return `B${int32(length - 1 - names + ours.length)}${ours}`;
  }

  describe(body: string): WireFault | null {
    const read = readNamed(body);
    if (isFault(read)) return read;
    const step = new Step("describe");
    if (read.what === "S") {
      const prepared = this.#named.find(read.name);
      if (prepared === null || !this.#renew(prepared)) return this.#unknownStatement(read.name);
      step.prepared = prepared;
      step.parameters = true;
      step.wire = describeText({ what: "S", name: prepared.upstream });
    } else {
      const portal = this.#named.portals.get(read.name);
      const upstream = portal?.upstream ?? this.#named.cursor(read.name);
      if (upstream === null) return this.#unknownPortal(read.name);
      step.prepared = portal?.prepared ?? null;
      step.wire = describeText({ what: "P", name: upstream });
    }
    this.#wait(step);
    return null;
  }

  close(body: string): WireFault | null {
    const read = readNamed(body);
    if (isFault(read)) return read;
    const step = new Step("close");
    let upstream: string | undefined;
    if (read.what === "S") {
      const prepared = this.#named.find(read.name);
      upstream = prepared?.upstream;
      if (prepared?.bySql === true) step.closesSql = read.name;
      else step.undo = this.#named.statements.delete(read.name);
    } else {
      upstream = this.#named.portals.get(read.name)?.upstream ?? this.#named.cursor(read.name) ?? undefined;
      this.#named.leave(read.name);
      step.undo = this.#named.portals.delete(read.name);
    }
    // Closing what does not exist is no error.
    step.wire = closeText({ what: read.what, name: upstream ?? this.#talk.names.next() });
    this.#changed = true;
    this.#wait(step);
    return null;
  }

  execute(body: string): WireFault | null {
    const read = readExecute(body);
    if (isFault(read)) return read;
    const portal = this.#named.portals.get(read.portal);
    if (portal === undefined) return this.#unknownPortal(read.portal);
    const { prepared } = portal;
    const { asking, sqlNames } = this.#options;
    const step = new Step("execute");
    step.prepared = prepared;
    step.wire = executeText(portal.upstream, read.rows);
    step.portal = portal;
    if (isEmpty(prepared)) {
      this.#wait(step);
      return null;
    }
    const known = portal.upstream === "" || portal.generation === this.#talk.generation;
    if (this.#goesOn(portal, known)) {
      step.acts = portal.act === null ? [] : [portal.act];
      portal.act = null;
      this.#permitted(step);
      return null;
    }
    this.#named.leave(read.portal);
    const parameters = portal.rest === null ? null : readParameters(portal.rest);
    if (isFault(parameters)) return parameters;
    const question = questionOfPrepared(prepared, sqlNames, this.#talk, known);
    asking.ask({
      question,
      written: asking.written(question, known ? prepared : null),
      parameters: parameters === null ? ',"parameters":"too long for the record"' : parametersText(parameters),
      wire: `${prepared.text}\0${portal.rest ?? ""}`,
      before: [],
      goOn: (verdict) => {
        if (!(verdict instanceof Act)) {
          this.refuse(verdict, prepared);
          return;
        }
        prepared.judged = verdict.profile;
        step.acts = [verdict];
        this.#permitted(step);
      },
    });
    return null;
  }

  flush(): void {
    this.send(null);
    if (this.#skipping || !this.#talk.begun) return;
    this.#talk.hurried = true;
    this.#talk.write(this.#talk.ports.connect, FLUSH);
  }

  /** True: it was answered by us, and nothing is under way. */
  sync(): boolean {
    const talk = this.#talk;
    if (!this.#skipping) this.send(null);
    this.#skipping = false;
    if (this.#local) {
      this.#local = false;
      this.#changed = false;
      talk.tell(readyText(talk.status));
      return true;
    }
    const step = new Step("sync");
    talk.steps.push(step);
    if (this.#changed) this.#changing = step;
    this.#changed = false;
    talk.begun = false;
    talk.hurried = true;
    talk.write(talk.ports.connect, SYNC);
    return false;
  }

  // --- sending ------------------------------------------------------------------------------------------------------------

  /**
   * Sends what waits. `act`: the permitted Execute at its end. Whatever is about another statement that no policy has seen yet is
   * asked for first: a Parse alone tells of tables, and a Bind plans, which may run functions.
   */
  send(act: Act | null): void {
    if (this.#pending.length === 0) return;
    const talk = this.#talk;
    const { judge, connect } = talk.ports;
    const steps = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    for (const { prepared } of steps) {
      if (prepared === null || prepared.judged === judge.profile || isEmpty(prepared)) continue;
      const question: Question = questionOfPrepared(prepared, this.#options.sqlNames, talk);
      const refusal = this.#options.asking.prepare(prepared, question);
      if (refusal === null) continue;
      if (act !== null) {
        act.finish(judge, "not-sent");
        talk.ends(act);
      }
      this.#pending = steps.filter((step) => step.act === null);
      this.refuse(refusal, prepared);
      return;
    }
    let text = "";
    for (const step of steps) {
      text += step.wire;
      step.wire = "";
      talk.steps.push(step);
    }
    if (act !== null) this.#options.masks.sent(act);
    talk.begun = true;
    talk.hurried = false;
    talk.write(act?.permit ?? connect, text);
  }

  /** Refuses the batch from here on. What waits of `prepared` never happened; what waits of other statements goes on. */
  refuse(refusal: Refusal, prepared: Prepared | null): null {
    this.#breakOff(refusalText(refusal), prepared);
    return null;
  }

  /** A permitted Execute, with everything that waited for it. */
  #permitted(step: Step): void {
    const { act, prepared } = step;
    if (act === null) throw new Error("an execute without its act");
    const { masks } = this.#options;
    masks.prepare(act, { batch: true, changed: false }, (objection) => {
      if (objection !== null) {
        act.finish(this.#talk.ports.judge, "not-sent");
        this.refuse(objection, prepared);
        return;
      }
      const describe = masks.describe(step, step.portal?.upstream ?? "");
      if (describe !== null) this.#pending.push(describe);
      this.#talk.starts(act);
      this.#pending.push(step);
      this.send(act);
    });
  }

  #wait(step: Step): void {
    this.#pending.push(step);
    this.#pendingBytes += step.wire.length;
    if (this.#pendingBytes > this.#talk.limits.pendingBytes) this.send(null);
  }

  #serverError(state: string, message: string): null {
    // It has no record, because nothing was asked of anybody.
    this.#breakOff(serverErrorText(state, message), null);
    return null;
  }

  #unknownStatement(name: string): null {
    const message =
      name === ""
        ? "unnamed prepared statement does not exist"
        : `prepared statement "${fromUtf8(name) ?? ""}" does not exist`;
    return this.#serverError("26000", message);
  }

  #unknownPortal(name: string): null {
    return this.#serverError("34000", `portal "${fromUtf8(name) ?? ""}" does not exist`);
  }

  #breakOff(text: string, prepared: Prepared | null): void {
    const talk = this.#talk;
    if (prepared !== null) {
      for (const step of this.#pending.toReversed()) if (step.prepared === prepared) step.undo?.back();
      this.#pending = this.#pending.filter((step) => step.prepared !== prepared);
    }
    this.send(null);
    // Sending the rest may have been refused in its turn.
    if (this.#skipping) return;
    this.#skipping = true;
    if (talk.status === "I" && !talk.begun && talk.steps.length === 0 && this.#options.between()) {
      this.#local = true;
      talk.tell(text);
      return;
    }
    const step = new Step("poison");
    step.text = text;
    talk.steps.push(step);
    talk.begun = true;
    talk.hurried = false;
    talk.write(talk.ports.connect, executeText(talk.names.next(), 0));
  }

  // --- names --------------------------------------------------------------------------------------------------------------

  #bound({ portal: name, statement }: Pick<Bind, "portal" | "statement">, rest: string | null): Step | null {
    const prepared = this.#named.find(statement);
    if (prepared === null || !this.#renew(prepared)) return this.#unknownStatement(statement);
    const talk = this.#talk;
    const upstream = name === "" ? "" : talk.names.next();
    const portal: Portal<Act> = { name, upstream, prepared, rest, generation: talk.generation, act: null };
    this.#named.leave(name);
    const undo = this.#named.portals.set(name, portal);
    if (undo === null) return this.refuse(talk.ports.judge.refuse("statement_too_large", "portals", null), null);
    const step = new Step("bind");
    step.prepared = prepared;
    step.undo = undo;
    // Its two names; the rest, and the length of all of it, are put around them by whoever has them.
    step.wire = `${upstream}\0${prepared.upstream}\0`;
    this.#changed = true;
    return step;
  }

  /** After something that nobody understood, a named statement is parsed again under a new name. False: it cannot be. */
  #renew(prepared: Prepared): boolean {
    const talk = this.#talk;
    if (prepared.generation === talk.generation || prepared.upstream === "") return true;
    if (prepared.bySql) return false;
    const close = new Step("close", true);
    close.wire = closeText({ what: "S", name: prepared.upstream });
    const parse = new Step("parse", true);
    const { upstream, generation } = prepared;
    parse.undo = {
      back: () => {
        prepared.upstream = upstream;
        prepared.generation = generation;
      },
    };
    prepared.upstream = talk.names.next();
    prepared.generation = talk.generation;
    parse.prepared = prepared;
    parse.wire = parseText(prepared.upstream, prepared.text, prepared.types);
    this.#changed = true;
    this.#wait(close);
    this.#wait(parse);
    return true;
  }

  /** Whether an Execute only fetches more of what was permitted already. */
  #goesOn({ act }: Portal<Act>, known: boolean): boolean {
    return act !== null && !act.opaque && known && act.profile === this.#talk.ports.judge.profile;
  }

  // --- what the upstream said ---------------------------------------------------------------------------------------------

  /** PortalSuspended. */
  stopped(step: Step): void {
    const { act } = step;
    if (act === null) return;
    const { judge } = this.#talk.ports;
    this.#talk.ends(act);
    const { portal } = step;
    // It may have been closed, or another Execute of it sent, before this was answered.
    if (portal === null || this.#named.portals.get(portal.name) !== portal) {
      act.finish(judge, "suspended");
      return;
    }
    if (portal.act !== act) portal.act?.finish(judge, "suspended");
    portal.act = act;
  }

  /** An error: the server skips up to a Sync. `dropped`: what was sent and will not be answered. */
  skip(dropped: readonly Step[], syncIsSent: boolean): void {
    if (!syncIsSent) {
      this.#skipping = true;
      for (const step of this.#pending.toReversed()) step.undo?.back();
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    for (const step of dropped.toReversed()) step.undo?.back();
  }

  /** ReadyForQuery for this step. */
  ready(step: Step): void {
    if (this.#changing === step) this.#changing = null;
    // Portals live as long as their transaction.
    if (this.#talk.status === "I") this.#named.dropPortals();
  }

  /** A Sync that a COPY has swallowed. */
  swallowed(step: Step): void {
    if (this.#changing === step) this.#changing = null;
  }
}

/** Nothing in it but comments and blanks. */
function isEmpty({ reading }: Prepared): boolean {
  return reading.complete && reading.statements.length === 0;
}
