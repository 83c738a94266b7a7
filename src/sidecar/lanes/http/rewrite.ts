/**
 * Heads as they are passed on: the same text wherever nothing must change, else without the fields that end at this hop
 * (RFC 9110 section 7.6.1). We add no `Via`: the gateway stands where the agent's own network stack ends, and says nothing of
 * itself to upstreams.
 */
import type { AnswerHead } from "./codec/answer-head.ts";
import type { RequestHead } from "./codec/request-head.ts";

/** `authority`: what Host must say, for an HTTP/1.0 request that has none. */
export function requestText(head: RequestHead, authority: string): string {
  const { block, text } = head;
  const sameLine = head.authority === null;
  if (sameLine && block.cuts === null && block.host !== null) return text;
  const line = sameLine
    ? text.slice(0, text.length - 2 - block.text.length)
    : `${head.method} ${head.target.raw} HTTP/1.${head.minor}\r\n`;
  const host = block.host === null ? `Host: ${authority}\r\n` : "";
  return `${line}${host}${block.passedOn(false)}\r\n`;
}

/** `close`: the agent's connection ends behind this answer. */
export function answerHeadText(head: AnswerHead, close: boolean): string {
  const { block, text, minor } = head;
  if (!close && minor === 1 && block.cuts === null) return text;
  // Our own version (RFC 9110 section 2.5), else an HTTP/1.1 client would take an HTTP/1.0 upstream's habits for ours.
  const line = minor === 1 ? text.slice(0, head.fieldsAt) : `HTTP/1.1${text.slice(8, head.fieldsAt)}`;
  return `${line}${block.passedOn(close)}${close ? "Connection: close\r\n" : ""}\r\n`;
}
