/**
 * The only door: every operation is asked here, and nowhere else is a Permit made. `ask` answers at once: it evaluates (or hits
 * the cache), adds the record's "before" line to this turn's batch, and returns a value.
 *
 * Fails closed: no bundle, a record that cannot be taken, an obligation that the protocol cannot carry out, and every fault of
 * the policy are refusals, each on record wherever a record can still be taken.
 */
import { hash } from "node:crypto";
import { redact } from "#audit/redact.ts";
import { capabilityOf } from "#contract/capabilities.ts";
import { type Credential, CredentialFault } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import { DENIALS, type Denial, type DenialCode } from "#contract/denial.ts";
import type { Protocol } from "#contract/operation.ts";
import type { LoadedPolicy, PolicyHolder, Profile } from "#contract/policy-port.ts";
import type { OpEntry, Recorder, SessionEntry } from "#contract/record.ts";
import type { Target } from "#contract/target.ts";
import { OPERATION_VERSION } from "#contract/version.ts";
import type { Clock } from "#core/clock.ts";
import { quote, quoteOrNull } from "#core/json-text.ts";
import type { Credentials, Waiting } from "#sidecar/seam/credentials.ts";
import type { Held, Judge, Operation, Outcome, Permit, Refusal, Scope, Waiter } from "#sidecar/seam/verdict.ts";
import { Findings } from "./brought.ts";
import { logsInAtConnect, type Protection, whyForbidden, whyUnfit } from "./credential-rules.ts";
import { Folder } from "./fold.ts";
import { opened, permit } from "./permit.ts";

/** What is known of the run that an operation belongs to. */
export interface Run {
  readonly id: string;
  readonly user: string;
  readonly intent: string;
  readonly verified: boolean;
}

/** Told of each verdict; for the terminal. `ms` is what the decision took. */
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
  readonly credentials: Credentials;
  /** For metrics: each verdict, without anything made for it. */
  readonly counted?: (
    protocol: Protocol,
    verdict: Verdict["verdict"],
    decision: Decision,
    folded: boolean,
    ms: number,
  ) => void;
  /** For whoever watches: each verdict in full. Null: nobody does. */
  readonly told?: ((verdict: Verdict) => void) | null;
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
  /** Whom its operations belong to; "" where nobody said. */
  readonly run: string;
  /** What is asked from now on goes over an upstream so protected; `broken` hears of a waiter that threw. Before it: none. */
  protect(by: Protection, broken: (error: unknown) => void): void;
  connect(operation: Operation, waiter: Waiter<"connect">): Permit<"connect"> | Refusal | Held;
  /** The upstream refused the permit's credential: another one, which is then the permit's; null: there is no other. */
  renew(permit: Permit<"connect" | "ask">, then: (found: Credential | null) => void): void;
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

/** `why`: of this case; told with the message. */
function ownDecision(code: string, denial: Denial, why = ""): Decision {
  const message = why === "" ? denial.message : `${denial.message} (${why})`;
  return {
    ...EMPTY_DECISION,
    code,
    message,
    advice: denial.advice,
    text: `"code":${quote(code)},"message":${quote(message)}`,
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

/** What all connections' judges have in common. */
interface Shared extends JudgeOptions {
  readonly folder: Folder;
  readonly findings: Findings;
  readonly runText: string;
}

/** What was allowed once is allowed again without asking, on the same bundle: lanes hand over the same object for the same request. */
interface Allowed {
  readonly scope: Scope;
  readonly operation: Operation;
  readonly loaded: LoadedPolicy;
  readonly facts: string;
  readonly decision: Decision;
  readonly entry: OpEntry;
}

class Connection implements ConnectionJudge {
  readonly session: number;
  readonly #options: Shared;
  readonly #recorder: Recorder;
  readonly #clock: Clock;
  readonly #place: Place;
  readonly #preamble: string;
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
    return this.#refusal("connect", this.#connected, facts, why, loaded, clockless);
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
    const refusal = this.#refusal(
      "ask",
      withDetail,
      factsOf(withDetail),
      decision,
      this.#options.holder.current,
      clockless,
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
    const no = (decision: Decision): Refusal => this.#refusal(scope, operation, facts, decision, loaded, startedMs);
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
        ? this.#entry(scope, operation, "allow", decision, loaded.revision)
        : known.operation === operation
          ? known.entry
          : this.#entry(scope, operation, "allow", decision, loaded.revision, known.entry.like ?? known.entry);
    const seq = this.#recorder.op(entry);
    // It could not be taken after all: nothing leaves without its line.
    if (seq === 0) return no(ownDecision("audit_failed", DENIALS.audit_failed));
    this.#tell(scope, operation, facts, "allow", decision, seq, false, startedMs);
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
        const seq = this.#record(scope, operation, "hold", decision, this.#options.holder.current?.revision ?? "");
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

  #refusal(
    scope: Scope,
    operation: Operation,
    facts: string,
    decision: Decision,
    loaded: LoadedPolicy | null,
    startedMs: number,
    fault = "",
  ): Refusal {
    const now = this.#clock.elapsedMs();
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
      seq = this.#record(scope, operation, "deny", decision, loaded?.revision ?? "");
      event = `${this.#recorder.boot}-${seq}`;
      this.#options.folder.recorded(exact, coarse, seq, event, now);
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

  #record(
    scope: Scope,
    operation: Operation,
    verdict: "allow" | "deny" | "hold",
    decision: Decision,
    revision: string,
  ): number {
    return this.#recorder.op(this.#entry(scope, operation, verdict, decision, revision));
  }

  #entry(
    scope: Scope,
    operation: Operation,
    verdict: OpEntry["verdict"],
    decision: Decision,
    revision: string,
    like?: OpEntry,
  ): OpEntry {
    return {
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
      kept: undefined,
      like,
    };
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
    const { counted, told } = this.#options;
    const ms = this.#clock.elapsedMs() - startedMs;
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
      event: `${this.#recorder.boot}-${seq}`,
      facts,
      detail: operation.detail,
      ms,
    });
  }
}

/** `startedMs` of a refusal that no decision preceded. */
const clockless = -1;

let holds = 0;

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

/** Whether a policy is asked the same by both, and their records differ in the detail only. */
function asksTheSame(a: Operation, b: Operation): boolean {
  return (
    a.facts === b.facts &&
    a.protocol === b.protocol &&
    a.action === b.action &&
    a.complete === b.complete &&
    a.brought === undefined &&
    b.brought === undefined &&
    a.body === b.body &&
    a.parent === b.parent &&
    a.traceparent === b.traceparent
  );
}

function factsOf(operation: Operation): string {
  const head = `"protocol":"${operation.protocol}","action":"${operation.action}","complete":${operation.complete}`;
  return operation.facts === "" ? head : `${head},${operation.facts}`;
}
