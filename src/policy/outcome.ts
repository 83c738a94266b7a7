/**
 * What the policies said, put together: deny beats hold beats allow, an empty decision is a denial.
 *
 * Errs towards denial: an obligation that the protocol cannot carry out, and two different credentials, are denials with a code of
 * their own. Under observation a denial goes on and is told, unless it says `always`.
 */
import { capabilityOf } from "#contract/capabilities.ts";
import type { Decision, HoldRule, MaskRule, Reason } from "#contract/decision.ts";
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import type { Protocol } from "#contract/operation.ts";
import type { Settings } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import type { RuleLocation } from "./manifest.ts";

/** One rule that denies, with how it wants to be treated. */
export interface DenyRule extends Reason {
  readonly advice: string;
  readonly quiet: boolean;
  readonly always: boolean;
}

/** A denial that no rule made. */
export function faultDecision(code: DenialCode, why: string): Decision {
  const { message, advice } = DENIALS[code];
  return build({
    effect: "deny",
    code,
    message: why === "" ? message : `${message} (${why})`,
    advice,
    policies: [],
    rule: null,
    deny: [{ policy: "sidegate", code, message }],
    hold: [],
    mask: [],
    credential: null,
    would: null,
    quiet: false,
  });
}

export interface Contributions {
  readonly allow: readonly string[];
  readonly deny: readonly DenyRule[];
  readonly hold: readonly HoldRule[];
  readonly mask: readonly MaskRule[];
  readonly credential: readonly string[];
  readonly observedDeny: readonly DenyRule[];
  readonly observedHold: readonly HoldRule[];
  readonly protocol: Protocol | null;
}

/** Nobody said anything. */
export const EMPTY: Contributions = {
  allow: [],
  deny: [],
  hold: [],
  mask: [],
  credential: [],
  observedDeny: [],
  observedHold: [],
  protocol: null,
};

export function ours(code: DenialCode): DenyRule {
  const { message, advice } = DENIALS[code];
  return { policy: "sidegate", code, message, advice, quiet: false, always: false };
}

/** `rules`: where the bundle's rules stand. */
export function decide(from: Contributions, settings: Settings, rules: readonly RuleLocation[]): Decision {
  const deny = [...from.deny, ...from.observedDeny.filter((rule) => rule.always)];
  const capability = from.protocol === null ? undefined : capabilityOf(from.protocol);
  const credentials = [...new Set(from.credential)];
  // What is denied anyway owes nothing.
  if (deny.length === 0) {
    if (credentials.length > 1) deny.push(ours("conflict"));
    if (
      (from.hold.length > 0 && capability?.hold !== true) ||
      (from.mask.length > 0 && capability?.mask !== true) ||
      (credentials.length > 0 && capability?.credential !== true)
    )
      deny.push(ours("obligation_unsupported"));
  }
  if (deny.length === 0 && from.hold.length === 0 && from.allow.length === 0) deny.push(ours("not_allowed"));

  // Sets have no order of their own, but what is said first counts: the gateway's own, then by policy and code.
  if (deny.length > 1) deny.sort(byWeight);
  const observing = settings.mode === "observe";
  // Under observation only what says `always` is still refused.
  const counting = observing ? deny.filter((rule) => rule.always) : deny;
  const first = counting[0];
  const effect = first !== undefined ? "deny" : from.hold.length > 0 && !observing ? "hold" : "allow";
  const wouldDeny = observing && first === undefined ? deny : from.observedDeny;
  const wouldHold = observing && first === undefined ? from.hold : from.observedHold;
  return build({
    effect,
    code: first?.code ?? "",
    message: first?.message ?? "",
    advice: first?.advice ?? "",
    rule: first === undefined ? null : placeOf(first, rules),
    policies:
      first !== undefined ? [first.policy] : effect === "hold" ? from.hold.map((rule) => rule.policy) : from.allow,
    deny: counting.map(({ policy, code, message }) => ({ policy, code, message })),
    hold: effect === "hold" ? from.hold : [],
    mask: capability?.mask === true ? from.mask : [],
    // What would have been denied gets no credential.
    credential: deny.length === 0 ? (credentials[0] ?? null) : null,
    would: would(wouldDeny, wouldHold),
    quiet: first !== undefined && counting.every((rule) => rule.quiet),
  });
}

/** By its code where that is a literal; else the policy's only rule that denies. */
function placeOf({ policy, code }: DenyRule, rules: readonly RuleLocation[]): string | null {
  const denying = rules.filter((rule) => rule.policy === policy && rule.rule === "deny");
  const found = denying.find((rule) => rule.code === code) ?? (denying.length === 1 ? denying[0] : undefined);
  return found === undefined ? null : `${found.file}:${found.line}`;
}

function byWeight(a: DenyRule, b: DenyRule): number {
  return (
    Number(a.policy !== "sidegate") - Number(b.policy !== "sidegate") ||
    compare(a.policy, b.policy) ||
    compare(a.code, b.code) ||
    compare(a.message, b.message)
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function would(deny: readonly DenyRule[], hold: readonly HoldRule[]): Decision["would"] {
  if (deny.length > 0)
    return { effect: "deny", reasons: deny.map(({ policy, code, message }) => ({ policy, code, message })) };
  if (hold.length > 0)
    return { effect: "hold", reasons: hold.map(({ policy, reason }) => ({ policy, code: "hold", message: reason })) };
  return null;
}

/** Shared by every operation that gets it, so nobody can change one. */
function build(decision: Omit<Decision, "text">): Decision {
  for (const member of [decision.policies, decision.deny, decision.hold, decision.mask]) Object.freeze(member);
  return Object.freeze({ ...decision, text: decisionText(decision) });
}

/** The members that a record's line gets; what is empty is left out. */
function decisionText(d: Omit<Decision, "text">): string {
  let text = `"effect":"${d.effect}"`;
  if (d.code !== "") text += `,"code":${quote(d.code)},"message":${quote(d.message)}`;
  if (d.policies.length > 0) text += `,"policies":${JSON.stringify(d.policies)}`;
  if (d.rule !== null) text += `,"rule":${quote(d.rule)}`;
  if (d.deny.length > 1) text += `,"deny":${JSON.stringify(d.deny)}`;
  if (d.hold.length > 0) text += `,"hold":${JSON.stringify(d.hold)}`;
  if (d.mask.length > 0) text += `,"mask":${JSON.stringify(d.mask)}`;
  if (d.credential !== null) text += `,"credential":${quote(d.credential)}`;
  if (d.would !== null) text += `,"would":${JSON.stringify(d.would)}`;
  if (d.quiet) text += `,"quiet":true`;
  return text;
}
