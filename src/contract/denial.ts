/**
 * Every code with which we refuse, and what an agent can do about it. A policy's own denials carry the policy's code; these are
 * ours. `class` says who can help: policy (its author), identity (who runs this), protocol (the client), pending (wait), outage (us).
 */
export type DenialClass = "policy" | "identity" | "protocol" | "pending" | "outage";

export interface Denial {
  readonly class: DenialClass;
  readonly retryable: boolean;
  /** One sentence: what is wrong. */
  readonly message: string;
  /** One sentence: what to do. */
  readonly advice: string;
}

const outage = (message: string, advice: string): Denial => ({ class: "outage", retryable: true, message, advice });
const protocol = (message: string, advice: string): Denial => ({
  class: "protocol",
  retryable: false,
  message,
  advice,
});
const policy = (message: string, advice: string): Denial => ({ class: "policy", retryable: false, message, advice });

export const DENIALS = {
  // the decision
  not_allowed: policy(
    "No policy allows this operation.",
    "Ask for an allow rule that covers it; `sidegate why` shows what was judged.",
  ),
  frozen: policy(
    "This agent is frozen; everything is denied until somebody lifts it.",
    "Stop, and wait: a person decides; asking again changes nothing.",
  ),
  denied: policy("A policy denies this operation.", "Do not repeat it unchanged."),
  target_unknown: policy("No target lists this destination.", "Ask for an EgressTarget that names the host and port."),
  conflict: policy(
    "Policies disagree on the credential.",
    "Report it: two policies name different credentials for this operation.",
  ),
  incomplete: policy("The operation could not be understood completely.", "Send it in a simpler form."),
  obligation_unsupported: policy(
    "The policy asks for something that this protocol cannot carry out.",
    "Report it to the policy's author.",
  ),
  mask_evaded: policy(
    "This statement could show or test a masked column.",
    "Select masked columns as they are; leave them out of expressions, conditions, orderings and copies.",
  ),
  credential_forbidden: policy(
    "The policy names a credential that may not be used here.",
    "Report it to the policy's author; `sidegate why` shows the reason.",
  ),
  credential_unknown: policy(
    "The policy names a credential that nobody has configured.",
    "Report it to whoever configures the gateway's credentials.",
  ),
  credential_unavailable: {
    class: "outage",
    retryable: true,
    message: "The credential for this operation could not be had in time.",
    advice: "Try again later.",
  },
  foreign_credential: policy(
    "The gateway puts the credential for this target in; another one was sent along.",
    "Send no credential, or the placeholder that stands for this target's.",
  ),
  placeholder_misplaced: policy(
    "A placeholder for a credential was sent where it does not belong.",
    "Send it only to the target whose credential it stands for, in the field where that one goes.",
  ),
  credential_missing: policy(
    "This target is entered with the gateway's credential, and no policy puts it in.",
    "Ask for a policy that names the target's credential for this connection.",
  ),
  approval_unavailable: policy(
    "This operation needs a person's approval, and nobody can give one here.",
    "Ask the policy's author.",
  ),
  policy_out_of_fuel: {
    class: "policy",
    retryable: false,
    message: "The policy took too many steps and was stopped.",
    advice: "Send a smaller request, or report it to the policy's author.",
  },
  policy_error: {
    class: "policy",
    retryable: false,
    message: "The policy could not be evaluated.",
    advice: "Report it to the policy's author.",
  },
  input_too_large: policy("The operation is too large to be judged.", "Send a smaller request."),
  revoked: policy("A policy change ended this connection.", "Connect again to be judged anew."),
  // where it goes
  destination_unreadable: protocol("The destination of this connection could not be read.", "Connect by name."),
  destination_forbidden: policy(
    "This address can never be reached through the gateway.",
    "Connect by name to a target.",
  ),
  name_mismatch: protocol(
    "The name in the request is not the name that was connected to.",
    "Use one connection for each host.",
  ),
  protocol_unknown: protocol(
    "The protocol on this connection was not recognised.",
    "Ask for a target that declares its protocol.",
  ),
  protocol_unsupported: protocol(
    "This protocol is recognised, but not carried.",
    "See what the gateway understands in its README.",
  ),
  protocol_undeclared: protocol(
    "The client spoke another protocol than the target declares.",
    "Use the declared protocol.",
  ),
  tls_required: protocol("This target is reached by TLS only.", "Use https."),
  tls_forbidden: protocol("This target is declared as plaintext.", "Use http."),
  ech_refused: protocol("Encrypted Client Hello hides the name and is refused.", "Switch ECH off."),
  // how it is said
  bad_request: protocol(
    "The request is malformed or can be read in two ways.",
    "Send it as RFC 9112 says; `detail` names the fault.",
  ),
  misdirected: protocol("Host and connection name different origins.", "Use one connection for each host."),
  method_unsupported: protocol("This method is not carried.", "Use another method."),
  header_too_large: protocol("The header section is too large.", "Send fewer or shorter header fields."),
  header_timeout: protocol("The header section took too long.", "Send the request at once."),
  idle_timeout: {
    class: "protocol",
    retryable: true,
    message: "Nothing was sent for too long.",
    advice: "Connect again.",
  },
  total_timeout: {
    class: "protocol",
    retryable: true,
    message: "The exchange took longer than the target permits.",
    advice: "Ask for a longer total limit.",
  },
  // PostgreSQL
  protocol_violation: protocol("The message is not PostgreSQL's protocol.", "Use a driver for protocol 3."),
  statement_too_large: protocol("The statement is too large to be judged.", "Send it in smaller pieces, or use COPY."),
  not_utf8: protocol("The statement is not UTF-8.", "Use client_encoding UTF8."),
  obscured: protocol(
    "A statement that nobody understood has just run, so this one could be read in two ways.",
    "Send Sync and wait for its answer before this statement.",
  ),
  setting_pinned: protocol(
    "This setting decides how statements are read, and stays as it is.",
    "Leave client_encoding, standard_conforming_strings and backslash_quote alone.",
  ),
  read_only_target: policy("This target is read-only.", "Do not ask for a transaction that writes."),
  channel_binding: protocol(
    "The client binds its password to a certificate that is not the upstream's.",
    "Set channel_binding=disable, or let the gateway put the credential in.",
  ),
  placeholder_wrong: policy(
    "The gateway puts the credential for this target in; another one was sent along.",
    "Send the placeholder that stands for this target's credential.",
  ),
  cancel_unknown: protocol(
    "No statement of this pod has this cancel key.",
    "Cancel only what runs on an own connection.",
  ),
  // us and the upstream
  no_bundle: outage(
    "No policy is loaded; everything is denied.",
    "Try again later; the gateway's operator has been told by a metric.",
  ),
  audit_full: outage("The record is full; nothing is let through unrecorded.", "Try again later."),
  audit_failed: outage("The record could not be written; nothing is let through unrecorded.", "Try again later."),
  audit_lag: outage("The collector has not acknowledged enough; only reads go on.", "Try again later."),
  audit_unavailable: outage(
    "The collector takes no records; what could be lost with this pod is bounded, so nothing more goes on.",
    "Try again later; the gateway's operator has been told by a metric.",
  ),
  overloaded: outage("Too many connections.", "Use fewer connections."),
  draining: outage("The gateway is shutting down.", "Connect again."),
  upstream_unresolved: outage(
    "The upstream's name has no usable address.",
    "Check the name; private addresses need `private: true` in the target.",
  ),
  upstream_unreachable: outage("The upstream could not be reached.", "Try again later."),
  upstream_timeout: outage("The upstream did not answer in time.", "Try again later."),
  upstream_tls: outage("The upstream's certificate could not be verified.", "Ask for `upstream.ca` in the target."),
  credential_refused: outage(
    "The upstream did not take the credential in a way that is safe.",
    "Report it: the upstream must ask for SCRAM-SHA-256 over TLS.",
  ),
  reader_unavailable: outage(
    "PostgreSQL's parser could not be loaded; nothing is let through unread.",
    "Try again later.",
  ),
  upstream_malformed: outage("The upstream's answer is malformed.", "Report it to the upstream."),
} as const satisfies Record<string, Denial>;

export type DenialCode = keyof typeof DENIALS;
