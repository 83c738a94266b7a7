/**
 * The only door: every operation is asked here, and nowhere else is a Permit made. `ask` answers at once: it evaluates (or hits
 * the cache), adds the record's "before" line to this turn's batch, and returns a value.
 *
 * Fails closed: no bundle, a record that cannot be taken, an obligation that the protocol cannot carry out, and every fault of
 * the policy are refusals, each on record wherever a record can still be taken.
 */
import { redact } from "#audit/redact.ts";
import { capabilityOf } from "#contract/capabilities.ts";
import { type Credential, CredentialFault } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import { DENIALS } from "#contract/denial.ts";
import type { LoadedPolicy, Profile } from "#contract/policy-port.ts";
import type { Recorder } from "#contract/record.ts";
import { OPERATION_VERSION } from "#contract/version.ts";
import type { Clock } from "#core/clock.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Waiting } from "#sidecar/seam/credentials.ts";
import type { Held, Operation, Outcome, Permit, Refusal, Scope, Waiter } from "#sidecar/seam/verdict.ts";
import { type Allowed, asksTheSame, factsOf, UNREAD } from "./asked.ts";
import { Findings } from "./brought.ts";
import { logsInAtConnect, type Protection, whyForbidden, whyUnfit } from "./credential-rules.ts";
import { Folder } from "./fold.ts";
import type { ConnectionJudge, JudgeOptions, Judges, Place } from "./judges.ts";
import { denialOf, ownDecision } from "./own-decision.ts";
import { opened, permit } from "./permit.ts";
import { CLOCKLESS, type Shared, Writing } from "./writing.ts";

let holds = 0;

export function createJudges(options: JudgeOptions): Judges {
  const { recorder } = options;
  const findings = new Findings(options.clock, (kind, members) => void recorder.note(kind, members));
  const folder = new Folder((op, count, what) => recorder.fold({ op, count, what }));
  const runText =
    options.run === null
      ? "null"
      : `{"id":${quote(options.run.id)},"user":${quote(options.run.user)},"intent":${quote(options.run.intent)},"verified":${options.run.verified}}`;
  return {
    open(entry, place) {
      return new Connection({ ...options, folder, findings, runText }, recorder.session(entry), place);
    },
    flush() {
      folder.flush();
    },
  };
}

class Connection implements ConnectionJudge {
  readonly session: number;
  readonly #options: Shared;
  readonly #recorder: Recorder;
  readonly #clock: Clock;
  readonly #place: Place;
  readonly #preamble: string;
  readonly #writing: Writing;
  /** Credentials that somebody waits for. */
  readonly #waiting = new Set<Waiting>();
  #connected: Operation | null = null;
  /** The credential that `connect` was permitted with. */
  #connectedAs: string | null = null;
  #protection: Protection = "none";
  #allowed: Allowed | null = null;
  #broken: ((error: unknown) => void) | null = null;

  constructor(options: Shared, session: number, place: Place) {
    this.#options = options;
    this.#recorder = options.recorder;
    this.#clock = options.clock;
    this.session = session;
    this.#place = place;
    const name = place.target === null || place.target.name === "" ? null : place.target.name;
    this.#preamble = `"v":${OPERATION_VERSION},"target":{"name":${quoteOrNull(name)},"host":${quote(place.host)},"port":${place.port},"labels":${JSON.stringify(place.target?.labels ?? {})}},"run":${options.runText}`;
    this.#writing = new Writing(options, session, place, this.#preamble);
  }

  get run(): string {
    return this.#options.run?.id ?? "";
  }

  get profile(): Profile | null {
    return this.#options.holder.current?.profile ?? null;
  }

  protect(by: Protection, broken: (error: unknown) => void): void {
    this.#protection = by;
    this.#broken = broken;
  }

  connect(operation: Operation, waiter: Waiter<"connect">): Permit<"connect"> | Refusal | Held {
    this.#connected = operation;
    return this.#judge("connect", operation, waiter);
  }

  ask(operation: Operation, waiter: Waiter<"ask">): Permit<"ask"> | Refusal | Held {
    return this.#judge("ask", operation, waiter);
  }

  answer(operation: Operation, waiter: Waiter<"answer">): Permit<"answer"> | Refusal | Held {
    return this.#judge("answer", operation, waiter);
  }

  renew(permit: Permit<"connect" | "ask">, then: (found: Credential | null) => void): void {
    const made = opened(permit);
    if (made.credential === null) throw new Error(`permit ${made.seq} has no credential`);
    const { credentials } = this.#options;
    this.#wait((done) =>
      credentials.renew(made.credential as Credential, (found) => {
        if (found !== null) made.credential = found;
        done(() => then(found));
      }),
    );
  }

  again(): Refusal | null {
    if (this.#connected === null) return null;
    const loaded = this.#options.holder.current;
    const facts = factsOf(this.#connected);
    const decision =
      loaded === null ? ownDecision("no_bundle", DENIALS.no_bundle) : this.#decide(loaded, this.#connected, facts);
    // Allowed as before: nothing new was done, so nothing new is recorded.
    if (decision.effect === "allow" && (this.#connectedAs === null || this.#connectedAs === decision.credential))
      return null;
    const why = decision.effect === "allow" ? ownDecision("revoked", DENIALS.revoked) : decision;
    return this.#writing.refusal("connect", this.#connected, facts, why, loaded, CLOCKLESS);
  }

  refuse(asked: string, why: string, operation: Operation | null): Refusal {
    // Targets come with the bundle: without one nothing is known, and that is what has to be said.
    const code = asked === "target_unknown" && this.#options.holder.current === null ? "no_bundle" : asked;
    // It quotes what the agent sent: a name, a protocol. It goes to the terminal and into the answer, too.
    const detail = redact(why, "name");
    const denial = denialOf(code);
    const decision = ownDecision(code, denial);
    const said = operation ?? {
      ...UNREAD,
      protocol: this.#connected?.protocol ?? UNREAD.protocol,
      detail: detail === "" ? "" : `"fault":${quote(detail)}`,
    };
    const withDetail =
      operation !== null && detail !== ""
        ? {
            ...said,
            detail: said.detail === "" ? `"fault":${quote(detail)}` : `${said.detail},"fault":${quote(detail)}`,
          }
        : said;
    const refusal = this.#writing.refusal(
      "ask",
      withDetail,
      factsOf(withDetail),
      decision,
      this.#options.holder.current,
      CLOCKLESS,
      detail,
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
    const { target, host } = this.#place;
    for (const finding of outcome.findings ?? [])
      this.#options.findings.tell(finding, target?.name ?? "", host, "answer", "masked");
  }

  close(bytesUp: number, bytesDown: number, why: string): void {
    for (const waiting of this.#waiting) waiting.cancel();
    this.#waiting.clear();
    this.#recorder.closed(this.session, bytesUp, bytesDown, why);
  }

  /** `waiter`: null when it waited already, and does not wait again. */
  #judge<S extends Scope>(scope: S, operation: Operation, waiter: Waiter<S> | null): Permit<S> | Refusal | Held {
    const startedMs = this.#clock.elapsedMs();
    const loaded = this.#options.holder.current;
    const before = this.#allowed;
    const known =
      before !== null &&
      before.loaded === loaded &&
      before.scope === scope &&
      (before.operation === operation || asksTheSame(before.operation, operation))
        ? before
        : null;
    const facts = known === null ? factsOf(operation) : known.facts;
    const no = (decision: Decision): Refusal =>
      this.#writing.refusal(scope, operation, facts, decision, loaded, startedMs);
    if (loaded === null) return no(ownDecision("no_bundle", DENIALS.no_bundle));
    const decision = known === null ? this.#decide(loaded, operation, facts) : known.decision;
    if (decision.effect !== "allow") return no(decision);
    const reads = operation.action === "read" || operation.action === "connect";
    const full = this.#recorder.refuses(reads);
    if (full !== null) return no(ownDecision(full, DENIALS[full]));
    const { target, host } = this.#place;
    const { brought } = operation;
    const bringing =
      brought === undefined ? null : this.#options.findings.judge(brought, target, host, loaded.settings);
    if (bringing?.kind === "deny") return no(ownDecision(bringing.code, DENIALS[bringing.code], bringing.what));
    let credential: Credential | null = null;
    if (decision.credential !== null && (scope !== "connect" || logsInAtConnect(operation.protocol))) {
      const found = this.#credential(decision.credential, operation);
      if (found === null && waiter !== null) return this.#hold(scope, operation, waiter, decision);
      if (found === null) return no(ownDecision("credential_unavailable", DENIALS.credential_unavailable));
      if ("text" in found) return no(found);
      credential = found;
    }
    const entry =
      known === null
        ? this.#writing.entry(scope, operation, "allow", decision, loaded.revision)
        : known.operation === operation
          ? known.entry
          : this.#writing.entry(scope, operation, "allow", decision, loaded.revision, known.entry.like ?? known.entry);
    const seq = this.#recorder.op(entry);
    // It could not be taken after all: nothing leaves without its line.
    if (seq === 0) return no(ownDecision("audit_failed", DENIALS.audit_failed));
    this.#writing.tell(scope, operation, facts, "allow", decision, seq, false, startedMs);
    if (scope === "connect") this.#connectedAs = credential?.name ?? null;
    // What depends on the time is asked each time.
    else if (known?.operation !== operation && !loaded.profile.reads("time"))
      this.#allowed = { scope, operation, loaded, facts, decision, entry };
    return permit({ scope, seq, decision, startedMs, credential, strip: bringing?.kind === "strip" });
  }

  /** At hand; or a denial; or null: it is being fetched. */
  #credential(name: string, { protocol }: Operation): Credential | Decision | null {
    const { target } = this.#place;
    const opaque = capabilityOf(protocol)?.carried === "opaque";
    const protection = logsInAtConnect(protocol) ? "in-band" : this.#protection;
    const forbidden = whyForbidden(name, target, protection, opaque);
    if (forbidden !== null || target === null)
      return ownDecision("credential_forbidden", DENIALS.credential_forbidden, forbidden ?? "");
    const found = this.#options.credentials.find(name, target);
    if (found === null) return null;
    if (found instanceof CredentialFault) {
      const code = found.why === "unknown" ? "credential_unknown" : "credential_unavailable";
      return ownDecision(code, DENIALS[code], found.message === "" ? name : found.message);
    }
    const unfit = whyUnfit(found, protocol, protection);
    return unfit === null ? found : ownDecision("credential_forbidden", DENIALS.credential_forbidden, unfit);
  }

  /** Nothing is on record yet: what waits was not done. Judged again, on the bundle then in force, when the credential is there. */
  #hold<S extends Scope>(scope: S, operation: Operation, waiter: Waiter<S>, decision: Decision): Held {
    const { credentials } = this.#options;
    const name = decision.credential ?? "";
    const { target } = this.#place;
    if (target === null) throw new Error("a credential without a target");
    const stop = this.#wait((done) =>
      credentials.wait(name, target, () => done(() => waiter.settled(held, this.#settled(scope, operation)))),
    );
    const held: Held = {
      kind: "held",
      why: "credential",
      id: `credential-${++holds}`,
      reason: `waits for the credential ${name}`,
      expiresAtMs: this.#clock.wallMs() + credentials.limitMs,
      abandon: (why) => {
        stop();
        const seq = this.#writing.record(
          scope,
          operation,
          "hold",
          decision,
          this.#options.holder.current?.revision ?? "",
        );
        if (seq > 0)
          this.#recorder.end({ op: seq, status: why, ms: 0, bytesUp: 0, bytesDown: 0, masked: 0, attempts: 0 });
      },
    };
    return held;
  }

  #settled<S extends Scope>(scope: S, operation: Operation): Permit<S> | Refusal {
    const verdict = this.#judge<S>(scope, operation, null);
    if (verdict.kind === "held") throw new Error("what has waited does not wait again");
    return verdict;
  }

  /** `start` begins to wait and is given what to call at the end. A waiter that throws breaks its connection, nothing else. */
  #wait(start: (done: (act: () => void) => void) => Waiting): () => void {
    const waiting = start((act) => {
      this.#waiting.delete(waiting);
      try {
        act();
      } catch (error) {
        if (this.#broken === null) throw error;
        this.#broken(error);
      }
    });
    this.#waiting.add(waiting);
    return () => {
      this.#waiting.delete(waiting);
      waiting.cancel();
    };
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
}
