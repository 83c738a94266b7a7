/**
 * Reads EgressTargets out of a YAML file and checks them against the schema; messages name file, line and field.
 * Beyond the schema: a wildcard never together with a credential, because who owns a sub-domain is not known.
 */
import { type Static } from "typebox";
import { Compile } from "typebox/compile";
import { EgressTarget, type Target } from "#contract/target.ts";
import { targetCredentialProblems } from "#contract/target-credential.ts";
import type { Problem } from "./problem.ts";
import type { SourceFile } from "./sources.ts";
import { type ParsedDocument, parseYamlDocuments } from "./yaml-text.ts";

const checker = Compile(EgressTarget);

export function readTargetDocuments(
  file: SourceFile,
  problems: Problem[],
): { readonly target: Target; readonly line: number }[] {
  const targets: { target: Target; line: number }[] = [];
  for (const document of parseYamlDocuments(file, problems)) {
    const { value } = document;
    if (typeof value !== "object" || value === null || !("kind" in value) || value.kind !== "EgressTarget") continue;
    const before = problems.length;
    for (const { at, message } of errorsOf(value))
      problems.push({
        file: file.name,
        line: document.lineOf(at),
        message: `${at.join(".") || "EgressTarget"}: ${message}`,
      });
    if (problems.length > before) continue;
    const { metadata, spec } = value as Static<typeof EgressTarget>;
    checkSpec(file, document, spec, problems);
    // Where a credential comes from is the controller's affair, or that of `credentials.yaml`: no bundle says it.
    const { credentialFrom: _from, ...told } = spec;
    if (problems.length === before)
      targets.push({ target: { name: metadata.name, ...told }, line: document.lineOf(["metadata", "name"]) });
  }
  return targets;
}

function errorsOf(value: unknown): { at: (string | number)[]; message: string }[] {
  const found = new Map<string, { at: (string | number)[]; message: string }>();
  for (const error of checker.Errors(value)) {
    const at = error.instancePath
      .split("/")
      .slice(1)
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
      .map((part) => (/^[0-9]+$/.test(part) ? Number(part) : part));
    const message =
      error.keyword === "boolean"
        ? "is not a field of an EgressTarget"
        : error.keyword === "additionalProperties"
          ? null
          : error.keyword === "enum"
            ? `must be one of ${error.params.allowedValues.join(", ")}`
            : error.message;
    // The first message of a field says it; "additionalProperties" repeats what "boolean" said at the field itself.
    if (message !== null && !found.has(error.instancePath)) found.set(error.instancePath, { at, message });
  }
  return [...found.values()];
}

function checkSpec(
  file: SourceFile,
  document: ParsedDocument,
  spec: Static<typeof EgressTarget>["spec"],
  problems: Problem[],
): void {
  for (const { field, message } of targetCredentialProblems(spec)) {
    const at = field.split(".").map((part) => (/^[0-9]+$/.test(part) ? Number(part) : part));
    problems.push({ file: file.name, line: document.lineOf(at), message: `${field}: ${message}` });
  }
}
