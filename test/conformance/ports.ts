/**
 * In-memory ports for lanes: legs that keep what is written, a judge that answers what a test says, and time that a test moves.
 * Strict where the real ones are: a permit is finished once, nothing is written after an end, nothing without a permit.
 */
import type { Credential } from "#contract/credential.ts";
import type { Decision } from "#contract/decision.ts";
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import type { Profile } from "#contract/policy-port.ts";
import type { Target } from "#contract/target.ts";
import type { Clock } from "#core/clock.ts";
import type { Lane, Peer, Ports, Session } from "#sidecar/seam/lane.ts";
import type { Agent, Chunk, LegEvents, LegFault, Upstream } from "#sidecar/seam/leg.ts";
import type { Held, Judge, Operation, Outcome, Permit, Refusal, Scope, Waiter } from "#sidecar/seam/verdict.ts";

/** A chunk that lies over its bytes as soon as its loan ends: whoever kept a view of it is found out. */
export class LentBytes implements Chunk {
  readonly #bytes: Buffer;
  #over = false;
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
  }
  get length(): number {
    return this.#bytes.length;
  }
  at(i: number): number {
    this.#check();
    return this.#bytes[i] ?? -1;
  }
  latin1(from: number, to: number): string {
    this.#check(from, to);
    return this.#bytes.toString("latin1", from, to);
  }
  view(from: number, to: number): Uint8Array {
    this.#check(from, to);
    return this.#bytes.subarray(from, to);
  }
  slice(from: number, to: number): Uint8Array {
    this.#check(from, to);
    return new Uint8Array(this.#bytes.subarray(from, to));
  }
  indexOf(byte: number, from: number): number {
    this.#check();
    return this.#bytes.indexOf(byte, from);
  }
  takeBack(): void {
    this.#over = true;
    this.#bytes.fill(0xee);
  }
  #check(from = 0, to = this.#bytes.length): void {
    if (this.#over) throw new Error("a chunk was used after its loan");
    if (!(from >= 0 && from <= to && to <= this.#bytes.length)) throw new RangeError(`chunk: ${from}..${to}`);
  }
}

class FakeLeg {
  readonly tls = null;
  readonly written: Buffer[] = [];
  paused = false;
  pauses = 0;
  endedByLane = false;
  resetByLane = false;
  /** Writes are taken, but said to fill the leg. */
  full = false;
  /** Bytes that were written in each call, for tests of how they were grouped. */
  get text(): string {
    return Buffer.concat(this.written).toString("latin1");
  }
  pause(): void {
    this.paused = true;
    this.pauses++;
  }
  resume(): void {
    this.paused = false;
  }
  startTls(): void {
    throw new Error("no in-band TLS here");
  }
  stream(): never {
    throw new Error("no stream here");
  }
  end(): void {
    if (this.resetByLane) throw new Error("end after reset");
    this.endedByLane = true;
  }
  reset(): void {
    this.resetByLane = true;
  }
  protected put(bytes: Uint8Array | string): boolean {
    if (this.endedByLane) throw new Error("write after end");
    if (!this.resetByLane) this.written.push(typeof bytes === "string" ? latin1(bytes) : Buffer.from(bytes));
    return !this.full;
  }
}

/** A string that is no latin1 would be cut on the wire. */
function latin1(text: string): Buffer {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) throw new Error("not latin1");
  return Buffer.from(text, "latin1");
}

export class FakeAgent extends FakeLeg implements Agent {
  write(bytes: Uint8Array | string): boolean {
    return this.put(bytes);
  }
  forward(permit: Permit, chunk: Chunk, from: number, to: number): boolean {
    permit.bytesDown += to - from;
    return this.put(chunk.slice(from, to));
  }
}

export class FakeUpstream extends FakeLeg implements Upstream {
  readonly events: LegEvents;
  readonly fresh: boolean;
  readonly reused: boolean;
  released: boolean | null = null;
  constructor(events: LegEvents, fresh: boolean, reused: boolean) {
    super();
    this.events = events;
    this.fresh = fresh;
    this.reused = reused;
  }
  write(permit: Permit, bytes: Uint8Array | string): boolean {
    this.#permitted(permit);
    permit.bytesUp += bytes.length;
    return this.put(bytes);
  }
  forward(permit: Permit, chunk: Chunk, from: number, to: number): boolean {
    this.#permitted(permit);
    permit.bytesUp += to - from;
    return this.put(chunk.slice(from, to));
  }
  release(reusable: boolean): void {
    if (this.released !== null) throw new Error("released twice");
    this.released = reusable;
  }
  #failed = false;

  /** Neither released nor reset, and it did not fail by itself. */
  get open(): boolean {
    return this.released === null && !this.resetByLane && !this.#failed;
  }

  /** Whether it has ended its side: it says nothing more. */
  ended = false;

  endSide(): void {
    this.ended = true;
    this.events.ended();
  }

  /** Its last event. */
  fail(fault: LegFault): void {
    this.#failed = true;
    this.events.failed(fault);
  }

  #permitted(permit: Permit): void {
    if (this.released !== null) throw new Error("write after release");
    if (FINISHED.has(permit)) throw new Error("write under a finished permit");
  }
  answer(bytes: Uint8Array | string): void {
    const chunk = new LentBytes(typeof bytes === "string" ? latin1(bytes) : bytes);
    this.events.data(chunk);
    chunk.takeBack();
  }
}

const FINISHED = new WeakSet<Permit>();

export const DECISION: Decision = Object.freeze({
  effect: "allow",
  code: "",
  message: "",
  advice: "",
  policies: ["test"],
  rule: null,
  deny: [],
  hold: [],
  mask: [],
  credential: null,
  would: null,
  quiet: false,
  text: "",
});

export type Answering = "allow" | "deny" | "hold";

interface Finished {
  readonly seq: number;
  readonly outcome: Outcome;
}

export class FakeJudge implements Judge {
  profile: Profile | null;
  readonly asked: Operation[] = [];
  readonly refused: { readonly code: string; readonly detail: string; readonly operation: Operation | null }[] = [];
  readonly finished: Finished[] = [];
  readonly permits: Permit[] = [];
  readonly held: { readonly held: Held; readonly waiter: Waiter<"ask">; abandoned: string | null }[] = [];
  /** What is said to the next questions; the last one stays. */
  answers: (Answering | ((operation: Operation) => Answering))[] = ["allow"];
  terse = false;
  /** What is brought along goes on without it. */
  strip = false;
  #seq = 1;

  constructor(profile: Profile | null) {
    this.profile = profile;
  }

  ask(operation: Operation, waiter: Waiter<"ask">): Permit<"ask"> | Refusal | Held {
    this.asked.push(operation);
    JSON.parse(`{${operation.facts}}`);
    JSON.parse(`{${operation.detail}}`);
    const next = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    const answer = typeof next === "function" ? next(operation) : (next ?? "deny");
    if (answer === "allow") return this.permit("ask");
    if (answer === "deny") return this.refusal("denied", "policy", "A policy denies this.");
    const entry = {
      held: {
        kind: "held" as const,
        why: "approval" as const,
        id: `held-${this.#seq}`,
        reason: "",
        expiresAtMs: 0,
        abandon: (why: string) => {
          if (entry.abandoned !== null) throw new Error("abandoned twice");
          entry.abandoned = why;
        },
      },
      waiter,
      abandoned: null as string | null,
    };
    this.held.push(entry);
    return entry.held;
  }

  answer(): never {
    throw new Error("no answers are judged here");
  }

  refuse(code: string, detail: string, operation: Operation | null): Refusal {
    this.refused.push({ code, detail, operation });
    if (!Object.hasOwn(DENIALS, code)) throw new Error(`no such denial: ${code}`);
    return this.refusal(code, DENIALS[code as DenialCode].class, `${code} (${detail})`);
  }

  finish(permit: Permit, outcome: Outcome): void {
    if (FINISHED.has(permit)) throw new Error(`permit ${permit.seq} finished twice`);
    FINISHED.add(permit);
    this.finished.push({ seq: permit.seq, outcome });
  }

  permit<S extends Scope>(scope: S): Permit<S> {
    const { strip } = this;
    const made = { kind: "permit", scope, seq: ++this.#seq, decision: DECISION, strip, bytesUp: 0, bytesDown: 0 };
    const permit = made as unknown as Permit<S>;
    this.permits.push(permit);
    return permit;
  }

  refusal(code: string, denial: Refusal["class"], message: string): Refusal {
    const seq = ++this.#seq;
    return {
      kind: "refusal",
      seq,
      event: `boot-${seq}`,
      code,
      class: denial,
      message: this.terse ? "" : message,
      advice: this.terse ? "" : "Do otherwise.",
      policy: this.terse ? "" : "test",
      revision: "r1",
      retryable: denial === "outage",
      retryAfterS: null,
    };
  }

  /** Permits that nobody finished. */
  get open(): number {
    return this.permits.filter((p) => p.scope === "ask" && !FINISHED.has(p)).length;
  }

  get statuses(): string[] {
    return this.finished.map((f) => f.outcome.status);
  }
}

export class FakeTime implements Clock {
  now = 0;
  readonly #alarms = new Set<{ readonly at: number; readonly fire: () => void }>();
  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }
  elapsedMs(): number {
    return this.now;
  }
  after(ms: number, fire: () => void): { cancel(): void } {
    const alarm = { at: this.now + ms, fire };
    this.#alarms.add(alarm);
    return { cancel: () => void this.#alarms.delete(alarm) };
  }
  get pending(): number {
    return this.#alarms.size;
  }
  /** Moves time on and fires what is due, in order. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = [...this.#alarms].filter((a) => a.at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.at);
      this.#alarms.delete(due);
      due.fire();
    }
    this.now = until;
  }
}

export const READS_ALL: Profile = { revision: "all", reads: () => true, mayHold: true, mayMask: true };

export interface Setting {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly limits: Peer["limits"];
  readonly profile: Profile | null;
  /** What a dial gives: a connection out of the pool, or one that fails before it returns. */
  readonly dial: "fresh" | "reused" | LegFault;
  readonly target: Target;
  /** What every permit brings. */
  readonly credential: Credential | null;
}

const TARGET: Target = { name: "billing", hosts: ["billing.test"], ports: [80] };

const SETTING: Setting = {
  host: "billing.test",
  port: 80,
  secure: false,
  limits: { headerMs: 10_000, idleMs: 300_000, totalMs: 0 },
  profile: READS_ALL,
  dial: "fresh",
  target: TARGET,
  credential: null,
};

/** One connection of a lane, with everything around it in memory. */
export class Bench {
  readonly agent = new FakeAgent();
  readonly judge: FakeJudge;
  readonly time = new FakeTime();
  readonly upstreams: FakeUpstream[] = [];
  readonly session: Session;
  readonly ports: Ports;
  dial: Setting["dial"];
  credential: Credential | null;
  /** Whoever waits for another credential; called by the test. */
  readonly renewing: ((found: Credential | null) => void)[] = [];
  /** What is to be done in another turn of the event loop. */
  readonly later: (() => void)[] = [];

  constructor(make: (time: FakeTime) => Lane, setting: Partial<Setting> = {}) {
    const { host, port, secure, limits, profile, dial, target, credential } = { ...SETTING, ...setting };
    this.credential = credential;
    this.judge = new FakeJudge(profile);
    this.dial = dial;
    this.ports = {
      peer: { host, port, secure, limits, target },
      agent: this.agent,
      judge: this.judge,
      connect: this.judge.permit("connect"),
      dial: (_permit, _purpose, events, fresh = false) => {
        const upstream = new FakeUpstream(events, fresh, !fresh && this.dial === "reused");
        this.upstreams.push(upstream);
        if (this.dial !== "fresh" && this.dial !== "reused") upstream.fail(this.dial);
        return upstream;
      },
      credential: () => this.credential,
      renew: (_permit, then) => {
        this.renewing.push((found) => {
          if (found !== null) this.credential = found;
          then(found);
        });
      },
      after: (ms, fire) => this.time.after(ms, fire),
      soon: (then) => void this.later.push(then),
      committed: (then) => then(),
      become: () => {
        throw new Error("become");
      },
      tunnel: () => {
        throw new Error("tunnel");
      },
    };
    this.session = make(this.time).open(this.ports, null);
    this.session.opened();
  }

  /** What both sides got so far counts for nothing: a login, for example. */
  forget(): void {
    for (const leg of [this.agent, ...this.upstreams]) leg.written.length = 0;
  }

  /** Gives bytes to the session as its agent's. A paused leg still hands over what was read. */
  say(bytes: Uint8Array | string): void {
    this.hand(bytes);
    while (this.turn());
  }

  /** The same, and nothing of what is left for other turns. */
  hand(bytes: Uint8Array | string): void {
    const chunk = new LentBytes(typeof bytes === "string" ? latin1(bytes) : bytes);
    this.session.data(chunk);
    chunk.takeBack();
  }

  /** One turn of the event loop. False: there was nothing to do in it. */
  turn(): boolean {
    const due = this.later.splice(0);
    for (const then of due) then();
    return due.length > 0;
  }

  get upstream(): FakeUpstream {
    const last = this.upstreams.at(-1);
    if (last === undefined) throw new Error("nothing was dialed");
    return last;
  }

  /** Everything that any upstream got. */
  get sent(): string {
    return this.upstreams.map((u) => u.text).join("");
  }
}
