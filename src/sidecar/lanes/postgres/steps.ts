/**
 * What the upstream still has to answer, in order: one step for each message that was sent to it and that it answers. An answer
 * that the first step does not expect is a fault: from then on nobody knows what belongs to what.
 */
import type { Act } from "./act.ts";
import type { ResultMask } from "./masking.ts";
import type { Portal, Prepared, Undo } from "./names.ts";

export type StepKind =
  | "parse"
  | "bind"
  | "close"
  | "describe" // RowDescription or NoData; of a statement after a ParameterDescription
  | "execute"
  | "query" // up to its ReadyForQuery
  | "sync"
  | "poison"; // an error that we provoked, for a refusal in the middle of a batch

export class Step {
  readonly kind: StepKind;
  /** A message of our own: its answer is not the agent's. */
  readonly hidden: boolean;
  /** Takes back what its message changed in our state, where the server skipped or refused it. */
  undo: Undo | null = null;
  /** The statement that it is about, for parse, bind, describe and execute. */
  prepared: Prepared | null = null;
  /** execute: what it runs. */
  portal: Portal<Act> | null = null;
  /** execute: one; query: one for each statement. */
  acts: readonly Act[] = NONE;
  /** How many of its acts are done. */
  done = 0;
  /** As it goes upstream, until it has been sent. */
  wire = "";
  /** poison: what the agent gets in the place of the error. */
  text = "";
  /** close: of a name that PREPARE gave. */
  closesSql: string | null = null;
  /** describe of a statement: its ParameterDescription is still to come. */
  parameters = false;
  /** query: its ErrorResponse has come. */
  failed = false;
  /** hidden describe: the execute whose rows it describes. execute: how they are masked. */
  describes: Step | null = null;
  mask: ResultMask | null = null;
  /** The messages of a query of our own: who wants its rows. */
  collecting: Collecting | null = null;

  /** hidden sync: its ReadyForQuery has come. */
  synced: (() => void) | null = null;

  constructor(kind: StepKind, hidden = false) {
    this.kind = kind;
    this.hidden = hidden;
  }

  get act(): Act | null {
    return this.acts[this.done] ?? null;
  }
}

/** A query of our own on the agent's session. */
export interface Collecting {
  readonly rows: (readonly (string | null)[])[];
  /** It has been answered. */
  complete(): void;
  /** It failed. In a batch the agent must be told, and what it is told is the answer; else null. */
  failed(): string | null;
}

const NONE: readonly Act[] = [];

/** First in, first out. */
export class Steps {
  #steps: Step[] = [];
  #at = 0;

  get length(): number {
    return this.#steps.length - this.#at;
  }

  get first(): Step | null {
    return this.#steps[this.#at] ?? null;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  shift(): void {
    this.#at++;
    if (this.#at === this.#steps.length) {
      this.#steps = [];
      this.#at = 0;
    } else if (this.#at > 1_024) {
      this.#steps = this.#steps.slice(this.#at);
      this.#at = 0;
    }
  }

  /** Takes out everything before the first step that `stops`, or everything; in order. */
  takeUntil(stops: (step: Step) => boolean): Step[] {
    const rest = this.#steps.slice(this.#at);
    const end = rest.findIndex(stops);
    const taken = end < 0 ? rest : rest.slice(0, end);
    this.#steps = rest.slice(taken.length);
    this.#at = 0;
    return taken;
  }

  *[Symbol.iterator](): Iterator<Step> {
    for (let i = this.#at; i < this.#steps.length; i++) {
      const step = this.#steps[i];
      if (step !== undefined) yield step;
    }
  }
}
