/**
 * Carries a permit's masks out on one session: asks the upstream for what the masker has to know (which OIDs its names are), lets it
 * object before anything is sent, and hands it every result, COPY, notice and error of a masked statement.
 */
import type { Refusal } from "#sidecar/seam/verdict.ts";
import type { Act } from "./act.ts";
import { noticeBytes, readCopyOut, readRowDescription } from "./codec/backend.ts";
import type { WireFault } from "./codec/fault.ts";
import {
  bindText,
  closeText,
  describeText,
  executeText,
  FLUSH,
  NO_PARAMETERS,
  parseText,
  SYNC,
} from "./codec/frontend.ts";
import { int16, message, utf8 } from "./codec/text.ts";
import { MaskSets } from "./mask-sets.ts";
import type { CopyMask, MaskedAct, Objection, SessionMasker } from "./masking.ts";
import { refusalText } from "./refuse.ts";
import type { SessionEffect, Statement } from "./sql/reading.ts";
import { type Collecting, Step } from "./steps.ts";
import type { Talk } from "./talk.ts";

/** Where a statement will stand. */
export interface Place {
  readonly batch: boolean;
  readonly changed: boolean;
}

export class Masks {
  readonly #talk: Talk;
  readonly #masker: SessionMasker | null;
  /** A query of our own is under way. */
  #waits = false;
  #copy: CopyMask | null = null;
  #copyAct: Act | null = null;
  readonly #listening = new MaskSets();
  /**
   * Under which masks statements were sent since nothing was under way, and whether one of them may be quoted: what is deferred (constraints,
   * triggers) speaks later than the statement that it is about, in the answer to COMMIT, to Sync, or to any other.
   */
  readonly #spoken = new MaskSets();

  /** `masker`: null: masks cannot be carried out, so a statement with one is refused. */
  constructor(talk: Talk, masker: SessionMasker | null) {
    this.#talk = talk;
    this.#masker = masker;
  }

  get waits(): boolean {
    return this.#waits;
  }

  /**
   * `batch`: in the middle of one, so that no Sync may be sent. `changed`: what is sent in front of it in the same Query changes the
   * catalogue. Calls `goOn` once: null, or why it may not be sent after all.
   */
  prepare(act: Act, { batch, changed }: Place, goOn: (objection: Refusal | null) => void): void {
    const { masks } = act;
    // A transaction that has failed, or has changed the catalogue, must be left.
    if (masks.length === 0 || isControl(act)) return goOn(null);
    const masker = this.#masker;
    if (masker === null) return goOn(this.#refusal(act, { code: "obligation_unsupported", why: "masks" }));
    if (!this.#spoken.takes(masks) || (listensTo(act) && !this.#listening.takes(masks)))
      return goOn(this.#evaded(act, "too many different masks in one transaction, or in one session that listens"));
    const question = masker.question(masks);
    if (question === null) return goOn(this.#objection(act, masker, changed));
    if (this.#talk.status === "E") return goOn(this.#evaded(act, "the transaction has failed"));
    this.#waits = true;
    this.#ask(question, batch, {
      complete: (rows) => {
        this.#waits = false;
        masker.learn(masks, rows);
        goOn(this.#objection(act, masker, changed));
      },
      failed: () => {
        this.#waits = false;
        const refusal = this.#evaded(act, "the catalogue could not be asked");
        if (!batch) {
          goOn(refusal);
          return null;
        }
        act.finish(this.#talk.ports.judge, "not-sent");
        return refusalText(refusal);
      },
    });
  }

  /** Whether what the masks mean may be something else behind it. */
  changes(act: Act): boolean {
    return !act.pure && this.#masker?.changes(act.statements) === true;
  }

  /** It is sent now. */
  sent(act: Act): void {
    const masker = this.#masker;
    if (masker === null) return;
    if (!act.pure) masker.follow(act.statements);
    const { masks } = act;
    if (masks.length > 0) this.#spoken.add(masks, masker.quotes(maskedAct(act)));
  }

  /** The upstream is outside of a transaction, and owes no answer. */
  settled(): void {
    this.#spoken.clear();
    this.#masker?.settled();
  }

  ended(): void {
    this.#masker?.ended();
  }

  /** A Describe of our own in front of an Execute, so that its rows are known; and the text that asks for it. Null: nothing is masked. */
  describe(execute: Step, portal: string): Step | null {
    if (execute.act === null || execute.act.masks.length === 0) return null;
    const step = new Step("describe", true);
    step.describes = execute;
    step.wire = describeText({ what: "P", name: portal });
    return step;
  }

  /** Whether what the upstream says now belongs to a statement with masks. */
  concern(step: Step | null): boolean {
    return step?.act != null && step.act.masks.length > 0;
  }

  /** The RowDescription of a masked statement. */
  described(step: Step, body: string): WireFault | null {
    const fields = readRowDescription(body);
    const { act } = step;
    if (fields === null || act === null || this.#masker === null) return "count";
    const mask = this.#masker.result(maskedAct(act), statementOf(act), fields);
    if (typeof mask === "string") return this.#hidden(act, mask);
    step.mask = mask;
    return null;
  }

  /** Whether an error or a notice must be read. */
  get speaking(): boolean {
    return this.#spoken.size > 0;
  }

  /** Null: as it is. Else what is said in its place. */
  notice(type: "E" | "N", fields: ReadonlyMap<string, string>): string | null {
    if (this.#masker === null) return null;
    let shown = fields;
    for (const { masks, quotes } of this.#spoken.values()) shown = this.#masker.notice(masks, quotes, shown);
    return shown === fields ? null : noticeBytes(type, shown);
  }

  /** A LISTEN has ended well: what is said to it later has these masks, whichever statement is under way then. */
  listens(act: Act): void {
    if (act.masks.length > 0 && listensTo(act)) this.#listening.add(act.masks, false);
  }

  /** Whether a NotificationResponse must be read. */
  get listening(): boolean {
    return this.#listening.size > 0;
  }

  // NotificationResponse: Int32 pid, String channel, String payload
  notification(body: string): string | null {
    const channelEnd = body.indexOf("\0", 4);
    const masker = this.#masker;
    if (masker === null || channelEnd < 0 || body.indexOf("\0", channelEnd + 1) !== body.length - 1) return null;
    let payload = body.slice(channelEnd + 1, -1);
    for (const { masks } of this.#listening.values()) payload = masker.payload(masks, payload);
    return message("A", `${body.slice(0, channelEnd + 1)}${payload}\0`);
  }

  get copying(): boolean {
    return this.#copy !== null;
  }

  copyBegins({ act }: Step, body: string): WireFault | null {
    const read = readCopyOut(body);
    if (read === null || act === null || this.#masker === null) return "count";
    const mask = this.#masker.copy(maskedAct(act), statementOf(act), read.binary, read.columns);
    if (typeof mask === "string") return this.#hidden(act, mask);
    this.#copy = mask;
    this.#copyAct = act;
    return null;
  }

  copyData(body: Uint8Array): Uint8Array | null {
    return this.#copy?.data(body) ?? null;
  }

  copyEnds(): void {
    if (this.#copyAct !== null) this.#copyAct.masked = this.#copy?.masked ?? 0;
    this.#copy = null;
    this.#copyAct = null;
  }

  #objection(act: Act, masker: SessionMasker, changed: boolean): Refusal | null {
    const objection = masker.objection(maskedAct(act), changed);
    return objection === null ? null : this.#refusal(act, objection);
  }

  #refusal(act: Act, { code, why }: Objection): Refusal {
    return this.#talk.ports.judge.refuse(code, why, act.operation);
  }

  #evaded(act: Act, why: string): Refusal {
    return this.#refusal(act, { code: "mask_evaded", why });
  }

  /** It cannot be shown and is under way already: the session ends, and the record says why. */
  #hidden(act: Act, why: string): WireFault {
    this.#evaded(act, why);
    return "type";
  }

  #ask(
    sql: string,
    batch: boolean,
    then: { complete(rows: (readonly (string | null)[])[]): void; failed(): string | null },
  ): void {
    const talk = this.#talk;
    const name = talk.names.next();
    const rows: (readonly (string | null)[])[] = [];
    let over = false;
    let answered = false;
    const collecting: Collecting = {
      rows,
      complete: () => {
        answered = true;
        if (!batch || over) return;
        over = true;
        then.complete(rows);
      },
      failed: () => {
        if (!batch || over) return null;
        over = true;
        return then.failed();
      },
    };
    const steps = (["parse", "bind", "execute", "close", "close"] as const).map((kind) => new Step(kind, true));
    for (const step of steps) step.collecting = collecting;
    let text =
      parseText(name, utf8(sql), int16(0)) +
      bindText(name, name, NO_PARAMETERS) +
      executeText(name, 0) +
      closeText({ what: "P", name }) +
      closeText({ what: "S", name });
    if (batch) text += FLUSH;
    else {
      // By itself, so that the Query behind it is not in one transaction with it.
      const sync = new Step("sync", true);
      sync.synced = () => (answered ? then.complete(rows) : void then.failed());
      steps.push(sync);
      text += SYNC;
    }
    for (const step of steps) talk.steps.push(step);
    if (batch) talk.begun = true;
    talk.hurried = true;
    talk.write(talk.ports.connect, text);
  }
}

function listensTo({ effects }: Act): boolean {
  return effects.some(({ kind }) => kind === "listen");
}

/** It begins, marks or ends a transaction, reads nothing and shows nothing. */
function isControl({ effects, statements, opaque }: Act): boolean {
  return (
    !opaque && effects.length > 0 && effects.every(({ kind }) => CONTROL.has(kind)) && statements.every(readsNothing)
  );
}

const CONTROL: ReadonlySet<SessionEffect["kind"]> = new Set(["begin", "commit", "rollback", "savepoint"]);

function readsNothing({ tables, output, functions }: Statement): boolean {
  return tables.length === 0 && output.length === 0 && functions.length === 0;
}

function maskedAct(act: Act): MaskedAct {
  return { masks: act.masks, statements: act.statements };
}

/** What the result is of: what EXECUTE and FETCH run, not they themselves. */
function statementOf(act: Act): Statement | null {
  return act.statements[0] ?? act.statement;
}
