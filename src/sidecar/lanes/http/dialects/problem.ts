/**
 * A refusal as an RFC 9457 problem that an agent (or the person who reads its log) can act on. ASCII only, so that its length in
 * characters is its length in bytes.
 */

import type { DenialClass } from "#contract/denial.ts";
import { EVENT_HEADER } from "#contract/names.ts";
import { quote } from "#core/json-text.ts";
import type { Answer } from "#sidecar/seam/exchange.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { RETRY_AFTER_S, statusOf } from "./status.ts";

const TITLES: Readonly<Record<DenialClass, string>> = {
  policy: "Denied by policy",
  identity: "Identity not accepted",
  protocol: "Not carried as it was sent",
  pending: "Waiting for a decision",
  outage: "Not available",
};

const NON_ASCII = /[\u007f-\uffff]/g;

function ascii(text: string): string {
  return quote(text).replace(NON_ASCII, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** `headOnly`: the answer to HEAD, with the length that the body would have. */
export function problem(refusal: Refusal, headOnly: boolean): Answer {
  const status = statusOf(refusal.code, refusal.class);
  const text = (name: string, value: string): string => (value === "" ? "" : `,"${name}":${ascii(value)}`);
  const body = `{"type":${ascii(`urn:sidegate:denial:${encodeURIComponent(refusal.code.toWellFormed())}`)},"title":${ascii(TITLES[refusal.class])},"status":${status}${text("detail", refusal.message)}${text("instance", refusal.event)}${text("code", refusal.code)},"class":"${refusal.class}","retryable":${refusal.retryable}${text("advice", refusal.advice)}${text("policy", refusal.policy)}}\n`;
  const fields: [string, string][] = [
    ["Content-Type", "application/problem+json"],
    ["Content-Length", String(body.length)],
    ["Cache-Control", "no-store"],
    [EVENT_HEADER, refusal.event.replace(/[^\x21-\x7e]/g, "")],
  ];
  const retryAfterS = refusal.retryAfterS ?? (status === 503 ? RETRY_AFTER_S : null);
  if (retryAfterS !== null) fields.push(["Retry-After", String(Math.max(0, Math.ceil(retryAfterS)))]);
  return { status, fields, body: headOnly ? "" : body, trailers: [] };
}
