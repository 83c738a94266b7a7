/**
 * The texts that a bundle is made from, wherever they come from: a folder on a laptop, resources in a cluster.
 */
import type { Settings } from "#contract/policy-port.ts";
import type { Target } from "#contract/target.ts";

export interface SourceFile {
  /** Relative path with forward slashes; unique, and what messages say. */
  readonly name: string;
  readonly text: string;
}

export interface PolicyOptions {
  readonly mode: Settings["mode"];
  /** A cluster's policy may allow what no other may (`allow_credential_action`). */
  readonly scope: "namespace" | "cluster";
}

export interface PolicySources {
  /** One Rego module a policy, package `sidegate.policy.<name>`. */
  readonly modules: readonly SourceFile[];
  readonly tests: readonly SourceFile[];
  /** Policy name → its own data (`data.sidegate.data.<name>`). */
  readonly data: ReadonlyMap<string, unknown>;
  readonly targets: readonly Target[];
  readonly settings: Settings;
  readonly options: ReadonlyMap<string, PolicyOptions>;
}

export const DEFAULT_OPTIONS: PolicyOptions = { mode: "enforce", scope: "namespace" };

/** What a policy, its data and its file may be called. */
export const POLICY_NAME = /^[a-z][a-z0-9_-]{0,62}$/;

/** A relative path of plain names: none begins with a dot or a dash, so none climbs and none is read as an option. */
export const FILE_PATH = /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;
