/**
 * A Refusal as PostgreSQL says it: an ErrorResponse that a driver raises as its own error, with a code that programs can act on.
 *
 * SQLSTATE 42501 (insufficient_privilege) is what a server answers to who may not; the agent reads the policy's advice in HINT.
 */
import type { DenialClass } from "#contract/denial.ts";
import { assertNever } from "#core/assert-never.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { noticeText } from "./codec/backend.ts";

/** Codes of ours that have a SQLSTATE of their own (manual: Appendix A). */
const STATES: ReadonlyMap<string, string> = new Map([
  ["statement_too_large", "54000"], // program_limit_exceeded
  ["protocol_violation", "08P01"],
  ["method_unsupported", "0A000"], // feature_not_supported
  ["credential_missing", "28000"], // invalid_authorization_specification
  ["idle_timeout", "57P05"], // idle_session_timeout
  ["draining", "57P01"], // admin_shutdown
  ["revoked", "57P01"],
  ["upstream_unreachable", "08006"], // connection_failure
  ["upstream_unresolved", "08006"],
  ["upstream_timeout", "08006"],
  ["upstream_tls", "08006"],
  ["upstream_malformed", "08P01"],
]);

export type Severity = "ERROR" | "FATAL";

export function stateOf(code: string, of: DenialClass): string {
  const state = STATES.get(code);
  if (state !== undefined) return state;
  switch (of) {
    case "policy":
    case "identity":
    case "pending":
      return "42501";
    case "protocol":
      return "08P01";
    case "outage":
      return "58000"; // system_error
    default:
      return assertNever(of);
  }
}

export function refusalText(refusal: Refusal, severity: Severity = "ERROR"): string {
  const { code, message, advice, policy, event } = refusal;
  const detail = `code ${code}, class ${refusal.class}${policy === "" ? "" : `, policy ${policy}`}, event ${event}`;
  const hint = [advice, refusal.retryable ? "It may be tried again." : ""].filter((text) => text !== "").join(" ");
  return errorText(severity, stateOf(code, refusal.class), message === "" ? "denied" : message, detail, hint);
}

/** `message` and the others are JavaScript text. */
export function errorText(severity: Severity, state: string, message: string, detail = "", hint = ""): string {
  return noticeText("E", [
    ["S", severity],
    ["V", severity],
    ["C", state],
    ["M", `${ORIGIN}${message}`],
    ["D", detail],
    ["H", hint],
  ]);
}

/** As the server itself says it: for what it would have answered to a name that it does not know. */
export function serverErrorText(state: string, message: string): string {
  return noticeText("E", [
    ["S", "ERROR"],
    ["V", "ERROR"],
    ["C", state],
    ["M", message],
  ]);
}

/** Tells our errors from the server's own. */
const ORIGIN = "sidegate: ";
