/**
 * One statement that was permitted, from then until its permit is finished: exactly once, with the word that the server had for it.
 */
import type { MaskRule } from "#contract/decision.ts";
import type { Judge, Operation, Permit } from "#sidecar/seam/verdict.ts";
import type { Question } from "./question.ts";
import type { SessionEffect, Statement } from "./sql/reading.ts";

export class Act {
  permit: Permit<"ask">;
  readonly operation: Operation;
  /** What it amounts to; for EXECUTE and FETCH the statement that they run. */
  readonly statements: readonly Statement[];
  readonly effects: readonly SessionEffect[];
  /** The statement as it stands in the text; null: it was not understood. */
  readonly statement: Statement | null;
  /** Reads, and changes nothing of the session: whatever comes behind it may be judged before it has ended. */
  readonly pure: boolean;
  /** Not understood: it may have changed anything in the session. */
  readonly opaque: boolean;
  /** Leaves nothing in the session that DISCARD ALL does not undo (manual: DISCARD). */
  readonly discardable: boolean;
  /** The bytes that an approval would cover: text and parameters, latin1. */
  readonly wire: string;
  /** Under which policy it was permitted. */
  profile: object | null;
  masked = 0;
  #finished = false;

  constructor(permit: Permit<"ask">, operation: Operation, question: Question, wire: string, profile: object | null) {
    this.permit = permit;
    this.operation = operation;
    this.statements = question.judged.statements;
    this.effects = question.statement?.effects ?? NONE;
    this.statement = question.statement;
    this.opaque = !operation.complete;
    this.pure = operation.complete && operation.action === "read" && this.effects.length === 0;
    this.discardable = !this.opaque && isDiscardable(operation, this.effects, this.statements);
    this.wire = wire;
    this.profile = profile;
  }

  get finished(): boolean {
    return this.#finished;
  }

  get masks(): readonly MaskRule[] {
    return this.permit.decision.mask;
  }

  /** `status`: a command tag, a SQLSTATE, or a word of ours. Later calls count nothing. */
  finish(judge: Judge, status: string): void {
    if (this.#finished) return;
    this.#finished = true;
    judge.finish(this.permit, { status, masked: this.masked, attempts: 1 });
  }

  /** Permitted again, on another policy. */
  permittedAnew(judge: Judge, permit: Permit<"ask">, profile: object | null): void {
    const before = this.permit;
    this.permit = permit;
    this.profile = profile;
    judge.finish(before, { status: "rejudged", masked: 0, attempts: 1 });
  }
}

const NONE: readonly SessionEffect[] = [];

/**
 * What only reads and writes tables, and sets settings of the server's own, is. Others may leave what no command takes back: libraries that
 * were loaded, connections of dblink, custom settings (they stay defined), the seed of random().
 */
function isDiscardable(
  { action }: Operation,
  effects: readonly SessionEffect[],
  statements: readonly Statement[],
): boolean {
  if (action !== "read" && action !== "write") return false;
  for (const effect of effects) if (effect.kind === "set" && effect.name.includes(".")) return false;
  for (const { functions } of statements) for (const name of functions) if (SEEDS.has(name)) return false;
  return true;
}

const SEEDS: ReadonlySet<string> = new Set(["setseed", "pg_catalog.setseed"]);
