/** Policies as texts in a test → a compiled, signed, loaded bundle. Uses the pinned `opa`, which is built with Go where there is none. */
import os from "node:os";
import path from "node:path";
import type { LoadedPolicy, Settings } from "#contract/policy-port.ts";
import type { Target } from "#contract/target.ts";
import { assembleBundle, type BundleParts, makeRunKey } from "#policy/assemble.ts";
import { type BundleTrust, type OpenBundle, openBundle } from "#policy/bundle.ts";
import { type Compiled, type CompileResult, compilePolicies } from "#policy/compile/compile.ts";
import { findOpa } from "#policy/compile/find-opa.ts";
import type { PolicyOptions, PolicySources } from "#policy/compile/sources.ts";
import { type LoadOptions, loadPolicy } from "#policy/loaded.ts";

/** Time for a first run on a machine that has to build `opa`. */
export const OPA_TIMEOUT_MS = 20 * 60_000;

let found: Promise<string> | null = null;

export function opaForTests(): Promise<string> {
  const { env } = process;
  found ??= findOpa({
    given: env["SIDEGATE_OPA"],
    path: env["PATH"],
    cacheDir: path.join(env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "sidegate"),
    toolsDir: path.resolve(import.meta.dirname, "../../tools/opa"),
    env,
    platform: process.platform,
    arch: process.arch,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  return found;
}

export interface Texts {
  /** Policy name → the module's body, without its package line. */
  readonly policies: Readonly<Record<string, string>>;
  /** File name → whole text of a test module. */
  readonly tests?: Readonly<Record<string, string>>;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly targets?: readonly Target[];
  readonly settings?: Partial<Settings>;
  readonly options?: Readonly<Record<string, PolicyOptions>>;
}

export function sourcesOf(texts: Texts): PolicySources {
  return {
    modules: Object.entries(texts.policies).map(([name, body]) => ({
      name: `${name}.rego`,
      text: body.startsWith("package ") ? body : `package sidegate.policy.${name}\n\n${body}\n`,
    })),
    tests: Object.entries(texts.tests ?? {}).map(([name, text]) => ({ name, text })),
    data: new Map(Object.entries(texts.data ?? {})),
    targets: texts.targets ?? [],
    settings: { mode: "enforce", denialDetail: "full", ...texts.settings },
    options: new Map(Object.entries(texts.options ?? {})),
  };
}

export async function tryCompile(texts: Texts): Promise<CompileResult> {
  return compilePolicies(sourcesOf(texts), { opa: await opaForTests(), tmp: os.tmpdir() });
}

/** Fails the test with the problems, where there are any. */
export async function compileTexts(texts: Texts): Promise<Compiled> {
  const result = await tryCompile(texts);
  if (result.kind === "problems")
    throw new Error(result.problems.map((p) => `${p.file}:${p.line}: ${p.message}`).join("\n"));
  return result;
}

const KEY = makeRunKey("test");
export const TEST_TRUST: BundleTrust = { keys: [KEY.trusted], scope: "test" };

export function pack(parts: BundleParts, sequence = 1, scope = "test"): Uint8Array {
  return assembleBundle(parts, { scope, sequence, notAfterMs: null }, KEY.signing).archive;
}

export function opened(parts: BundleParts, sequence = 1): OpenBundle {
  const bundle = openBundle(pack(parts, sequence), TEST_TRUST, null, 0);
  if (bundle.kind === "refused") throw new Error(`${bundle.code}: ${bundle.message}`);
  return bundle;
}

export function loaded(parts: BundleParts, options: Partial<LoadOptions> = {}): LoadedPolicy {
  const policy = loadPolicy(opened(parts), { pod: {}, warmUps: 0, ...options });
  if ("kind" in policy) throw new Error(`${policy.code}: ${policy.message}`);
  return policy;
}

const OPERATION = {
  v: 1,
  protocol: "http",
  action: "read",
  complete: true,
  target: { name: "billing", host: "billing.test", port: 443, labels: {} },
  run: null,
  http: {
    method: "GET",
    scheme: "https",
    host: "billing.test",
    path: "/v1/invoices/7",
    segments: ["v1", "invoices", "7"],
    query: {},
    headers: {},
    contentType: null,
    contentLength: null,
    truncated: false,
  },
};

/** An operation's JSON members, without braces. `http` is merged, everything else replaced; undefined takes a member away. */
export function operation(change: Readonly<Record<string, unknown>> = {}): string {
  const { http, ...rest } = change;
  const merged = { ...OPERATION, ...rest, http: { ...OPERATION.http, ...(http as object | undefined) } };
  return JSON.stringify(merged).slice(1, -1);
}
