/** The lane's decoder over a whole connection's bytes: which messages it accepts, and where and why it stops. */

import { KeptChunk } from "#core/kept-chunk.ts";
import { readAnswerHead } from "#sidecar/lanes/http/codec/answer-head.ts";
import { type BodyReader, chunkedBody, lengthBody, NO_BODY, untilCloseBody } from "#sidecar/lanes/http/codec/body.ts";
import type { Fault } from "#sidecar/lanes/http/codec/fault.ts";
import { HeadReader } from "#sidecar/lanes/http/codec/head-reader.ts";
import { RequestHeadReader } from "#sidecar/lanes/http/codec/request-head.ts";
import { HTTP_LIMITS } from "#sidecar/lanes/http/limits.ts";
import { unsupported } from "#sidecar/lanes/http/unsupported.ts";

export interface Decoded {
  readonly method: string;
  readonly target: string;
  readonly status: number;
  readonly chunked: boolean;
  readonly length: number;
  readonly complete: boolean;
  readonly headEnd: number;
  /** Behind what may have been passed on of it: all of it, when it is complete. */
  readonly end: number;
}

export interface Decoding {
  readonly messages: readonly Decoded[];
  /** `more`: it would wait; `stop`: it takes nothing behind the last message. */
  readonly end: Fault | "more" | "stop" | "done";
}

/** How far a body was passed on as it came. */
class Passed {
  to = 0;
  raw(_chunk: unknown, _from: number, to: number): void {
    this.to = to;
  }
  text(): void {}
  end(): void {}
}

const LIMITS = { headBytes: HTTP_LIMITS.headBytes, firstLineBytes: HTTP_LIMITS.targetBytes };

export function decodeRequests(bytes: Buffer): Decoding {
  const chunk = new KeptChunk(bytes);
  const heads = new HeadReader(LIMITS, "method");
  const requests = new RequestHeadReader(HTTP_LIMITS);
  const messages: Decoded[] = [];
  let at = 0;
  while (at < bytes.length) {
    const headEnd = heads.read(chunk, at);
    if (typeof headEnd === "string") return { messages, end: headEnd };
    if (headEnd < 0) return { messages, end: "more" };
    const text = heads.take();
    const head = requests.read(text);
    if (typeof head === "string") return { messages, end: head };
    const { block } = head;
    if (block.host === null && head.minor === 1) return { messages, end: "host_missing" };
    if (unsupported(head) !== null || block.upgrade !== null) return { messages, end: "stop" };
    const body = block.chunked
      ? chunkedBody(HTTP_LIMITS, "request")
      : block.contentLength > 0
        ? lengthBody(block.contentLength)
        : NO_BODY;
    const passed = new Passed();
    const end = body.read(chunk, headEnd, passed);
    messages.push({
      method: head.method,
      target: head.authority === null ? head.target.raw : (text.split(" ", 2)[1] ?? ""),
      status: 0,
      chunked: block.chunked,
      length: body.length,
      complete: body.done,
      headEnd,
      end: body.done && typeof end === "number" ? end : Math.max(passed.to, headEnd),
    });
    if (typeof end === "string") return { messages, end };
    if (!body.done) return { messages, end: "more" };
    at = end;
    if (block.close || head.minor === 0) return { messages, end: "stop" };
  }
  return { messages, end: "done" };
}

/** Up to and with the final answer to GET. */
export function decodeAnswer(bytes: Buffer): Decoding {
  const chunk = new KeptChunk(bytes);
  const heads = new HeadReader(LIMITS, "HTTP/1.");
  const messages: Decoded[] = [];
  let at = 0;
  while (at < bytes.length) {
    const headEnd = heads.read(chunk, at);
    if (typeof headEnd === "string") return { messages, end: headEnd };
    if (headEnd < 0) return { messages, end: "more" };
    const head = readAnswerHead(heads.take(), "GET", HTTP_LIMITS, null);
    if (typeof head === "string") return { messages, end: head };
    if (head.status === 101) return { messages, end: "interim" };
    const body: BodyReader =
      head.body === "length"
        ? lengthBody(head.block.contentLength)
        : head.body === "chunked"
          ? chunkedBody(HTTP_LIMITS, "answer")
          : head.body === "none"
            ? NO_BODY
            : untilCloseBody();
    const passed = new Passed();
    const end = body.read(chunk, headEnd, passed);
    messages.push({
      method: "",
      target: "",
      status: head.status,
      chunked: head.block.chunked,
      length: body.length,
      complete: body.done,
      headEnd,
      end: body.done && typeof end === "number" ? end : Math.max(passed.to, headEnd),
    });
    if (typeof end === "string") return { messages, end };
    if (!body.done) return { messages, end: "more" };
    at = end;
    if (head.status >= 200) return { messages, end: "stop" };
  }
  return { messages, end: "done" };
}
