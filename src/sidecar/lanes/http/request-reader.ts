/**
 * Reads an agent's next request as far as it must be known before anybody is asked: its head, whether it names the origin that
 * the connection is for, whether it is carried at all, and how its body ends.
 *
 * Errs towards a fault: also what is in hand of a chunked body is read first, so that a fault in it means that nothing goes on.
 */
import type { DenialCode } from "#contract/denial.ts";
import type { Peer } from "#sidecar/seam/lane.ts";
import type { Chunk } from "#sidecar/seam/leg.ts";
import { type BodyReader, chunkedBody, lengthBody, NO_BODY } from "./codec/body.ts";
import type { BodySink } from "./codec/chunked.ts";
import type { Fault } from "./codec/fault.ts";
import { HeadReader } from "./codec/head-reader.ts";
import { type RequestHead, RequestHeadReader } from "./codec/request-head.ts";
import { type Origin, originOf } from "./host.ts";
import type { HttpLimits } from "./limits.ts";
import { RequestView } from "./request-view.ts";
import { unsupported } from "./unsupported.ts";

export interface ReadRequest {
  readonly head: RequestHead;
  readonly view: RequestView;
  /** Of which nothing was read yet. */
  readonly body: BodyReader;
  /** Well-formed, and refused whatever a policy says. `closing`: what follows on the connection may be no HTTP. */
  readonly refused: { readonly code: DenialCode; readonly why: string; readonly closing: boolean } | null;
}

/** Takes a body that nobody gets. */
export const NOWHERE: BodySink = { raw() {}, text() {}, end() {} };

/** Method, version and spaces beside the target. */
const FIRST_LINE_ROOM = 64;

export class RequestReader {
  readonly #peer: Peer;
  readonly #limits: HttpLimits;
  readonly #origin: Origin;
  readonly #heads: HeadReader;
  readonly #requests: RequestHeadReader;
  #request: ReadRequest | null = null;

  constructor(peer: Peer, limits: HttpLimits) {
    this.#peer = peer;
    this.#limits = limits;
    this.#origin = originOf(peer);
    this.#heads = new HeadReader(
      { headBytes: limits.headBytes, firstLineBytes: limits.targetBytes + FIRST_LINE_ROOM },
      "method",
    );
    this.#requests = new RequestHeadReader(limits);
  }

  /** Whether a head has begun and not ended. */
  get partial(): boolean {
    return this.#heads.partial;
  }

  /** Where in the last chunk the head began; -1 when it came in pieces. */
  get headFrom(): number {
    return this.#heads.from;
  }

  /** What Host says where a request has none. */
  get authority(): string {
    return this.#origin.authority;
  }

  /** What `read` found; given away once. */
  take(): ReadRequest | null {
    const request = this.#request;
    this.#request = null;
    return request;
  }

  /** Position behind the head, and there is one to `take`; or -1: all of the chunk was taken and more is needed. */
  read(chunk: Chunk, from: number): number | Fault {
    const end = this.#heads.read(chunk, from);
    if (typeof end === "string" || end < 0) return end;
    const head = this.#requests.read(this.#heads.take());
    if (typeof head === "string") return head;
    const named = this.#origin.check(head);
    if (named !== null && named !== "misdirected") return named;
    const { block } = head;
    if (block.chunked && end < chunk.length) {
      const read = chunkedBody(this.#limits, "request").read(chunk, end, NOWHERE);
      if (typeof read === "string") return read;
    }
    this.#request = {
      head,
      view: new RequestView(head, this.#peer),
      body: this.#bodyOf(head),
      refused: refusedOf(head, named === "misdirected"),
    };
    return end;
  }

  /** Section 6.3 of RFC 9112: a request without a length and without chunks has no body. */
  #bodyOf({ block }: RequestHead): BodyReader {
    if (block.chunked) return chunkedBody(this.#limits, "request");
    return block.contentLength > 0 ? lengthBody(block.contentLength) : NO_BODY;
  }
}

function refusedOf(head: RequestHead, misdirected: boolean): ReadRequest["refused"] {
  const not = unsupported(head);
  if (not !== null) return { code: "method_unsupported", ...not };
  if (!misdirected) return null;
  const named = head.authority ?? head.block.host;
  return { code: "misdirected", why: `the request is for ${named}`, closing: false };
}
