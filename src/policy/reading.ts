/**
 * Reads what `data.sidegate.decision` gave: JSON of the policies' own making, so nothing about its shape is taken for granted.
 *
 * Errs towards denial: no result, a member that nobody knows, a shape that cannot be read are denials.
 */
import { CAPABILITIES } from "#contract/capabilities.ts";
import type { Decision, HoldRule, MaskRule } from "#contract/decision.ts";
import { DENIALS } from "#contract/denial.ts";
import type { Protocol } from "#contract/operation.ts";
import type { Settings } from "#contract/policy-port.ts";
import type { RuleLocation } from "./manifest.ts";
import { type DenyRule, decide, EMPTY, faultDecision, ours } from "./outcome.ts";

/** A person has so long, unless the policy says otherwise. */
const DEFAULT_HOLD_MS = 15 * 60_000;
const MAX_HOLD_MS = 24 * 3_600_000;
/** Of one text that a policy makes out of an operation; more is cut, and says so. */
const MAX_TEXT = 1_000;
const PROTOCOL_NAMES = new Set<unknown>(CAPABILITIES.map((capability) => capability.protocol));

/** What a decision may have. What is not here could be an obligation that we do not know. */
const MEMBERS = new Set(["protocol", "allow", "deny", "hold", "mask", "credential", "observed_deny", "observed_hold"]);

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
