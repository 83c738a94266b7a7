/** What an upstream's fault, before a byte of its answer, is to the agent. One table. */
import type { DenialCode } from "#contract/denial.ts";
import type { LegFault } from "#sidecar/seam/leg.ts";

const CODES: Readonly<Record<LegFault, DenialCode>> = {
  refused: "upstream_unreachable",
  unreachable: "upstream_unreachable",
  reset: "upstream_unreachable",
  unresolved: "upstream_unresolved",
  timeout: "upstream_timeout",
  audit: "audit_failed",
  "tls-bad-upstream": "upstream_tls",
  "tls-name": "upstream_tls",
  "plaintext-before-tls": "upstream_tls",
  // Only an agent's leg can have it.
  "tls-untrusted-by-agent": "upstream_unreachable",
};

export function codeOfFault(fault: LegFault): DenialCode {
  return CODES[fault];
}
