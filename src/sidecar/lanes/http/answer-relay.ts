/**
 * An answer on its way to the agent: read as strictly as a request, and passed on as it comes.
 *
 *   awaited ─▶ (interim)* ─▶ head ─▶ body ─▶ done
 *
 * Nothing of a piece that turns out to be malformed is passed on behind its fault, and a head only together with what follows
 * it in the same piece.
 */
import { assertNever } from "#core/assert-never.ts";
import type { Agent, Chunk } from "#sidecar/seam/leg.ts";
import type { Permit } from "#sidecar/seam/verdict.ts";
import { type AnswerHead, readAnswerHead } from "./codec/answer-head.ts";
import { type BodyReader, chunkedBody, lengthBody, NO_BODY, untilCloseBody } from "./codec/body.ts";
import type { BodySink } from "./codec/chunked.ts";
import type { Fault } from "./codec/fault.ts";
import type { FieldBlock } from "./codec/field-block.ts";
import { HeadReader, USUAL_HEAD_BYTES } from "./codec/head-reader.ts";
import type { RequestHead } from "./codec/request-head.ts";
import type { AnswerGuard } from "./credentialed/answer-guard.ts";
import { GuardedBody } from "./credentialed/guarded-body.ts";
import type { HttpLimits } from "./limits.ts";
import { answerHeadText } from "./rewrite.ts";

/** What an agent's connection keeps from one answer to the next. */
export class AnswerReading {
  readonly limits: HttpLimits;
  readonly heads: HeadReader;
  /** Of the last answer: a server tends to say the same again. */
  fields: FieldBlock | null = null;

  constructor(limits: HttpLimits) {
    this.limits = limits;
    this.heads = new HeadReader({ headBytes: limits.headBytes, firstLineBytes: limits.targetBytes }, "HTTP/1.");
  }
}

/** What a relay asks of its exchange. */
export interface RelayOwner {
  readonly permit: Permit<"ask">;
  /** The agent can take no more now. */
  agentFull(): void;
  /** Whether the agent's connection ends behind this answer. Asked once, when its head is known. */
  closesBehind(answer: AnswerHead): boolean;
  /** Whether this answer may not be the last word: nothing of it goes on before `goOn`. Asked once, when its head is known. */
  reconsiders(answer: AnswerHead): boolean;
}

/** First body bytes up to here travel in one string with the head, where the head is not passed on as it came. */
const JOINED = 4_096;

export class AnswerRelay implements BodySink {
  readonly #reading: AnswerReading;
  readonly #request: RequestHead;
  readonly #agent: Agent;
  readonly #owner: RelayOwner;
  readonly #guard: AnswerGuard | null;
  #body: BodyReader = NO_BODY;
  #guarded: GuardedBody | null = null;
  #interims = 0;
  /** The head, until it is written together with what follows. */
  #head: string | null = null;
  #headFrom = -1;
  /** The final answer's head, once it was read. */
  head: AnswerHead | null = null;
  done = false;
  /** Its head was read, and whether it goes on is being found out. */
  waits = false;
  /** A byte came from the upstream. */
  heard = false;
  /** A byte was given to the agent. */
  answered = false;

  /** `guard`: null where the target has no credential of ours. */
  constructor(
    reading: AnswerReading,
    request: RequestHead,
    agent: Agent,
    owner: RelayOwner,
    guard: AnswerGuard | null,
  ) {
    reading.heads.reset();
    this.#reading = reading;
    this.#request = request;
    this.#agent = agent;
    this.#owner = owner;
    this.#guard = guard;
  }

  /** Takes all of the chunk, or up to the answer's end: the position behind it. */
  take(chunk: Chunk): number | Fault {
    this.heard = true;
    let at = 0;
    while (at < chunk.length && !this.done && !this.waits) {
      const next = this.head === null ? this.#readHead(chunk, at) : this.#readBody(chunk, at);
      if (typeof next === "string") return next;
      at = next;
    }
    if (!this.waits) this.#writeHead();
    return at;
  }

  /** This answer is the last word after all: what came of it goes on. */
  goOn(): void {
    this.waits = false;
    this.done = this.#body.done;
    this.#writeHead();
  }

  /** The upstream's connection ended in good order: whether that ends the answer too. */
  endOfConnection(): boolean {
    if (this.head?.body === "until-close" && !this.done) {
      this.done = true;
      this.#guarded?.finish();
    }
    return this.done;
  }

  #readHead(chunk: Chunk, at: number): number | Fault {
    const { heads, limits, fields } = this.#reading;
    const end = heads.read(chunk, at);
    if (typeof end === "string") return end;
    if (end < 0) return chunk.length;
    const { from } = heads;
    const text = heads.take();
    const head = readAnswerHead(text, this.#request.method, limits, fields);
    if (typeof head === "string") return head;
    this.#reading.fields = text.length <= USUAL_HEAD_BYTES ? head.block : null;
    if (head.status < 200) return this.#interim(head) ?? end;
    if (this.#request.minor === 0 && head.block.chunked) return "chunked_before_1_1";
    if (this.#guard?.hides(head) === true) return "content_coding";
    this.head = head;
    this.#body = this.#bodyOf(head);
    this.waits = this.#owner.reconsiders(head);
    this.done = this.#body.done && !this.waits;
    this.#head = this.#shown(answerHeadText(head, this.#owner.closesBehind(head)));
    if (this.#guard !== null && this.#guard.stream !== null && !this.#body.done)
      this.#guarded = new GuardedBody(this.#guard, head.body === "chunked", (bytes) => {
        this.#writeHead();
        this.#tell(bytes);
      });
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
        return chunkedBody(this.#reading.limits, "answer");
      case "until-close":
        return untilCloseBody();
      default:
        return assertNever(head.body);
    }
  }

  /** 100 goes on to whoever asked for it, others to whoever can read them; 101 was never asked for. */
  #interim(head: AnswerHead): Fault | null {
    if (head.status === 101 || ++this.#interims > this.#reading.limits.interim) return "interim";
    if (this.#request.minor === 0 || (head.status === 100 && !this.#request.block.expectContinue)) return null;
    this.#tell(this.#shown(answerHeadText(head, false)));
    return null;
  }

  #shown(head: string): string {
    return this.#guard === null ? head : this.#guard.head(head);
  }

  #readBody(chunk: Chunk, at: number): number | Fault {
    const end = this.#body.read(chunk, at, this.#guarded ?? this);
    if (typeof end === "string" || !this.#body.done) return end;
    this.done = true;
    this.#guarded?.finish();
    return end;
  }

  raw(chunk: Chunk, from: number, to: number): void {
    const head = this.#head;
    this.#head = null;
    if (head === null) this.#forward(chunk, from, to);
    else if (this.#headFrom >= 0 && this.#headFrom + head.length === from) this.#forward(chunk, this.#headFrom, to);
    else if (to - from <= JOINED) this.#tell(head + chunk.latin1(from, to));
    else {
      this.#tell(head);
      this.#forward(chunk, from, to);
    }
  }

  text(framing: string): void {
    this.#writeHead();
    this.#tell(framing);
  }

  end(trailers: FieldBlock | null): void {
    const lines = trailers?.passedOn(true) ?? "";
    this.text(`0\r\n${this.#guard === null ? lines : this.#guard.trailers(lines)}\r\n`);
  }

  #writeHead(): void {
    const head = this.#head;
    if (head === null) return;
    this.#head = null;
    this.#tell(head);
  }

  #forward(chunk: Chunk, from: number, to: number): void {
    this.answered = true;
    if (!this.#agent.forward(this.#owner.permit, chunk, from, to)) this.#owner.agentFull();
  }

  #tell(bytes: Uint8Array | string): void {
    this.answered = true;
    this.#owner.permit.bytesDown += bytes.length;
    if (!this.#agent.write(bytes)) this.#owner.agentFull();
  }
}
