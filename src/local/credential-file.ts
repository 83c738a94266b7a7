/**
 * Reads `credentials.yaml` of a `sidegate run`: for each credential what it is, and where its secret comes from. A value never stands
 * in it, so the file may lie in a repository.
 *
 * Errs towards a problem: whatever is not understood stops the run before the command starts.
 */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { CREDENTIAL_NAME } from "#contract/credential.ts";
import type { Problem } from "#policy/compile/problem.ts";
import type { SourceFile } from "#policy/compile/sources.ts";
import { parseYamlDocuments } from "#policy/compile/yaml-text.ts";

const strict = { additionalProperties: false } as const;
const text = Type.String({ minLength: 1, maxLength: 1_024 });

/** Where a secret's value comes from; exactly one of them. */
const From = Type.Union([
  Type.Object({ env: Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]*$" }) }, strict),
  Type.Object({ file: text }, strict),
  Type.Object({ command: Type.Array(text, { minItems: 1, maxItems: 64 }) }, strict),
]);
export type SecretOrigin = Static<typeof From>;

const common = {
  from: From,
  /** The agent's variable that gets the placeholder; default: the one that held the secret. */
  placeholder: Type.Optional(Type.Object({ env: Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]*$" }) }, strict)),
};

const Entry = Type.Union([
  Type.Object({ kind: Type.Literal("bearer"), ...common }, strict),
  Type.Object({ kind: Type.Literal("header"), header: text, prefix: Type.Optional(text), ...common }, strict),
  Type.Object({ kind: Type.Literal("basic"), user: text, ...common }, strict),
  Type.Object({ kind: Type.Literal("query"), parameter: text, ...common }, strict),
  Type.Object(
    { kind: Type.Literal("password"), user: Type.Optional(text), database: Type.Optional(text), ...common },
    strict,
  ),
  Type.Object(
    {
      kind: Type.Literal("oauth2ClientCredentials"),
      tokenUrl: Type.String({ pattern: "^https://", maxLength: 1_024 }),
      clientId: text,
      scope: Type.Optional(text),
      audience: Type.Optional(text),
      auth: Type.Optional(Type.Enum(["basic", "body"])),
      ca: Type.Optional(text),
      ...common,
    },
    strict,
  ),
  Type.Object({ kind: Type.Literal("clientCertificate"), certificate: text, ...common }, strict),
]);
export type CredentialEntry = Static<typeof Entry>;

const checkKinds = new Map(
  Entry.anyOf.map((schema) => [schema.properties.kind.const as string, Compile(schema)] as const),
);

/** Names to entries; `problems` gets what is wrong, by file and line. */
export function readCredentialFile(file: SourceFile, problems: Problem[]): ReadonlyMap<string, CredentialEntry> {
  const entries = new Map<string, CredentialEntry>();
  for (const document of parseYamlDocuments(file, problems)) {
    const say = (at: readonly (string | number)[], message: string): void =>
      void problems.push({ file: file.name, line: document.lineOf(at), message: `${at.join(".")}: ${message}` });
    const root = document.value;
    const listed = isRecord(root) ? root["credentials"] : undefined;
    if (!isRecord(root) || !isRecord(listed) || Object.keys(root).length !== 1) {
      say([], "one member `credentials`, from names to what they are");
      continue;
    }
    for (const [name, value] of Object.entries(listed)) {
      const at = ["credentials", name];
      const kind = isRecord(value) ? value["kind"] : undefined;
      const checker = typeof kind === "string" ? checkKinds.get(kind) : undefined;
      if (!CREDENTIAL_NAME.test(name)) say(at, "a name has lower-case letters, digits, dots and dashes");
      else if (checker === undefined) say([...at, "kind"], `one of ${[...checkKinds.keys()].join(", ")}`);
      else if (checker.Check(value)) entries.set(name, value as CredentialEntry);
      else {
        const wrong = checker.Errors(value)[0];
        const where = (wrong?.instancePath ?? "").split("/").slice(1);
        say([...at, ...where], wrong?.keyword === "boolean" ? "is not known here" : (wrong?.message ?? "is wrong"));
      }
    }
  }
  return entries;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
