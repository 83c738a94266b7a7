/**
 * What stands in a bundle's `.manifest`: OPA's own members, and ours under `metadata.sidegate`.
 *
 * Ours are optional: a bundle without them (from another OPA builder) counts as reading every input path, enforces, and names no
 * rules. Members of a wrong shape are an error, never ignored: they decide what is left out of the policy's input.
 */
import { FREEZE_SCOPES, type Frozen } from "#contract/freeze.ts";
import type { Settings } from "#contract/policy-port.ts";

/** Where one rule stands, for `explain` and `why`. `code`: of a denial, or a credential's name, when it is a literal. */
export interface RuleLocation {
  readonly policy: string;
  readonly rule: string;
  readonly code: string | null;
  readonly file: string;
  readonly line: number;
}

export interface PolicyEntry {
  readonly name: string;
  readonly mode: Settings["mode"];
  readonly scope: "namespace" | "cluster";
}

export interface BundleMetadata {
  /** Input paths that any rule reads, without `input.`; "" is the whole input. Null: not known, so all of them. */
  readonly reads: readonly string[] | null;
  readonly mayHold: boolean;
  readonly mayMask: boolean;
  readonly settings: Settings;
  readonly policies: readonly PolicyEntry[];
  readonly rules: readonly RuleLocation[];
}

export interface Manifest {
  readonly revision: string;
  readonly metadata: BundleMetadata;
}

/** How main and reader understand each other; another one is refused, and the last good bundle serves on. */
const FORMAT = 1;

/** The one query that every bundle answers. */
export const ENTRYPOINT = "sidegate/decision";

const UNKNOWN: BundleMetadata = {
  reads: null,
  mayHold: true,
  mayMask: true,
  settings: { mode: "enforce", denialDetail: "full" },
  policies: [],
  rules: [],
};

export function writeManifest(manifest: Manifest): string {
  return JSON.stringify({
    revision: manifest.revision,
    roots: ["sidegate"],
    wasm: [{ entrypoint: ENTRYPOINT, module: "/policy.wasm" }],
    rego_version: 1,
    metadata: { sidegate: { format: FORMAT, ...manifest.metadata } },
  });
}

/** Throws TypeError (wrong shape) or SyntaxError (no JSON). */
export function readManifest(text: string): Manifest {
  const root = object(JSON.parse(text), "manifest");
  const revision = string(root["revision"], "revision");
  if (revision === "") throw new TypeError("manifest: revision is empty");
  const metadata = root["metadata"] === undefined ? {} : object(root["metadata"], "metadata");
  const ours = metadata["sidegate"];
  return { revision, metadata: ours === undefined ? UNKNOWN : readMetadata(object(ours, "metadata.sidegate")) };
}

function readMetadata(from: Record<string, unknown>): BundleMetadata {
  if (from["format"] !== FORMAT) throw new TypeError(`manifest: format ${String(from["format"])} is not ${FORMAT}`);
  const settings = object(from["settings"], "settings");
  return {
    reads: from["reads"] === null ? null : array(from["reads"], "reads").map((path) => string(path, "reads")),
    mayHold: boolean(from["mayHold"], "mayHold"),
    mayMask: boolean(from["mayMask"], "mayMask"),
    settings: {
      mode: oneOf(settings["mode"], ["enforce", "observe"], "settings.mode"),
      ...(settings["observeUntilMs"] === undefined
        ? {}
        : { observeUntilMs: number(settings["observeUntilMs"], "settings.observeUntilMs") }),
      denialDetail: oneOf(settings["denialDetail"], ["full", "code"], "settings.denialDetail"),
      ...(settings["foreign"] === undefined
        ? {}
        : { foreign: oneOf(settings["foreign"], ["warn", "strip", "deny"], "settings.foreign") }),
      ...(settings["onFull"] === undefined
        ? {}
        : { onFull: oneOf(settings["onFull"], ["deny", "allow"], "settings.onFull") }),
      ...(settings["freeze"] === undefined
        ? {}
        : { freeze: readFreeze(object(settings["freeze"], "settings.freeze")) }),
    },
    policies: array(from["policies"], "policies").map((item) => {
      const policy = object(item, "policies");
      return {
        name: string(policy["name"], "policies.name"),
        mode: oneOf(policy["mode"], ["enforce", "observe"], "policies.mode"),
        scope: oneOf(policy["scope"], ["namespace", "cluster"], "policies.scope"),
      };
    }),
    rules: array(from["rules"], "rules").map((item) => {
      const rule = object(item, "rules");
      return {
        policy: string(rule["policy"], "rules.policy"),
        rule: string(rule["rule"], "rules.rule"),
        code: rule["code"] === null ? null : string(rule["code"], "rules.code"),
        file: string(rule["file"], "rules.file"),
        line: number(rule["line"], "rules.line"),
      };
    }),
  };
}

function readFreeze(from: Record<string, unknown>): Frozen {
  return {
    scope: oneOf(from["scope"], FREEZE_SCOPES, "settings.freeze.scope"),
    by: string(from["by"], "settings.freeze.by"),
    reason: string(from["reason"], "settings.freeze.reason"),
    since: string(from["since"], "settings.freeze.since"),
    id: string(from["id"], "settings.freeze.id"),
  };
}

function object(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`manifest: ${at} is no object`);
  return value as Record<string, unknown>;
}

function array(value: unknown, at: string): unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`manifest: ${at} is no array`);
  return value as unknown[];
}

function string(value: unknown, at: string): string {
  if (typeof value !== "string") throw new TypeError(`manifest: ${at} is no string`);
  return value;
}

function number(value: unknown, at: string): number {
  if (typeof value !== "number") throw new TypeError(`manifest: ${at} is no number`);
  return value;
}

function boolean(value: unknown, at: string): boolean {
  if (typeof value !== "boolean") throw new TypeError(`manifest: ${at} is no boolean`);
  return value;
}

function oneOf<T extends string>(value: unknown, words: readonly T[], at: string): T {
  const found = words.find((word) => word === value);
  if (found === undefined) throw new TypeError(`manifest: ${at} is none of ${words.join(", ")}`);
  return found;
}
