/**
 * The simple query protocol: one Query with any number of statements, each judged before any of them is sent, and then sent whole.
 * One refused statement refuses all of it.
 */
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { Act } from "./act.ts";
import type { Asking } from "./asking.ts";
import { readyText } from "./codec/backend.ts";
import { isFault, type WireFault } from "./codec/fault.ts";
import { executeText, queryText, readQuery, SYNC } from "./codec/frontend.ts";
import { fromUtf8 } from "./codec/text.ts";
import type { Masks } from "./masks.ts";
import type { Named } from "./named.ts";
import type { Question } from "./question.ts";
import { questionsOfQuery } from "./questions.ts";
import { refusalText } from "./refuse.ts";
import type { SqlNames } from "./sql-names.ts";
import { Step } from "./steps.ts";
import type { Talk } from "./talk.ts";

export interface SimpleQueryOptions {
  readonly talk: Talk;
  readonly asking: Asking;
  readonly named: Named;
  readonly masks: Masks;
  readonly sqlNames: SqlNames;
  /** Whether the reader of SQL could not be loaded. */
  readonly unreadable: () => boolean;
  /** Whether something of ours may be put between the upstream's messages now. */
  readonly between: () => boolean;
  /** Nothing is under way: it was answered by us. */
  readonly quiet: () => void;
}

export class SimpleQuery {
  readonly #options: SimpleQueryOptions;
  readonly #talk: Talk;

  constructor(options: SimpleQueryOptions) {
    this.#options = options;
    this.#talk = options.talk;
  }

  /** The body of a Query message. */
  take(body: string): WireFault | null {
    const read = readQuery(body);
    if (isFault(read)) return read;
    const { judge } = this.#talk.ports;
    const text = fromUtf8(read.text);
    this.#options.named.dropUnnamed();
    if (text === null) return this.refuse(judge.refuse("not_utf8", "", null));
    if (this.#options.unreadable()) return this.refuse(judge.refuse("reader_unavailable", "", null));
    const reading = this.#talk.sql.read(text);
    const { length } = reading.statements;
    if (length > this.#talk.limits.perQuery)
      return this.refuse(judge.refuse("statement_too_large", `${length} statements`, null));
    // A comment alone asks nothing of the server, and tells it nothing.
    if (reading.complete && length === 0) this.#send("", []);
    else {
      const renamed = (name: string): string | null => this.#options.named.renamed(name);
      const { questions, bytes } = questionsOfQuery(read.text, reading, this.#options.sqlNames, renamed, this.#talk);
      this.#askNext(bytes, questions, []);
    }
    return null;
  }

  #askNext(bytes: string, questions: readonly Question[], acts: Act[]): void {
    const question = questions[acts.length];
    if (question === undefined) {
      this.#maskAll(bytes, acts, 0, false);
      return;
    }
    this.#options.asking.ask({
      question,
      written: this.#options.asking.written(question, null),
      parameters: "",
      wire: question.bytes,
      before: acts,
      goOn: (verdict) => {
        if (!(verdict instanceof Act)) return this.#notSent(acts, verdict);
        acts.push(verdict);
        this.#askNext(bytes, questions, acts);
      },
    });
  }

  /** `changed`: one of those in front changes the catalogue. */
  #maskAll(bytes: string, acts: readonly Act[], at: number, changed: boolean): void {
    const act = acts[at];
    if (act === undefined) return this.#send(bytes, acts);
    this.#options.masks.prepare(act, { batch: false, changed }, (objection) => {
      if (objection === null) this.#maskAll(bytes, acts, at + 1, changed || this.#options.masks.changes(act));
      else this.#notSent(acts, objection);
    });
  }

  #notSent(acts: readonly Act[], refusal: Refusal): void {
    for (const act of acts) act.finish(this.#talk.ports.judge, "not-sent");
    this.refuse(refusal);
  }

  #send(bytes: string, acts: readonly Act[]): void {
    const talk = this.#talk;
    const step = new Step("query");
    step.acts = acts;
    talk.steps.push(step);
    for (const act of acts) {
      talk.starts(act);
      this.#options.masks.sent(act);
    }
    talk.begun = false;
    talk.hurried = true;
    talk.write(acts[0]?.permit ?? talk.ports.connect, queryText(bytes));
  }

  /** Nothing is awaited. Inside a transaction the server must know that a statement failed, as it would if it had refused it itself. */
  refuse(refusal: Refusal): null {
    const talk = this.#talk;
    const text = refusalText(refusal);
    if (talk.status === "I" && !talk.begun && this.#options.between()) {
      talk.tell(text + readyText("I"));
      this.#options.quiet();
      return null;
    }
    const step = new Step("poison");
    step.text = text;
    talk.steps.push(step);
    talk.steps.push(new Step("sync"));
    talk.begun = false;
    talk.hurried = true;
    talk.write(talk.ports.connect, executeText(talk.names.next(), 0) + SYNC);
    return null;
  }
}
