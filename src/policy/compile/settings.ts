/** Reads `sidegate.yaml` of a policy folder: mode for all or for one policy, how much a denial tells, which policies are the cluster's. */
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Settings } from "#contract/policy-port.ts";
import type { Problem } from "./problem.ts";
import type { PolicyOptions, SourceFile } from "./sources.ts";
import { parseYamlDocuments } from "./yaml-text.ts";

const Mode = Type.Enum(["enforce", "observe"]);
/** The file, as editors check it. */
export const FolderSettings = Type.Object(
  {
    mode: Type.Optional(Mode),
    denial: Type.Optional(
      Type.Object({ detail: Type.Optional(Type.Enum(["full", "code"])) }, { additionalProperties: false }),
    ),
    credentials: Type.Optional(
      Type.Object({ foreign: Type.Optional(Type.Enum(["warn", "strip", "deny"])) }, { additionalProperties: false }),
    ),
    library: Type.Optional(Type.Array(Type.String())),
    policies: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          { mode: Type.Optional(Mode), scope: Type.Optional(Type.Enum(["namespace", "cluster"])) },
          { additionalProperties: false },
        ),
      ),
    ),
  },
  { additionalProperties: false },
);
const checker = Compile(FolderSettings);

export interface ReadSettings {
  readonly settings: Settings;
  readonly policies: ReadonlyMap<string, Partial<PolicyOptions>>;
  /** Which policies of the library are wanted; null: all. */
  readonly library: readonly string[] | null;
}

export const NO_SETTINGS: ReadSettings = {
  settings: { mode: "enforce", denialDetail: "full" },
  policies: new Map(),
  library: null,
};

export function readSettings(file: SourceFile, problems: Problem[]): ReadSettings {
  const [document] = parseYamlDocuments(file, problems);
  if (document === undefined) return NO_SETTINGS;
  const { value } = document;
  if (!checker.Check(value)) {
    for (const error of checker.Errors(value)) {
      if (error.keyword === "additionalProperties") continue;
      const at = error.instancePath.split("/").slice(1);
      const message = error.keyword === "boolean" ? "is not a setting" : error.message;
      problems.push({
        file: file.name,
        line: document.lineOf(at),
        message: `${at.join(".") || "sidegate.yaml"}: ${message}`,
      });
    }
    return NO_SETTINGS;
  }
  return {
    settings: {
      mode: value.mode ?? "enforce",
      denialDetail: value.denial?.detail ?? "full",
      ...(value.credentials?.foreign === undefined ? {} : { foreign: value.credentials.foreign }),
    },
    library: value.library ?? null,
    policies: new Map(
      Object.entries(value.policies ?? {}).map(([name, { mode, scope }]) => [
        name,
        { ...(mode === undefined ? {} : { mode }), ...(scope === undefined ? {} : { scope }) },
      ]),
    ),
  };
}
