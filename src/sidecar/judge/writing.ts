/**
 * What comes of a verdict beside its answer: its line on record, its figure in the metrics, and what an agent is told of a refusal.
 * Repeated refusals are folded: they have the same event, and no line of their own.
 */
import { hash } from "node:crypto";
import type { Decision } from "#contract/decision.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import type { OpEntry } from "#contract/record.ts";
import type { Operation, Refusal, Scope } from "#sidecar/seam/verdict.ts";
import type { Findings } from "./brought.ts";
import type { Folder } from "./fold.ts";
import type { JudgeOptions, Place } from "./judges.ts";
import { denialOf } from "./own-decision.ts";

/** What all connections' judges have in common. */
export interface Shared extends JudgeOptions {
  readonly folder: Folder;
  readonly findings: Findings;
  readonly runText: string;
}

/** `startedMs` of a refusal that no decision preceded. */
export const CLOCKLESS = -1;

/** Of one connection. */
export class Writing {
  readonly #options: Shared;
  readonly #session: number;
  readonly #place: Place;
  /** The part of each question, and of each line, that is the connection's. */
  readonly #preamble: string;

  constructor(options: Shared, session: number, place: Place, preamble: string) {
    this.#options = options;
    this.#session = session;
    this.#place = place;
    this.#preamble = preamble;
  }

  refusal(
    scope: Scope,
    operation: Operation,
    facts: string,
    decision: Decision,
    loaded: LoadedPolicy | null,
    startedMs: number,
    fault = "",
  ): Refusal {
    const now = this.#options.clock.elapsedMs();
    const coarse = `${this.#place.target?.name ?? ""} ${this.#place.host}:${this.#place.port} ${decision.code}`;
    const exact = hash("sha256", `${scope}\n${this.#preamble}\n${facts}\n${decision.code}\n${fault}`, "base64");
    const folded = this.#options.folder.ask(exact, coarse, decision.quiet, now);
    const denial = denialOf(decision.code);
    let seq: number;
    let event: string;
    if (folded.kind === "folded") {
      seq = folded.seq;
      event = folded.event;
    } else {
      seq = this.record(scope, operation, "deny", decision, loaded?.revision ?? "");
      event = `${this.#options.recorder.boot}-${seq}`;
      this.#options.folder.recorded(exact, coarse, seq, event, now);
    }
    this.tell(
      scope,
      operation,
      facts,
      "deny",
      decision,
      seq,
      folded.kind === "folded",
      startedMs === CLOCKLESS ? now : startedMs,
    );
    const terse = loaded?.settings.denialDetail === "code";
    return {
      kind: "refusal",
      seq,
      event,
      code: decision.code,
      class: denial.class,
      message: terse ? "" : decision.message,
      advice: terse ? "" : decision.advice === "" ? denial.advice : decision.advice,
      policy: terse ? "" : (decision.policies[0] ?? ""),
      revision: loaded?.revision ?? "",
      retryable: denial.retryable,
      retryAfterS: folded.kind === "folded" ? folded.retryAfterS : null,
    };
  }

  record(
    scope: Scope,
    operation: Operation,
    verdict: "allow" | "deny" | "hold",
    decision: Decision,
    revision: string,
  ): number {
    return this.#options.recorder.op(this.entry(scope, operation, verdict, decision, revision));
  }

  entry(
    scope: Scope,
    operation: Operation,
    verdict: OpEntry["verdict"],
    decision: Decision,
    revision: string,
    like?: OpEntry,
  ): OpEntry {
    return {
      session: this.#session,
      phase: scope,
      parent: operation.parent,
      protocol: operation.protocol,
      action: operation.action,
      complete: operation.complete,
      preamble: this.#preamble,
      facts: operation.facts,
      detail: operation.detail,
      verdict,
      decision: decision.text,
      revision,
      traceparent: operation.traceparent,
      body: operation.body,
      kept: undefined,
      like,
    };
  }

  tell(
    scope: Scope,
    operation: Operation,
    facts: string,
    verdict: "allow" | "deny",
    decision: Decision,
    seq: number,
    folded: boolean,
    startedMs: number,
  ): void {
    const { counted, told } = this.#options;
    const ms = this.#options.clock.elapsedMs() - startedMs;
    counted?.(operation.protocol, verdict, decision, folded, ms);
    told?.({
      verdict,
      protocol: operation.protocol,
      action: operation.action,
      phase: scope,
      target: this.#place.target?.name ?? null,
      host: this.#place.host,
      port: this.#place.port,
      code: decision.code,
      message: decision.message,
      policies: decision.policies,
      would: decision.would !== null,
      folded,
      event: `${this.#options.recorder.boot}-${seq}`,
      facts,
      detail: operation.detail,
      ms,
    });
  }
}
