/**
 * One statement that was permitted, from then until its permit is finished: exactly once, with the word that the server had for it.
 */
import type { Judge, Operation, Permit } from "#sidecar/seam/verdict.ts";
import type { SessionEffect, Statement } from "./sql/reading.ts";

export class Act {
  permit: Permit<"ask">;
  readonly operation: Operation;
  /** What it amounts to; for EXECUTE the statement that it runs. */
  readonly statements: readonly Statement[];
  readonly effects: readonly SessionEffect[];
  /** Reads, and changes nothing of the session: whatever comes behind it may be judged before it has ended. */
  readonly pure: boolean;
  /** Not understood: it may have changed anything in the session. */
  readonly opaque: boolean;
  /** Under which policy it was permitted. */
  profile: object | null;
  masked = 0;
  #finished = false;

  constructor(
    permit: Permit<"ask">,
    operation: Operation,
    statements: readonly Statement[],
    effects: readonly SessionEffect[],
    profile: object | null,
  ) {
    this.permit = permit;
    this.operation = operation;
    this.statements = statements;
    this.effects = effects;
    this.opaque = !operation.complete;
    this.pure = operation.complete && operation.action === "read" && effects.length === 0;
    this.profile = profile;
  }

  get finished(): boolean {
    return this.#finished;
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
