/**
 * What can be wrong with a message, by name: the record carries the name, the answer's status comes from the code. A fault
 * means that nothing of the message is passed on, and that its connection is closed, since its end is not known for sure.
 */
import type { DenialCode } from "#contract/denial.ts";
import type { TargetFault } from "#core/request-target.ts";

const FAULTS = {
  // the line structure (RFC 9112 sections 2.2 and 5)
  bare_lf: "bad_request",
  bare_cr: "bad_request",
  control_byte: "bad_request",
  obs_fold: "bad_request",
  field_name: "bad_request",
  space_before_colon: "bad_request",
  truncated: "bad_request",
  head_too_long: "header_too_large",
  too_many_fields: "header_too_large",
  // the first line (section 3)
  request_line: "bad_request",
  method: "bad_request",
  version: "bad_request",
  status_line: "bad_request",
  target_too_long: "header_too_large",
  target_form: "bad_request",
  target_character: "bad_request",
  double_slash: "bad_request",
  dot_segment: "bad_request",
  encoded_slash: "bad_request",
  encoded_control: "bad_request",
  percent_encoding: "bad_request",
  target_utf8: "bad_request",
  userinfo: "bad_request",
  // framing (section 6)
  length_and_chunked: "bad_request",
  content_length: "bad_request",
  transfer_coding: "bad_request",
  chunked_before_1_1: "bad_request",
  chunk_size: "bad_request",
  chunk_extension: "bad_request",
  chunk_end: "bad_request",
  trailer: "bad_request",
  body_not_allowed: "bad_request",
  // fields that must be alone, or plain
  duplicate_field: "bad_request",
  look_alike_field: "bad_request",
  connection_field: "bad_request",
  host_missing: "bad_request",
  host: "bad_request",
  expectation: "bad_request",
  // only in answers
  interim: "bad_request",
  content_coding: "bad_request",
} as const satisfies Record<string, DenialCode> & Record<TargetFault, DenialCode>;

export type Fault = keyof typeof FAULTS;

/** With which code a request that has this fault is refused. In an answer every fault is `upstream_malformed`. */
export function codeOf(fault: Fault): "bad_request" | "header_too_large" {
  return FAULTS[fault];
}
