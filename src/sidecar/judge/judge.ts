/**
 * The only door: every operation is asked here, and nowhere else is a Permit made. `ask` answers at once: it evaluates (or hits
 * the cache), adds the record's "before" line to this turn's batch, and returns a value.
 *
 * Fails closed: no bundle, a record that cannot be taken, an obligation that the protocol cannot carry out, and every fault of
 * the policy are refusals, each on record wherever a record can still be taken.
 */
import { hash } from "node:crypto";
import { capabilityOf } from "#contract/capabilities.ts";
import type { Decision } from "#contract/decision.ts";
import { DENIALS, type Denial, type DenialCode } from "#contract/denial.ts";
import { OPERATION_VERSION } from "#contract/version.ts";
import type { LoadedPolicy, PolicyHolder, Profile } from "#contract/policy-port.ts";
import type { Recorder, SessionEntry } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import type { Clock } from "#core/clock.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Held, Judge, Operation, Outcome, Permit, Refusal, Scope } from "#sidecar/seam/verdict.ts";
import { Folder } from "./fold.ts";
import { opened, permit } from "./permit.ts";

/** What is known of the run that an operation belongs to. */
export interface Run {
  readonly id: string;
  readonly user: string;
  readonly intent: string;
  readonly verified: boolean;
}

/** Told of each verdict; for metrics and the terminal. `ms` is what the decision took. */
export interface Verdict {
  readonly verdict: "allow" | "deny" | "hold";
  readonly protocol: string;
  readonly action: string;
  readonly phase: Operation["phase"] | "connect";
  readonly target: string | null;
  readonly host: string;
  readonly port: number;
  readonly code: string;
  readonly message: string;
  readonly policies: readonly string[];
  readonly would: boolean;
  readonly folded: boolean;
  readonly event: string;
  readonly facts: string;
  readonly detail: string;
  readonly ms: number;
}

export interface JudgeOptions {
  readonly holder: PolicyHolder;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly run: Run | null;
  readonly told?: (verdict: Verdict) => void;
}

/** What a connection was addressed to, or as much of it as is known when it is refused. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly target: Target | null;
}

/** A connection's judge, with what only the pipeline may ask. */
export interface ConnectionJudge extends Judge {
  readonly session: number;
  connect(operation: Operation): Permit<"connect"> | Refusal | Held;
  /** Asks `connect` again on the bundle now in force. Null: allowed still. */
  again(): Refusal | null;
  close(bytesUp: number, bytesDown: number, why: string): void;
}

export interface Judges {
  open(entry: SessionEntry, place: Place): ConnectionJudge;
  /** Judges something that has no connection (a DNS query): never forwarded, so no permit comes of it. */
  flush(): void;
}

const EMPTY_DECISION: Decision = Object.freeze({
  effect: "deny",
  code: "",
  message: "",
  advice: "",
  policies: [],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: "",
});

function ownDecision(code: string, denial: Denial): Decision {
  return {
    ...EMPTY_DECISION,
    code,
    message: denial.message,
    advice: denial.advice,
    text: `"code":${quote(code)},"message":${quote(denial.message)}`,
  };
}

function isOwn(code: string): code is DenialCode {
  return Object.hasOwn(DENIALS, code);
}

/** Ours where the code is ours; a policy's own code is class "policy". */
function denialOf(code: string): Denial {
  return isOwn(code) ? DENIALS[code] : DENIALS.denied;
}

export function createJudges(options: JudgeOptions): Judges {
  const { recorder } = options;
  const folder = new Folder((op, count, what) => recorder.fold({ op, count, what }));
  const runText =
    options.run === null
      ? "null"
      : `{"id":${quote(options.run.id)},"user":${quote(options.run.user)},"intent":${quote(options.run.intent)},"verified":${options.run.verified}}`;
  return {
    open(entry, place) {
      return new Connection(options, folder, runText, recorder.session(entry), place);
    },
    flush() {
      folder.flush();
    },
  };
}

class Connection implements ConnectionJudge {
  readonly session: number;
  readonly #options: JudgeOptions;
  readonly #recorder: Recorder;
  readonly #clock: Clock;
  readonly #folder: Folder;
  readonly #place: Place;
  readonly #preamble: string;
  #connected: Operation | null = null;

  constructor(options: JudgeOptions, folder: Folder, runText: string, session: number, place: Place) {
    this.#options = options;
    this.#recorder = options.recorder;
    this.#clock = options.clock;
    this.#folder = folder;
    this.session = session;
    this.#place = place;
    const name = place.target === null || place.target.name === "" ? null : place.target.name;
    this.#preamble = `"v":${OPERATION_VERSION},"target":{"name":${quoteOrNull(name)},"host":${quote(place.host)},"port":${place.port},"labels":${JSON.stringify(place.target?.labels ?? {})}},"run":${runText}`;
  }

  get profile(): Profile | null {
    return this.#options.holder.current?.profile ?? null;
  }

  connect(operation: Operation): Permit<"connect"> | Refusal {
    this.#connected = operation;
    return this.#judge("connect", operation);
  }

  ask(operation: Operation): Permit<"ask"> | Refusal {
    return this.#judge("ask", operation);
  }

  answer(operation: Operation): Permit<"answer"> | Refusal {
    return this.#judge("answer", operation);
  }

  again(): Refusal | null {
    if (this.#connected === null) return null;
    const loaded = this.#options.holder.current;
    const facts = factsOf(this.#connected);
    const decision =
      loaded === null ? ownDecision("no_bundle", DENIALS.no_bundle) : this.#decide(loaded, this.#connected, facts);
    // Allowed as before: nothing new was done, so nothing new is recorded.
    if (decision.effect === "allow") return null;
    return this.#refusal("connect", this.#connected, facts, decision, loaded, clockless);
  }

  refuse(code: string, detail: string, operation: Operation | null): Refusal {
    const denial = denialOf(code);
    const decision = ownDecision(code, denial);
    const said = operation ?? { ...UNREAD, detail: detail === "" ? "" : `"fault":${quote(detail)}` };
    const withDetail =
      operation !== null && detail !== ""
        ? {
            ...said,
            detail: said.detail === "" ? `"fault":${quote(detail)}` : `${said.detail},"fault":${quote(detail)}`,
          }
        : said;
    const refusal = this.#refusal(
      "ask",
      withDetail,
      factsOf(withDetail),
      decision,
      this.#options.holder.current,
      clockless,
    );
    return detail === "" || refusal.message === ""
      ? refusal
      : { ...refusal, message: `${refusal.message} (${detail})` };
  }

  finish(permit: Permit, outcome: Outcome): void {
    const made = opened(permit);
    if (made.finished) throw new Error(`permit ${made.seq} finished twice`);
    made.finished = true;
    this.#recorder.end({
      op: made.seq,
      status: outcome.status,
      ms: this.#clock.elapsedMs() - made.startedMs,
      bytesUp: made.bytesUp,
      bytesDown: made.bytesDown,
      masked: outcome.masked,
      attempts: outcome.attempts,
    });
  }

  close(bytesUp: number, bytesDown: number, why: string): void {
    this.#recorder.closed(this.session, bytesUp, bytesDown, why);
  }

  #judge<S extends Scope>(scope: S, operation: Operation): Permit<S> | Refusal {
    const startedMs = this.#clock.elapsedMs();
    const loaded = this.#options.holder.current;
    const facts = factsOf(operation);
    if (loaded === null)
      return this.#refusal(scope, operation, facts, ownDecision("no_bundle", DENIALS.no_bundle), null, startedMs);
    const decision = this.#decide(loaded, operation, facts);
    if (decision.effect !== "allow") return this.#refusal(scope, operation, facts, decision, loaded, startedMs);
    const reads = operation.action === "read" || operation.action === "connect";
    const full = this.#recorder.refuses(reads);
    if (full !== null)
      return this.#refusal(scope, operation, facts, ownDecision(full, DENIALS[full]), loaded, startedMs);
    const seq = this.#record(scope, operation, "allow", decision, loaded.revision);
    // It could not be taken after all: nothing leaves without its line.
    if (seq === 0)
      return this.#refusal(
        scope,
        operation,
        facts,
        ownDecision("audit_failed", DENIALS.audit_failed),
        loaded,
        startedMs,
      );
    this.#tell(scope, operation, facts, "allow", decision, seq, false, startedMs);
    return permit(scope, seq, decision, startedMs);
  }

  /** The bundle's decision, turned into a denial where the protocol cannot carry out what it asks for. */
  #decide(loaded: LoadedPolicy, operation: Operation, facts: string): Decision {
    const time = loaded.profile.reads("time") ? `,"time":${this.#clock.wallMs()}` : "";
    const decision = loaded.decide(`${this.#preamble},${facts}${time}`);
    if (decision.effect === "deny") return decision;
    const can = capabilityOf(operation.protocol);
    if (can === undefined || can.carried === "none")
      return ownDecision("protocol_unsupported", DENIALS.protocol_unsupported);
    if ((decision.mask.length > 0 && !can.mask) || (decision.credential !== null && !can.credential))
      return ownDecision("obligation_unsupported", DENIALS.obligation_unsupported);
    if (decision.effect === "hold")
      return {
        ...decision,
        effect: "deny",
        code: "approval_unavailable",
        message: DENIALS.approval_unavailable.message,
        advice: DENIALS.approval_unavailable.advice,
      };
    return decision;
  }

  #refusal(
    scope: Scope,
    operation: Operation,
    facts: string,
    decision: Decision,
    loaded: LoadedPolicy | null,
    startedMs: number,
  ): Refusal {
    const now = this.#clock.elapsedMs();
    const coarse = `${this.#place.target?.name ?? ""} ${this.#place.host}:${this.#place.port} ${decision.code}`;
    const exact = hash("sha256", `${scope}\n${this.#preamble}\n${facts}\n${decision.code}`, "base64");
    const folded = this.#folder.ask(exact, coarse, decision.quiet, now);
    const denial = denialOf(decision.code);
    let seq: number;
    let event: string;
    if (folded.kind === "folded") {
      seq = folded.seq;
      event = folded.event;
    } else {
      seq = this.#record(scope, operation, "deny", decision, loaded?.revision ?? "");
      event = `${this.#recorder.boot}-${seq}`;
      this.#folder.recorded(exact, coarse, seq, event, now);
    }
    this.#tell(
      scope,
      operation,
      facts,
      "deny",
      decision,
      seq,
      folded.kind === "folded",
      startedMs === clockless ? now : startedMs,
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

  #record(scope: Scope, operation: Operation, verdict: "allow" | "deny", decision: Decision, revision: string): number {
    return this.#recorder.op({
      session: this.session,
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
    });
  }

  #tell(
    scope: Scope,
    operation: Operation,
    facts: string,
    verdict: "allow" | "deny",
    decision: Decision,
    seq: number,
    folded: boolean,
    startedMs: number,
  ): void {
    this.#options.told?.({
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
      event: `${this.#recorder.boot}-${seq}`,
      facts,
      detail: operation.detail,
      ms: this.#clock.elapsedMs() - startedMs,
    });
  }
}

/** `startedMs` of a refusal that no decision preceded. */
const clockless = -1;

const UNREAD: Operation = {
  protocol: "tcp",
  action: "unknown",
  phase: "ask",
  parent: null,
  complete: false,
  run: null,
  traceparent: null,
  facts: "",
  detail: "",
  body: null,
};

function factsOf(operation: Operation): string {
  const head = `"protocol":"${operation.protocol}","action":"${operation.action}","complete":${operation.complete}`;
  return operation.facts === "" ? head : `${head},${operation.facts}`;
}
