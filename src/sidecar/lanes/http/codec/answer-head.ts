/**
 * Reads an answer's head (RFC 9112 section 4) with the same strictness as a request's, and decides how its body ends (6.3).
 *
 *   status-line = HTTP-version SP status-code [ SP [ reason-phrase ] ] CRLF
 */
import type { HttpLimits } from "../limits.ts";
import { VALUE } from "./characters.ts";
import type { Fault } from "./fault.ts";
import type { FieldBlock } from "./field-block.ts";
import { readFields } from "./fields.ts";

export interface AnswerHead {
  readonly status: number;
  readonly minor: 0 | 1;
  readonly block: FieldBlock;
  readonly text: string;
  /** Where the fields begin in `text`. */
  readonly fieldsAt: number;
  readonly body: AnswerBody;
}

export type AnswerBody = "none" | "length" | "chunked" | "until-close";

/**
 * `text`: a head that ends in its empty line. `method`: of the request that it answers; HEAD has no body. `last`: what was read of
 * the answer before, used again where the fields are the same bytes.
 */
export function readAnswerHead(
  text: string,
  method: string,
  limits: HttpLimits,
  last: FieldBlock | null,
): AnswerHead | Fault {
  if (!text.startsWith("HTTP/1.")) return "status_line";
  const version = text.charCodeAt(7) - 48;
  if (version !== 0 && version !== 1) return "version";
  const status = readStatus(text);
  if (status < 100) return "status_line";
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd < 12 || (lineEnd > 12 && text.charCodeAt(12) !== 32)) return "status_line";
  for (let i = 13; i < lineEnd; i++) if (VALUE[text.charCodeAt(i)] !== 1) return "status_line";
  const fieldsAt = lineEnd + 2;
  const end = text.length - 2;
  const same = last !== null && last.text.length === end - fieldsAt && last.text === text.slice(fieldsAt, end);
  const block = same ? last : readFields(text, fieldsAt, end, "answer", limits.fields);
  if (typeof block === "string") return block;
  if (version === 0 && block.chunked) return "chunked_before_1_1";
  const body = bodyOf(status, method, block);
  if (body === "not-allowed") return "body_not_allowed";
  // HTTP/1.0 has no interim answers, and none of them is the last.
  if (status < 200 && (version === 0 || block.close)) return "interim";
  return { status, minor: version, block, text, fieldsAt, body };
}

/** Three digits behind `HTTP/1.x `, first one 1 to 5; else 0. */
function readStatus(text: string): number {
  if (text.charCodeAt(8) !== 32) return 0;
  const a = text.charCodeAt(9) - 48;
  const b = text.charCodeAt(10) - 48;
  const c = text.charCodeAt(11) - 48;
  return a >= 1 && a <= 9 && b >= 0 && b <= 9 && c >= 0 && c <= 9 ? a * 100 + b * 10 + c : 0;
}

function bodyOf(status: number, method: string, block: FieldBlock): AnswerBody | "not-allowed" {
  if (status < 200 || status === 204) return block.chunked || block.contentLength > 0 ? "not-allowed" : "none";
  if (method === "HEAD" || status === 304) return "none";
  if (block.chunked) return "chunked";
  if (block.contentLength >= 0) return block.contentLength === 0 ? "none" : "length";
  return "until-close";
}
