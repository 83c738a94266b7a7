/**
 * Settings of a session. Those that decide how the server reads a text, or whether it writes at all (THREATS Q2, Q4), are pinned in the
 * startup message, which outranks `ALTER ROLE … SET` and `options`; a statement that would change one is refused, and a session in which one
 * changed all the same is ended: from then on our reading and the server's are two different things.
 */
import { fromUtf8 } from "./codec/text.ts";
import type { SessionEffect, Statement } from "./sql/reading.ts";
import { isOn, isUtf8, settingStatement } from "./sql/settings.ts";

interface Pinned {
  readonly value: string;
  /** Whether a value means the pinned one. */
  readonly same: (value: string) => boolean;
}

const PINNED: ReadonlyMap<string, Pinned> = new Map([
  ["client_encoding", { value: "UTF8", same: isUtf8 }],
  ["standard_conforming_strings", { value: "on", same: isOn }],
  ["backslash_quote", { value: "safe_encoding", same: (value) => value.toLowerCase() === "safe_encoding" }],
]);

/** Pinned to `on` where the target is read-only. */
const READ_ONLY = "default_transaction_read_only";
const READ_ONLY_NAMES = new Set([READ_ONLY, "transaction_read_only"]);

export interface Identity {
  readonly user: string;
  readonly database: string;
}

export type Parameters =
  | {
      readonly kind: "parameters";
      readonly parameters: readonly (readonly [string, string])[];
      /** Those of them that a policy is to be asked about. */
      readonly judged: readonly (readonly [string, string])[];
    }
  | { readonly kind: "refused"; readonly code: RefusedCode; readonly why: string };

type RefusedCode = "method_unsupported" | "setting_pinned" | "read_only_target";

/** As PostgreSQL's own names and those of extensions and applications are (valid_custom_variable_name). */
const NAME = /^[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)*$/;
const MAX_NAME = 63;
/** A decision each, in one turn of the event loop. */
const MAX_JUDGED = 16;

/** What the agent's startup message asks to be called. Null: it names no user. */
export function identityOf(parameters: readonly (readonly [string, string])[]): Identity | null {
  let user = "";
  let database = "";
  for (const [name, value] of parameters) {
    if (name === "user") user = value;
    else if (name === "database") database = value;
  }
  return user === "" ? null : { user, database: database === "" ? user : database };
}

/**
 * The parameters that go on: the upstream's identity, what the agent asked for, and what we pin. What changes how a text is read is
 * refused; what is not known to be harmless is judged as the SET that it amounts to. Bytes as latin1.
 */
export function upstreamParameters(
  asked: readonly (readonly [string, string])[],
  identity: Identity,
  readOnly: boolean,
): Parameters {
  const parameters: (readonly [string, string])[] = [
    ["user", identity.user],
    ["database", identity.database],
  ];
  const judged: (readonly [string, string])[] = [];
  const refuse = (why: string, code: RefusedCode = "method_unsupported"): Parameters => ({
    kind: "refused",
    code,
    why,
  });
  for (const [name, value] of asked) {
    const key = name.toLowerCase();
    if (key === "user" || key === "database" || name.startsWith("_pq_.")) continue;
    if (key === "replication") {
      if (!/^(?:false|fals|fal|fa|f|off|of|no|n|0)$/i.test(value)) return refuse("replication is not carried");
      continue;
    }
    const settings = key === "options" ? readOptions(value) : [[name, value] as const];
    if (settings === null) return refuse("startup options are understood as -c name=value only");
    for (const setting of settings) {
      const what = placeOf(setting, readOnly);
      if (typeof what !== "string") return what;
      if (what === "pinned") continue;
      parameters.push(setting);
      if (what === "judged") judged.push(setting);
      if (judged.length > MAX_JUDGED) return refuse(`more than ${MAX_JUDGED} settings would have to be judged`);
    }
  }
  for (const [name, { value }] of PINNED) parameters.push([name, value]);
  if (readOnly) parameters.push([READ_ONLY, "on"]);
  return { kind: "parameters", parameters, judged };
}

type Place = "pinned" | "harmless" | "judged" | (Parameters & { readonly kind: "refused" });

function placeOf([name, value]: readonly [string, string], readOnly: boolean): Place {
  const key = name.toLowerCase();
  if (name.length > MAX_NAME || !NAME.test(name))
    return {
      kind: "refused",
      code: "method_unsupported",
      why: `${JSON.stringify(name)} is not the name of a setting`,
    };
  const pinned = PINNED.get(key);
  if (pinned !== undefined) {
    // SQL_ASCII asks for bytes as they are; those of a UTF-8 database are what UTF8 gives.
    if (pinned.same(value) || (key === "client_encoding" && /^'?sql_?ascii'?$/i.test(value))) return "pinned";
    return { kind: "refused", code: "setting_pinned", why: `${key} is pinned to ${pinned.value}` };
  }
  if (readOnly && READ_ONLY_NAMES.has(key))
    return isOn(value) ? "pinned" : { kind: "refused", code: "read_only_target", why: "this target is read-only" };
  const { complete, action } = settingStatement(name, fromUtf8(value) ?? value);
  return complete && action === "read" ? "harmless" : "judged";
}

/**
 * `options` of a startup message: words separated by spaces, a backslash takes the next character as it is (manual: libpq, options);
 * `-c name=value` or `--name=value`. Null: something else.
 */
export function readOptions(text: string): (readonly [string, string])[] | null {
  const words = splitOptions(text);
  const options: (readonly [string, string])[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    let assignment: string;
    if (word === "-c") assignment = words[++i] ?? "";
    else if (word.startsWith("-c")) assignment = word.slice(2);
    else if (word.startsWith("--")) assignment = word.slice(2).replace(/^[^=]*/, (name) => name.replaceAll("-", "_"));
    else return null;
    const at = assignment.indexOf("=");
    if (at < 1) return null;
    options.push([assignment.slice(0, at), assignment.slice(at + 1)]);
  }
  return options;
}

function splitOptions(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? "";
    if (/[ \t\n\v\f\r]/.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + (c === "\\" ? (text[++i] ?? "") : c);
  }
  if (word !== null) words.push(word);
  return words;
}

/** What the server reports of a setting: null, or why the session cannot go on. Bytes as latin1. */
export function reported(name: string, value: string, readOnly: boolean): string | null {
  const key = name.toLowerCase();
  const pinned = PINNED.get(key);
  if (pinned !== undefined && !pinned.same(value)) return `${key} became ${value}`;
  if (readOnly && key === READ_ONLY && !isOn(value)) return `${key} became ${value}`;
  return null;
}

/** Why a statement may not run in this session whatever a policy says; null: it may. */
export function objection(statement: Statement, readOnly: boolean): SettingObjection | null {
  for (const effect of statement.effects) {
    const found = objectionTo(effect, statement.complete, readOnly);
    if (found !== null) return found;
  }
  return null;
}

export interface SettingObjection {
  readonly code: "setting_pinned" | "read_only_target";
  readonly why: string;
}

function objectionTo(effect: SessionEffect, complete: boolean, readOnly: boolean): SettingObjection | null {
  if (effect.kind === "begin" && effect.readWrite === true && readOnly)
    return { code: "read_only_target", why: "READ WRITE" };
  if (effect.kind !== "set") return null;
  const key = effect.name.toLowerCase();
  const pinned = PINNED.get(key);
  if (pinned !== undefined) {
    // A value that is not shown, or the one that was given at the start: RESET and DEFAULT go back to what is pinned.
    const stays = effect.value === null ? complete : pinned.same(effect.value);
    return stays ? null : { code: "setting_pinned", why: key };
  }
  if (readOnly && READ_ONLY_NAMES.has(key) && !(effect.value === null ? complete : isOn(effect.value)))
    return { code: "read_only_target", why: key };
  return null;
}
