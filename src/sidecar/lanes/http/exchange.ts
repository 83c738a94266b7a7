/**
 * One permitted request and its answer, in both directions, until its permit is finished: exactly once, on every path.
 *
 *   request  head ─▶ body ─▶ done          answer  answer-relay.ts
 *
 * Both must be done before the connection takes its next request. An upstream that breaks off before a byte of the answer is a
 * refusal that the agent can read; after that the agent's connection is reset, so that half an answer never looks whole.
 */
import type { DenialCode } from "#contract/denial.ts";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, LegEvents, LegFault, Upstream } from "#sidecar/seam/leg.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import { type AnswerReading, AnswerRelay, type RelayOwner } from "./answer-relay.ts";
import type { AnswerHead } from "./codec/answer-head.ts";
import { type BodyReader, NO_BODY } from "./codec/body.ts";
import type { RequestHead } from "./codec/request-head.ts";
import { AnswerGuard } from "./credentialed/answer-guard.ts";
import { stripped, withCredential } from "./credentialed/inject.ts";
import { type Outlet, RequestSink } from "./request-sink.ts";
import { codeOfFault } from "./upstream-fault.ts";

/** What an exchange needs of the connection that it belongs to. */
export interface Owner {
  readonly ports: Ports;
  readonly answers: AnswerReading;
  /** Both are whole; its permit is finished. `reusable`: the agent's connection may take its next request. */
  exchanged(reusable: boolean): void;
  /** It failed before a byte of the answer: refuse, on record. */
  unanswered(code: DenialCode, why: string, reusable: boolean): void;
  /** It failed in the middle of the answer. */
  brokenOff(): void;
  /** The agent can take no more now. */
  agentFull(): void;
  /** A byte moved. */
  progress(): void;
  /** The upstream cannot take more of the request now, or can again. */
  flow(full: boolean): void;
}

/** A request that may go on: its head, that head as it is passed on, and its body, of which nothing was read yet. */
export interface Permitted {
  readonly head: RequestHead;
  readonly text: string;
  readonly body: BodyReader;
  readonly permit: Permit<"ask">;
}

/** As much as a leg reads at once, and then some. */
const LATER_BYTES = 1_048_576;
const RETRIED = new Set(["GET", "HEAD", "OPTIONS"]);

/** What an upstream said and did while another credential was asked for. */
interface Later {
  readonly bytes: Uint8Array;
  readonly ended: boolean;
  readonly fault: LegFault | null;
}

export class Exchange implements LegEvents, Outlet, RelayOwner {
  readonly #owner: Owner;
  readonly #request: RequestHead;
  readonly #body: BodyReader;
  /** The head as it would be passed on without a credential. */
  readonly #plain: string;
  #text: string;
  #answer: AnswerRelay;
  /** What comes back from a target with a credential of ours goes through it. */
  #guard: AnswerGuard | null;
  /** The answer that came while another credential is asked for: what of it lies behind its head, and how its leg went on. */
  #later: Later | null = null;
  #sink: RequestSink | null = null;
  #upstream: Upstream | null = null;
  #upstreamPaused = false;
  #upstreamEnded = false;
  /** The upstream said something behind its answer, or ended. */
  #spoiled = false;
  /** A dial that failed before it returned. */
  #dialFault: LegFault | null = null;
  #attempts = 1;
  #over = false;
  permit: Permit<"ask">;
  /** The agent's connection ends behind this exchange. */
  closing: boolean;

  constructor(owner: Owner, { head, text, body, permit }: Permitted) {
    this.#owner = owner;
    this.#request = head;
    this.#body = body;
    this.#plain = permit.strip ? stripped(text) : text;
    this.permit = permit;
    this.#text = "";
    this.#guard = null;
    this.#answer = this.#prepare();
    this.closing = head.block.close || head.minor === 0;
  }

  /** Head and guard with the credential that the permit has now, and a relay for the answer to it. */
  #prepare(): AnswerRelay {
    const { ports, answers } = this.#owner;
    const credential = ports.credential(this.permit);
    this.#text = credential === null ? this.#plain : withCredential(this.#plain, credential);
    this.#guard = ports.peer.target.credential === undefined ? null : new AnswerGuard(credential);
    return new AnswerRelay(answers, this.#request, ports.agent, this, this.#guard);
  }

  get requestDone(): boolean {
    return this.#body.done;
  }

  /** Whether the agent got a byte of an answer. */
  get answered(): boolean {
    return this.#answer.answered;
  }

  /** Dials. A request without a body is written at once; else its head goes with the first of its body, or by `flush`. */
  start(): void {
    this.#dial(false);
    if (this.#over) return;
    if (this.requestDone) this.send(this.#text);
    else this.#sink = new RequestSink(this, this.#text, this.#request.text);
  }

  /** `headFrom`: where the request's head began in this very chunk, -1 where it did not. Position behind what was taken. */
  requestData(chunk: Chunk, from: number, headFrom: number): number {
    const sink = this.#sink;
    if (sink === null || this.#over) return chunk.length;
    sink.headFrom = headFrom;
    sink.headTo = from;
    const end = this.#body.read(chunk, from, sink);
    if (typeof end === "string") {
      this.#fail("bad_request", end, false);
      return chunk.length;
    }
    if (this.requestDone && !this.#over) {
      sink.flush();
      if (this.#answer.done) this.#complete();
    }
    return end;
  }

  /** Writes a head that still waits for its body. */
  flush(): void {
    this.#sink?.flush();
  }

  /** The agent ended its side in the middle of its request. */
  truncated(): void {
    this.#fail("bad_request", "truncated", false);
  }

  /** The agent is gone, or the connection was ended by us. */
  abort(status: string): void {
    if (this.#over) return;
    this.#finish(status);
    this.#upstream?.reset();
  }

  expire(code: "upstream_timeout" | "idle_timeout" | "total_timeout"): void {
    this.#fail(code, "", false);
  }

  /** Another permit for the same operation, on the policy now in force. */
  permittedAnew(permit: Permit<"ask">): void {
    const { ports } = this.#owner;
    const before = this.permit;
    const other = ports.credential(before)?.name !== ports.credential(permit)?.name;
    this.permit = permit;
    ports.judge.finish(before, { status: "rejudged", masked: 0, attempts: this.#attempts });
    // It goes on as somebody whom the policy no longer means (THREATS H7).
    if (other) this.#fail("revoked", "", false);
  }

  agentDrained(): void {
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.#upstream?.resume();
  }

  // --- LegEvents: what the upstream says ------------------------------------------------------------------------------

  opened(): void {}

  secured(): void {}

  data(chunk: Chunk): void {
    if (this.#over) return;
    this.#owner.progress();
    if (this.#later !== null) return this.#keep(this.#later, chunk);
    const answer = this.#answer;
    // Behind a whole answer (whose request still goes on) there is nothing that could be expected.
    const end = answer.done ? 0 : answer.take(chunk);
    if (this.#over) return;
    if (typeof end === "string") {
      this.#fail("upstream_malformed", end, false);
      return;
    }
    if (answer.waits) return this.#askForAnother(chunk.slice(end, chunk.length));
    if (end < chunk.length) this.#spoiled = true;
    if (answer.done) this.#settle();
  }

  drained(): void {
    if (!this.#over) this.#owner.flow(false);
  }

  ended(): void {
    if (this.#over) return;
    if (this.#later !== null) {
      this.#later = { ...this.#later, ended: true };
      return;
    }
    this.#upstreamEnded = true;
    this.#spoiled = true;
    if (this.#answer.endOfConnection()) this.#settle();
    else if (this.#answer.heard) this.#fail("upstream_malformed", "truncated", false);
    else this.#closedBeforeAnswer("closed before an answer");
  }

  failed(fault: LegFault): void {
    if (this.#later !== null && !this.#over) {
      this.#later = { ...this.#later, fault };
      return;
    }
    this.#upstreamEnded = true;
    this.#spoiled = true;
    // A dial may fail before it has returned: then `#dial` goes on from here.
    if (this.#upstream === null) this.#dialFault = fault;
    else if (!this.#over) this.#failedWith(fault);
  }

  #failedWith(fault: LegFault): void {
    if (this.#answer.done) this.#settle();
    else if (this.#answer.heard) this.#fail(fault === "audit" ? "audit_failed" : "upstream_unreachable", fault, false);
    else if (fault === "reset") this.#closedBeforeAnswer("reset before an answer");
    else this.#fail(codeOfFault(fault), fault, true);
  }

  // --- the request's way ----------------------------------------------------------------------------------------------

  #dial(fresh: boolean): void {
    this.#upstream = null;
    this.#dialFault = null;
    this.#upstreamEnded = false;
    this.#spoiled = false;
    this.#upstream = this.#owner.ports.dial(this.permit, "forward", this, fresh);
    if (this.#dialFault !== null && !this.#over) this.#failedWith(this.#dialFault);
  }

  send(text: string): void {
    if (!this.#over && this.#upstream?.write(this.permit, text) === false) this.#owner.flow(true);
  }

  pass(chunk: Chunk, from: number, to: number): void {
    if (!this.#over && this.#upstream?.forward(this.permit, chunk, from, to) === false) this.#owner.flow(true);
  }

  /** DESIGN, Retry: once, on a fresh connection, only what is safe to repeat and was not answered by a single byte. */
  #closedBeforeAnswer(why: string): void {
    const { method, block } = this.#request;
    const again =
      this.#attempts === 1 &&
      this.#upstream?.reused === true &&
      block.contentLength <= 0 &&
      !block.chunked &&
      RETRIED.has(method);
    if (!again) {
      this.#fail("upstream_unreachable", why, true);
      return;
    }
    this.#attempts = 2;
    this.#upstream?.reset();
    this.#dial(true);
    this.send(this.#text);
  }

  // --- a credential that the upstream refused -------------------------------------------------------------------------

  /** Once, and only what is safe to repeat: nothing but the credential is another one. */
  reconsiders({ status }: AnswerHead): boolean {
    const { method } = this.#request;
    return (
      status === 401 &&
      this.#attempts === 1 &&
      !this.#answer.answered &&
      this.#body === NO_BODY &&
      RETRIED.has(method) &&
      this.#owner.ports.credential(this.permit) !== null
    );
  }

  #askForAnother(bytes: Uint8Array): void {
    this.#later = { bytes, ended: false, fault: null };
    this.#upstream?.pause();
    this.#owner.ports.renew(this.permit, (found) => this.#renewed(found !== null));
  }

  /** A paused leg may still hand over what it had read. */
  #keep(later: Later, chunk: Chunk): void {
    if (later.bytes.length + chunk.length > LATER_BYTES)
      return this.#fail("upstream_malformed", "does not pause", false);
    const bytes = Buffer.concat([later.bytes, chunk.view(0, chunk.length)]);
    this.#later = { ...later, bytes };
  }

  #renewed(another: boolean): void {
    const later = this.#later;
    this.#later = null;
    if (this.#over || later === null) return;
    if (another) {
      this.#attempts = 2;
      this.#upstream?.reset();
      this.#answer = this.#prepare();
      this.#dial(false);
      this.send(this.#text);
      return;
    }
    this.#answer.goOn();
    this.#upstream?.resume();
    if (later.bytes.length > 0) this.data(new KeptChunk(later.bytes));
    else if (this.#answer.done) this.#settle();
    if (this.#over) return;
    if (later.fault !== null) this.failed(later.fault);
    else if (later.ended) this.ended();
  }

  // --- RelayOwner: what its answer asks -------------------------------------------------------------------------------

  agentFull(): void {
    this.#owner.agentFull();
    if (this.#upstreamPaused) return;
    this.#upstreamPaused = true;
    this.#upstream?.pause();
  }

  closesBehind({ body }: AnswerHead): boolean {
    // A body that was announced with Expect and has not begun may never come: the next bytes could be either.
    if (body === "until-close" || (this.#request.block.expectContinue && !this.requestDone)) this.closing = true;
    return this.closing;
  }

  // --- how it ends ----------------------------------------------------------------------------------------------------

  /** The answer is whole. The rest of the request still goes on, where the upstream takes it. */
  #settle(): void {
    const abandoned =
      this.#upstreamEnded ||
      this.#spoiled ||
      this.#answer.head?.block.close === true ||
      this.#request.block.expectContinue;
    if (!this.requestDone && !abandoned) return;
    if (!this.requestDone) this.closing = true;
    this.#complete();
  }

  #complete(): void {
    const { head } = this.#answer;
    if (this.#over || head === null) return;
    this.agentDrained();
    const reusable =
      !this.#spoiled &&
      this.requestDone &&
      head.minor === 1 &&
      !head.block.close &&
      head.body !== "until-close" &&
      this.#request.minor === 1;
    this.#finish(String(head.status));
    this.#upstream?.release(reusable);
    this.#owner.exchanged(!this.closing);
  }

  #fail(code: DenialCode, why: string, reusable: boolean): void {
    if (this.#over) return;
    const { answered, done, head } = this.#answer;
    this.#finish(done ? String(head?.status ?? code) : code);
    this.#upstream?.reset();
    if (answered) this.#owner.brokenOff();
    else this.#owner.unanswered(code, why, reusable);
  }

  #finish(status: string): void {
    this.#over = true;
    const masked = this.#guard?.masked ?? 0;
    const outcome = { status, masked, attempts: this.#attempts };
    const findings = masked === 0 ? undefined : this.#guard?.findings;
    this.#owner.ports.judge.finish(this.permit, findings === undefined ? outcome : { ...outcome, findings });
  }
}
