/**
 * One permitted request and its answer, in both directions, until its permit is finished: exactly once, on every path.
 *
 *   request  head ─▶ body ─▶ sent          answer  awaited ─▶ (interim)* ─▶ head ─▶ body ─▶ done
 *
 * Both must be done before the connection takes its next request. An upstream that breaks off before a byte of the answer is a
 * refusal that the agent can read; after that the agent's connection is reset, so that half an answer never looks whole.
 */
import type { DenialCode } from "#contract/denial.ts";
import { assertNever } from "#core/assert-never.ts";
import type { Ports } from "#sidecar/seam/lane.ts";
import type { Chunk, LegEvents, LegFault, Upstream } from "#sidecar/seam/leg.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import { type AnswerHead, readAnswerHead } from "./codec/answer-head.ts";
import { type BodyReader, chunkedBody, lengthBody, NO_BODY, untilCloseBody } from "./codec/body.ts";
import type { BodySink } from "./codec/chunked.ts";
import type { Fault } from "./codec/fault.ts";
import type { FieldBlock } from "./codec/field-block.ts";
import type { HeadReader } from "./codec/head-reader.ts";
import type { RequestHead } from "./codec/request-head.ts";
import type { HttpLimits } from "./limits.ts";
import { answerHeadText } from "./rewrite.ts";

/** What an exchange needs of the connection that it belongs to. */
export interface Owner {
  readonly ports: Ports;
  readonly limits: HttpLimits;
  /** For the heads of answers, one exchange after the other. */
  readonly answers: HeadReader;
  /** Of the last answer. */
  lastFields: FieldBlock | null;
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

/** An answer's first body bytes up to here travel in one string with its head, where the head is not passed on as it is. */
const JOINED = 4_096;
const RETRIED = new Set(["GET", "HEAD", "OPTIONS"]);

export class Exchange implements LegEvents, BodySink {
  readonly #owner: Owner;
  readonly #request: RequestHead;
  readonly #requestText: string;
  readonly #requestBody: BodyReader;
  #permit: Permit<"ask">;
  #upstream: Upstream | null = null;
  #requestSink: RequestSink | null = null;
  #attempts = 1;
  #over = false;
  /** A dial that failed before it returned. */
  #dialFault: LegFault | null = null;

  #answer: AnswerHead | null = null;
  #answerBody: BodyReader = NO_BODY;
  #answerDone = false;
  /** A byte of an answer arrived from the upstream. */
  #heard = false;
  /** A byte of an answer was given to the agent. */
  #answered = false;
  #interims = 0;
  /** The upstream said something behind its answer, or ended. */
  #spoiled = false;
  #upstreamEnded = false;
  #upstreamPaused = false;
  /** The answer's head, until it is written together with what follows. */
  #head: string | null = null;
  #headFrom = -1;
  /** The agent's connection ends behind this exchange. */
  closing: boolean;

  constructor(owner: Owner, request: RequestHead, text: string, body: BodyReader, permit: Permit<"ask">) {
    this.#owner = owner;
    this.#request = request;
    this.#requestText = text;
    this.#requestBody = body;
    this.#permit = permit;
    owner.answers.reset();
    this.closing = request.block.close || request.minor === 0;
  }

  get requestDone(): boolean {
    return this.#requestBody.done;
  }

  get answered(): boolean {
    return this.#answered;
  }

  /** Dials. A request without a body is written at once; else its head goes with the first of its body, or by `flush`. */
  start(): void {
    this.#dial(false);
    if (this.#over) return;
    if (this.requestDone) this.#write(this.#requestText);
    else this.#requestSink = new RequestSink(this, this.#requestText, this.#request.text);
  }

  /** `headFrom`: where the request's head began in this very chunk, -1 where it did not. Position behind what was taken. */
  requestData(chunk: Chunk, from: number, headFrom: number): number {
    const sink = this.#requestSink;
    if (sink === null || this.#over) return chunk.length;
    sink.headFrom = headFrom;
    sink.headTo = from;
    const end = this.#requestBody.read(chunk, from, sink);
    if (typeof end === "string") {
      this.#fail("bad_request", end, false);
      return chunk.length;
    }
    if (this.requestDone && !this.#over) {
      sink.flush();
      if (this.#answerDone) this.#complete();
    }
    return end;
  }

  /** Writes a head that still waits for its body. */
  flush(): void {
    this.#requestSink?.flush();
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
    const before = this.#permit;
    this.#permit = permit;
    this.#owner.ports.judge.finish(before, { status: "rejudged", masked: 0, attempts: this.#attempts });
  }

  agentDrained(): void {
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.#upstream?.resume();
  }

  // --- what the upstream says ----------------------------------------------------------------------------------------

  opened(): void {}

  secured(): void {}

  data(chunk: Chunk): void {
    if (this.#over) return;
    this.#heard = true;
    this.#owner.progress();
    let at = 0;
    while (at < chunk.length && !this.#answerDone && !this.#over) {
      const next = this.#answer === null ? this.#readHead(chunk, at) : this.#readBody(chunk, at);
      if (next < 0) return;
      at = next;
    }
    if (this.#over) return;
    this.#writeHead();
    if (at < chunk.length) this.#spoiled = true;
    if (this.#answerDone) this.#settle();
  }

  drained(): void {
    if (!this.#over) this.#owner.flow(false);
  }

  ended(): void {
    if (this.#over) return;
    this.#upstreamEnded = true;
    this.#spoiled = true;
    if (this.#answerDone) {
      this.#settle();
    } else if (this.#answer !== null && this.#answer.body === "until-close") {
      this.#answerDone = true;
      this.#settle();
    } else if (this.#heard) this.#malformed("truncated");
    else this.#closedBeforeAnswer("closed before an answer");
  }

  failed(fault: LegFault): void {
    const upstream = this.#upstream;
    this.#upstreamEnded = true;
    this.#spoiled = true;
    // A dial may fail before it has returned: then `#dial` goes on from here.
    if (upstream === null) this.#dialFault = fault;
    if (this.#over || upstream === null) return;
    this.#failedWith(fault);
  }

  #failedWith(fault: LegFault): void {
    if (this.#answerDone) {
      this.#settle();
      return;
    }
    if (this.#heard) {
      this.#fail(fault === "audit" ? "audit_failed" : "upstream_unreachable", fault, false);
      return;
    }
    switch (fault) {
      case "reset":
        this.#closedBeforeAnswer("reset before an answer");
        return;
      case "refused":
      case "unreachable":
        this.#fail("upstream_unreachable", fault, true);
        return;
      case "unresolved":
        this.#fail("upstream_unresolved", "", true);
        return;
      case "timeout":
        this.#fail("upstream_timeout", "", true);
        return;
      case "audit":
        this.#fail("audit_failed", "", true);
        return;
      case "tls-bad-upstream":
      case "tls-name":
      case "plaintext-before-tls":
        this.#fail("upstream_tls", fault, true);
        return;
      default:
        this.#fail("upstream_unreachable", fault, true);
    }
  }

  // --- the request's way ----------------------------------------------------------------------------------------------

  #dial(fresh: boolean): void {
    this.#upstream = null;
    this.#dialFault = null;
    this.#upstreamEnded = false;
    this.#spoiled = false;
    const upstream = this.#owner.ports.dial(this.#permit, "forward", this, fresh);
    this.#upstream = upstream;
    if (this.#dialFault !== null && !this.#over) this.#failedWith(this.#dialFault);
  }

  #write(text: string): void {
    if (this.#upstream?.write(this.#permit, text) === false) this.#owner.flow(true);
  }

  /** For the request's sink. */
  send(text: string): void {
    if (!this.#over) this.#write(text);
  }

  /** For the request's sink: a part of a chunk that a leg lent, or that the connection kept. */
  pass(chunk: Chunk, from: number, to: number): void {
    if (this.#over) return;
    if (this.#upstream?.forward(this.#permit, chunk, from, to) === false) this.#owner.flow(true);
  }

  /** DESIGN, Retry: once, on a fresh connection, only what is safe to repeat and was not answered by a single byte. */
  #closedBeforeAnswer(why: string): void {
    const again =
      this.#attempts === 1 &&
      this.#upstream?.reused === true &&
      this.#request.block.contentLength <= 0 &&
      !this.#request.block.chunked &&
      RETRIED.has(this.#request.method);
    if (!again) {
      this.#fail("upstream_unreachable", why, true);
      return;
    }
    this.#attempts = 2;
    this.#upstream?.reset();
    this.#dial(true);
    if (!this.#over) this.#write(this.#requestText);
  }

  // --- the answer's way -----------------------------------------------------------------------------------------------

  #readHead(chunk: Chunk, at: number): number {
    const end = this.#owner.answers.read(chunk, at);
    if (typeof end === "string") return this.#malformed(end);
    if (end < 0) return -1;
    const { text, from } = this.#owner.answers;
    const head = readAnswerHead(text, this.#request.method, this.#owner.limits, this.#owner.lastFields);
    if (typeof head === "string") return this.#malformed(head);
    this.#owner.lastFields = head.block;
    if (head.status < 200) {
      const fault = this.#interim(head);
      return fault === null ? end : this.#malformed(fault);
    }
    if (this.#request.minor === 0 && head.block.chunked) return this.#malformed("chunked_before_1_1");
    this.#answer = head;
    this.#answerBody = this.#bodyOf(head);
    this.#answerDone = this.#answerBody.done;
    // A body that was announced with Expect and has not begun may never come: the next bytes could be either.
    if (head.body === "until-close" || (this.#request.block.expectContinue && !this.requestDone)) this.closing = true;
    this.#head = answerHeadText(head, this.closing);
    this.#headFrom = this.#head === text ? from : -1;
    return end;
  }

  #bodyOf(head: AnswerHead): BodyReader {
    switch (head.body) {
      case "none":
        return NO_BODY;
      case "length":
        return lengthBody(head.block.contentLength);
      case "chunked":
        return chunkedBody(this.#owner.limits, "answer");
      case "until-close":
        return untilCloseBody();
      default:
        return assertNever(head.body);
    }
  }

  /** 100 goes on to whoever asked for it, others to whoever can read them; 101 was never asked for. */
  #interim(head: AnswerHead): Fault | null {
    if (head.status === 101 || ++this.#interims > this.#owner.limits.interim) return "interim";
    if (this.#request.minor === 0 || (head.status === 100 && !this.#request.block.expectContinue)) return null;
    this.#answered = true;
    this.#tell(answerHeadText(head, false));
    return null;
  }

  #readBody(chunk: Chunk, at: number): number {
    const end = this.#answerBody.read(chunk, at, this);
    if (typeof end === "string") return this.#malformed(end);
    this.#answerDone = this.#answerBody.done;
    return end;
  }

  /** BodySink: the answer's body, towards the agent. */
  raw(chunk: Chunk, from: number, to: number): void {
    const head = this.#head;
    const { agent } = this.#owner.ports;
    this.#head = null;
    this.#answered = true;
    if (head === null) this.#room(agent.forward(this.#permit, chunk, from, to));
    else if (this.#headFrom >= 0 && this.#headFrom + head.length === from)
      this.#room(agent.forward(this.#permit, chunk, this.#headFrom, to));
    else if (to - from <= JOINED) this.#tell(head + chunk.latin1(from, to));
    else {
      this.#tell(head);
      this.#room(agent.forward(this.#permit, chunk, from, to));
    }
  }

  text(framing: string): void {
    this.#writeHead();
    this.#tell(framing);
  }

  end(trailers: FieldBlock | null): void {
    this.text(`0\r\n${trailers === null ? "" : trailers.passedOn(true)}\r\n`);
  }

  #writeHead(): void {
    const head = this.#head;
    if (head === null) return;
    this.#head = null;
    this.#answered = true;
    this.#tell(head);
  }

  #tell(text: string): void {
    this.#permit.bytesDown += text.length;
    this.#room(this.#owner.ports.agent.write(text));
  }

  #room(room: boolean): void {
    if (room) return;
    this.#owner.agentFull();
    if (this.#upstreamPaused) return;
    this.#upstreamPaused = true;
    this.#upstream?.pause();
  }

  // --- how it ends ----------------------------------------------------------------------------------------------------

  /** The answer is whole. The rest of the request still goes on, where the upstream takes it. */
  #settle(): void {
    const { expectContinue } = this.#request.block;
    if (this.requestDone) this.#complete();
    else if (this.#upstreamEnded || this.#spoiled || this.#answer?.block.close === true || expectContinue) {
      this.closing = true;
      this.#complete();
    }
  }

  #complete(): void {
    const answer = this.#answer;
    if (this.#over || answer === null) return;
    this.agentDrained();
    const reusable =
      !this.#spoiled &&
      this.requestDone &&
      answer.minor === 1 &&
      !answer.block.close &&
      answer.body !== "until-close" &&
      this.#request.minor === 1;
    this.#finish(String(answer.status));
    this.#upstream?.release(reusable);
    this.#owner.exchanged(!this.closing);
  }

  #malformed(fault: Fault): -1 {
    this.#fail("upstream_malformed", fault, false);
    return -1;
  }

  #fail(code: DenialCode, why: string, reusable: boolean): void {
    if (this.#over) return;
    const { answered } = this;
    this.#finish(this.#answerDone ? String(this.#answer?.status ?? code) : code);
    this.#upstream?.reset();
    if (answered) this.#owner.brokenOff();
    else this.#owner.unanswered(code, why, reusable);
  }

  #finish(status: string): void {
    this.#over = true;
    this.#owner.ports.judge.finish(this.#permit, { status, masked: 0, attempts: this.#attempts });
  }
}

/** Passes a request's body on. Its head goes with the first of it in one piece where both lie in one chunk, unchanged. */
class RequestSink implements BodySink {
  readonly #exchange: Exchange;
  readonly #unchanged: boolean;
  #head: string | null;
  headFrom = -1;
  headTo = -1;

  constructor(exchange: Exchange, head: string, asRead: string) {
    this.#exchange = exchange;
    this.#head = head;
    this.#unchanged = head === asRead;
  }

  raw(chunk: Chunk, from: number, to: number): void {
    const whole = this.#head !== null && this.#unchanged && this.headFrom >= 0 && this.headTo === from;
    if (whole) this.#head = null;
    else this.flush();
    this.#exchange.pass(chunk, whole ? this.headFrom : from, to);
  }

  text(framing: string): void {
    this.flush();
    this.#exchange.send(framing);
  }

  /** A request's trailers were not judged: they end here (RFC 9110 section 6.5.1 allows it). */
  end(): void {
    this.text("0\r\n\r\n");
  }

  flush(): void {
    const head = this.#head;
    if (head === null) return;
    this.#head = null;
    this.#exchange.send(head);
  }
}
