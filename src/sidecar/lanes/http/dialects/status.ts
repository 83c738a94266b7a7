/**
 * Which HTTP status a refusal has: one table. 4xx: asking again unchanged changes nothing; 5xx: ours or the upstream's trouble.
 */
import { DENIALS, type DenialClass, type DenialCode } from "#contract/denial.ts";

const BY_CODE: Partial<Record<DenialCode, number>> = {
  bad_request: 400,
  misdirected: 421,
  name_mismatch: 421,
  method_unsupported: 501,
  header_too_large: 431,
  input_too_large: 413,
  header_timeout: 408,
  idle_timeout: 408,
  total_timeout: 504,
  tls_required: 403,
  tls_forbidden: 403,
  ech_refused: 403,
  protocol_unknown: 403,
  protocol_unsupported: 403,
  protocol_undeclared: 403,
  destination_unreadable: 403,
  upstream_unresolved: 502,
  upstream_unreachable: 502,
  upstream_tls: 502,
  upstream_malformed: 502,
  upstream_timeout: 504,
};

const BY_CLASS: Record<DenialClass, number> = {
  policy: 403,
  identity: 403,
  protocol: 400,
  pending: 503,
  outage: 503,
};

/** With a 503 and no other word, clients come back after this many seconds. */
export const RETRY_AFTER_S = 5;

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  408: "Request Timeout",
  413: "Content Too Large",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** `code`: ours, or a policy's own. */
export function statusOf(code: string, denial: DenialClass): number {
  return (Object.hasOwn(DENIALS, code) ? BY_CODE[code as DenialCode] : undefined) ?? BY_CLASS[denial];
}

export function reasonOf(status: number): string {
  return REASONS[status] ?? "";
}
