/**
 * Reads what `data.sidegate.decision` gave and makes the Decision of it: deny beats hold beats allow, an empty one is a denial.
 *
 * Errs towards denial: no result, an unknown member's shape, an obligation that the protocol cannot carry out or that cannot be
 * read, two different credentials: each is a denial with a code of its own.
 */
import { CAPABILITIES, capabilityOf } from "#contract/capabilities.ts";
import type { Decision, HoldRule, MaskRule, Reason } from "#contract/decision.ts";
import { DENIALS, type DenialCode } from "#contract/denial.ts";
import type { Protocol } from "#contract/operation.ts";
import type { Settings } from "#contract/policy-port.ts";
import { quote } from "#core/json-text.ts";
import type { RuleLocation } from "./manifest.ts";

/** A person has so long, unless the policy says otherwise. */
const DEFAULT_HOLD_MS = 15 * 60_000;
const MAX_HOLD_MS = 24 * 3_600_000;
/** Of one text that a policy makes out of an operation; more is cut, and says so. */
const MAX_TEXT = 1_000;
const PROTOCOL_NAMES = new Set<unknown>(CAPABILITIES.map((capability) => capability.protocol));

/** What a decision may have. What is not here could be an obligation that we do not know. */
const MEMBERS = new Set(["protocol", "allow", "deny", "hold", "mask", "credential", "observed_deny", "observed_hold"]);

interface DenyRule extends Reason {
  readonly advice: string;
  readonly quiet: boolean;
  readonly always: boolean;
}

/** Whose reading went wrong is always "the policy". */
class Unreadable extends Error {}

/** `result`: the evaluator's text, a result set `[{"result": …}]`. `rules`: where the bundle's rules stand. */
export function readDecision(result: string, settings: Settings, rules: readonly RuleLocation[] = []): Decision {
  try {
    const set = JSON.parse(result) as unknown;
    const first: unknown = Array.isArray(set) ? set[0] : undefined;
    if (first === undefined) return decide(EMPTY, settings, rules);
    const decision = record(record(first)["result"]);
    const unknown = Object.keys(decision).find((member) => !MEMBERS.has(member));
    if (unknown !== undefined) return faultDecision("obligation_unsupported", JSON.stringify(cut(unknown)));
    return decide(
      {
        allow: readAllow(decision["allow"]),
        deny: given(decision["deny"]).map(readDeny),
        hold: given(decision["hold"]).map(readHold),
        mask: given(decision["mask"]).map(readMask),
        credential: Object.values(record(decision["credential"] ?? {})).map(string),
        observedDeny: given(decision["observed_deny"]).map(readDeny),
        observedHold: given(decision["observed_hold"]).map(readHold),
        protocol: readProtocol(decision["protocol"]),
      },
      settings,
      rules,
    );
  } catch (fault) {
    if (fault instanceof Unreadable || fault instanceof SyntaxError)
      return faultDecision("policy_error", fault.message);
    throw fault;
  }
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

interface Contributions {
  readonly allow: readonly string[];
  readonly deny: readonly DenyRule[];
  readonly hold: readonly HoldRule[];
  readonly mask: readonly MaskRule[];
  readonly credential: readonly string[];
  readonly observedDeny: readonly DenyRule[];
  readonly observedHold: readonly HoldRule[];
  readonly protocol: Protocol | null;
}

const EMPTY: Contributions = {
  allow: [],
  deny: [],
  hold: [],
  mask: [],
  credential: [],
  observedDeny: [],
  observedHold: [],
  protocol: null,
};

function ours(code: DenialCode): DenyRule {
  const { message, advice } = DENIALS[code];
  return { policy: "sidegate", code, message, advice, quiet: false, always: false };
}

function decide(from: Contributions, settings: Settings, rules: readonly RuleLocation[]): Decision {
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

function readProtocol(value: unknown): Protocol | null {
  return PROTOCOL_NAMES.has(value) ? (value as Protocol) : null;
}

/** `allow`: the names of the policies that allowed; a module written by hand may say true. */
function readAllow(value: unknown): string[] {
  if (value === true) return ["decision"];
  if (value === false) return [];
  return list(value).map(string);
}

/** What the rule gave: a code and a message, or any text. */
function readDeny({ policy, rule }: Given): DenyRule {
  if (typeof rule !== "object" || rule === null || Array.isArray(rule))
    return { ...ours("denied"), policy, message: cut(typeof rule === "string" ? rule : JSON.stringify(rule)) };
  const { code, message, advice, quiet, always } = rule as Record<string, unknown>;
  return {
    policy,
    code: typeof code === "string" && code !== "" ? cut(code) : "denied",
    message: typeof message === "string" ? cut(message) : DENIALS.denied.message,
    advice: typeof advice === "string" ? cut(advice) : DENIALS.denied.advice,
    quiet: quiet === true,
    always: always === true,
  };
}

function readHold(given: Given): HoldRule {
  const rule = record(given.rule);
  const shape = rule["shape"] ?? "exact";
  if (shape !== "exact" && shape !== "template") throw new Unreadable("a hold's shape is neither exact nor template");
  const ttlMs = rule["ttl"] === undefined ? DEFAULT_HOLD_MS : readDuration(rule["ttl"]);
  return {
    policy: given.policy,
    reason: typeof rule["reason"] === "string" ? cut(rule["reason"]) : "",
    approvers: rule["approvers"] === undefined ? [] : list(rule["approvers"]).map(string),
    ttlMs,
    shape,
  };
}

/** "90s", "15m", "2h". */
function readDuration(value: unknown): number {
  const match = typeof value === "string" ? /^([1-9][0-9]{0,6})(s|m|h)$/.exec(value) : null;
  if (match === null) throw new Unreadable(`a hold's ttl is not like "90s", "15m" or "2h"`);
  const unit = match[2] === "s" ? 1_000 : match[2] === "m" ? 60_000 : 3_600_000;
  return Math.min(Number(match[1]) * unit, MAX_HOLD_MS);
}

function readMask(given: Given): MaskRule {
  const rule = record(given.rule);
  return Object.freeze({ selector: string(rule["selector"]), with: string(rule["with"]) });
}

/** Never cut without saying so, and never inside a surrogate pair. */
function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT).toWellFormed()} … (${text.length} characters)`;
}

interface Given {
  readonly policy: string;
  readonly rule: unknown;
}

/** `{"policy": [what its rule gave, …], …}` */
function given(value: unknown): Given[] {
  if (value === undefined) return [];
  return Object.entries(record(value)).flatMap(([policy, rules]) => list(rules).map((rule) => ({ policy, rule })));
}

function list(value: unknown): unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Unreadable("a member of the decision is no set");
  return value as unknown[];
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Unreadable("a member of the decision is no object");
  return value as Record<string, unknown>;
}

function string(value: unknown): string {
  if (typeof value !== "string") throw new Unreadable("a member of the decision is no text");
  return value;
}
