/**
 * Puts a credential into a request's head, at the last moment before it is written: in its own field or query parameter, in place of
 * whatever stood there; every placeholder goes. What could carry the value back in pieces or unread is taken out as well: an answer
 * that is compressed, or only a range of one, could not be looked through for it.
 */
import { type Credential, placeholderOf } from "#contract/credential.ts";
import { assertNever } from "#core/assert-never.ts";
import { isAuthenticatorName, isAuthenticatorParameter } from "#mask/authenticators.ts";
import { holdsKey } from "#mask/detectors.ts";
import { hasPlaceholder, parametersOf } from "./brought.ts";

/** Lower case. The answer must come whole and as it is. */
const REPLACED = new Set(["accept-encoding", "range", "if-range"]);

/** `text`: a head as it would be passed on, with its empty line. */
export function withCredential(text: string, credential: Credential): string {
  const own = fieldOf(credential);
  const name = own?.[0].toLowerCase();
  const head = rewritten(text, {
    field: (field, value) => field !== name && !REPLACED.has(field) && !hasPlaceholder(value),
    parameter: (parameter, value) =>
      value !== placeholderOf(credential.name) && !(credential.kind === "query" && parameter === credential.field),
  });
  if (own !== null) head.fields.push(`${own[0]}: ${own[1]}`);
  head.fields.push("Accept-Encoding: identity");
  if (credential.kind === "query")
    head.parameters.push(`${credential.field ?? ""}=${encodeURIComponent(credential.reveal())}`);
  return textOf(head);
}

/** Without what the agent brought along to authenticate itself. */
export function stripped(text: string): string {
  return textOf(
    rewritten(text, {
      field: (field, value) => !isAuthenticatorName(field) && !holdsKey(value),
      parameter: (parameter, value) => !isAuthenticatorParameter(parameter, value) && !holdsKey(value),
    }),
  );
}

/** Which fields (lower case) and parameters (decoded) stay. */
interface Kept {
  readonly field: (name: string, value: string) => boolean;
  readonly parameter: (name: string, value: string) => boolean;
}

interface Parts {
  readonly method: string;
  readonly path: string;
  readonly parameters: string[];
  readonly version: string;
  readonly fields: string[];
}

function rewritten(text: string, kept: Kept): Parts {
  const [line = "", ...fields] = text.slice(0, -4).split("\r\n");
  const [method = "", target = "", version = ""] = line.split(" ");
  const at = target.indexOf("?");
  return {
    method,
    path: at < 0 ? target : target.slice(0, at),
    parameters: at < 0 ? [] : parametersKept(target.slice(at + 1), kept),
    version,
    fields: fields.filter((field) => {
      const colon = field.indexOf(":");
      return kept.field(field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim());
    }),
  };
}

/** At ampersands only, where nothing is taken out: what stays is as it was written. */
function parametersKept(query: string, kept: Kept): string[] {
  return query.split("&").filter((part) => parametersOf(part).every(([name, value]) => kept.parameter(name, value)));
}

function textOf({ method, path, parameters, version, fields }: Parts): string {
  const query = parameters.length === 0 ? "" : `?${parameters.join("&")}`;
  const lines = fields.length === 0 ? "" : `${fields.join("\r\n")}\r\n`;
  return `${method} ${path}${query} ${version}\r\n${lines}\r\n`;
}

/** The field that carries it; null: none does. */
function fieldOf(credential: Credential): readonly [string, string] | null {
  switch (credential.kind) {
    case "header":
      return [credential.field ?? "", `${credential.prefix ?? ""}${credential.reveal()}`];
    case "bearer":
    case "oauth2ClientCredentials":
      return ["Authorization", `Bearer ${credential.reveal()}`];
    case "basic":
      return ["Authorization", `Basic ${basicOf(credential)}`];
    case "query":
    case "clientCertificate":
      return null;
    case "password":
      throw new Error("a password is not for HTTP");
    default:
      return assertNever(credential.kind);
  }
}

/** RFC 7617 section 2, with UTF-8. */
function basicOf(credential: Credential): string {
  return Buffer.from(`${credential.user ?? ""}:${credential.reveal()}`).toString("base64");
}

/** What an answer could show of it, as the wire has it. */
export function echoesOf(credential: Credential): readonly string[] {
  switch (credential.kind) {
    case "basic":
      return [credential.reveal(), basicOf(credential)];
    // The key never leaves: what goes over the wire is a signature.
    case "clientCertificate":
      return [];
    case "header":
    case "bearer":
    case "query":
    case "oauth2ClientCredentials":
    case "password":
      return [credential.reveal()];
    default:
      return assertNever(credential.kind);
  }
}
