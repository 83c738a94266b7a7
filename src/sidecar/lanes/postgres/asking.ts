/**
 * Asks the judge for single statements, and waits where a person has to decide: on this connection, telling the client now and then, and
 * giving up when it leaves.
 */
import type { Profile } from "#contract/policy-port.ts";
import type { Held, Operation, Permit, Refusal, Waiter } from "#sidecar/seam/verdict.ts";
import { Act } from "./act.ts";
import { noticeText } from "./codec/backend.ts";
import { fromUtf8 } from "./codec/text.ts";
import type { Prepared } from "./names.ts";
import { OperationWriter, type Redact } from "./operations.ts";
import type { Question, Written } from "./question.ts";
import type { Talk } from "./talk.ts";

/** A held statement's client hears of it this often, so that no limit between takes the silence for an end. */
const KEEPALIVE_MS = 15_000;

export interface Asked {
  readonly question: Question;
  readonly written: Written;
  /** Of its parameters, for the record: a member with a comma in front, or empty. */
  readonly parameters: string;
  /** What an approval covers: text and parameters. */
  readonly wire: string;
  /** Statements of the same Query that were permitted before it, and not sent. */
  readonly before: readonly Act[];
  readonly goOn: (verdict: Act | Refusal) => void;
}

interface Waiting {
  readonly held: Held;
  readonly asked: Asked;
  readonly operation: Operation;
}

export class Asking implements Waiter<"ask"> {
  readonly #talk: Talk;
  readonly #writer: OperationWriter;
  /** Whether something of ours may be put between the upstream's messages now. */
  readonly #between: () => boolean;
  #waiting: Waiting | null = null;

  constructor(talk: Talk, redact: Redact, between: () => boolean) {
    this.#talk = talk;
    this.#between = between;
    const { user, database } = talk.identity;
    this.#writer = new OperationWriter(fromUtf8(user) ?? "", fromUtf8(database) ?? "", redact);
  }

  get waits(): boolean {
    return this.#waiting !== null;
  }

  /** Calls `goOn` once, now or when a held statement is settled; never where its client has left. */
  ask(asked: Asked): void {
    const { judge } = this.#talk.ports;
    const { question, written, parameters, goOn } = asked;
    const { objection } = question;
    if (objection !== null) {
      const operation = this.#writer.operation(written, question.extra + parameters, null);
      goOn(judge.refuse(objection.code, objection.why, operation));
      return;
    }
    const covered = judge.profile?.mayHold === true ? this.#talk.history.cover(asked.wire) : null;
    const operation = this.#writer.operation(written, question.extra + parameters, covered);
    const verdict = judge.ask(operation, this);
    if (verdict.kind === "permit") goOn(new Act(verdict, operation, question, asked.wire, judge.profile));
    else if (verdict.kind === "refusal") goOn(verdict);
    else {
      this.#waiting = { held: verdict, asked, operation };
      this.#keepAlive(verdict);
    }
  }

  /** Whether a statement may be prepared: it is asked for as if it ran, but nobody is waited for. Null: it may. */
  prepare(prepared: Prepared, question: Question): Refusal | null {
    const { judge } = this.#talk.ports;
    const written = this.written(question, prepared);
    const operation = this.#writer.operation(written, `${question.extra},"step":"prepare"`, null);
    if (question.objection !== null) return judge.refuse(question.objection.code, question.objection.why, operation);
    const verdict = judge.ask(operation, this);
    if (verdict.kind === "refusal") return verdict;
    // A person is asked when it would act, and once.
    if (verdict.kind === "held") verdict.abandon("cancelled");
    else judge.finish(verdict, { status: "prepared", masked: 0, attempts: 1 });
    prepared.judged = judge.profile;
    return null;
  }

  /** The part of its operation that does not change; kept with a prepared statement. */
  written(question: Question, prepared: Prepared | null): Written {
    const profile: Profile | null = this.#talk.ports.judge.profile;
    const kept = prepared === null ? null : prepared.written;
    if (kept !== null && kept.profile === profile && kept.complete === question.judged.complete) return kept;
    const written = this.#writer.write(question.judged, profile);
    // What it runs by name may be another statement next time.
    if (prepared !== null && question.extra === "" && question.judged.statements[0] === question.statement)
      prepared.written = written;
    return written;
  }

  settled(held: Held, verdict: Permit<"ask"> | Refusal): void {
    const waiting = this.#waiting;
    const { judge } = this.#talk.ports;
    if (waiting === null || waiting.held !== held) {
      // Its client has left: what was permitted is not done.
      if (verdict.kind === "permit") judge.finish(verdict, { status: "client-left", masked: 0, attempts: 0 });
      return;
    }
    this.#waiting = null;
    const { asked, operation } = waiting;
    asked.goOn(
      verdict.kind === "refusal" ? verdict : new Act(verdict, operation, asked.question, asked.wire, judge.profile),
    );
    if (!this.#talk.over) this.#talk.intake.pump();
  }

  abandon(why: "client-left" | "cancelled" | "drain"): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    this.#waiting = null;
    waiting.held.abandon(why);
    for (const act of waiting.asked.before) act.finish(this.#talk.ports.judge, "not-sent");
  }

  #keepAlive(held: Held): void {
    this.#talk.ports.after(KEEPALIVE_MS, () => {
      if (this.#waiting?.held !== held) return;
      if (this.#between())
        this.#talk.tell(
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
}
