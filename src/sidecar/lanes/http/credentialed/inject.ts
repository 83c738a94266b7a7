/**
 * Puts a credential into a request's head, at the last moment before it is written: in its own field or query parameter, in place of
 * whatever stood there. What could carry the value back in pieces or unread is taken out as well: an answer that is compressed,
 * or only a range of one, could not be looked through for it.
 */

import type { Credential } from "#contract/credential.ts";
import { assertNever } from "#core/assert-never.ts";

/** Lower case. The answer must come whole and as it is. */
const REPLACED = new Set(["accept-encoding", "range", "if-range"]);

/** `text`: a head as it would be passed on, with its empty line. */
export function withCredential(text: string, credential: Credential): string {
  const field = fieldOf(credential);
  const lines = text.slice(0, -4).split("\r\n");
  const [first = "", ...fields] = lines;
  const name = field?.[0].toLowerCase();
  const kept = fields.filter((line) => {
    const other = line.slice(0, line.indexOf(":")).toLowerCase();
    return other !== name && !REPLACED.has(other);
  });
  if (field !== null) kept.push(`${field[0]}: ${field[1]}`);
  kept.push("Accept-Encoding: identity");
  const line = credential.kind === "query" ? withParameter(first, credential) : first;
  return `${line}\r\n${kept.join("\r\n")}\r\n\r\n`;
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
export function basicOf(credential: Credential): string {
  return Buffer.from(`${credential.user ?? ""}:${credential.reveal()}`).toString("base64");
}

/** `line`: method, target, version. Every parameter of that name goes, and ours comes last. */
function withParameter(line: string, credential: Credential): string {
  const from = line.indexOf(" ") + 1;
  const to = line.lastIndexOf(" ");
  const target = line.slice(from, to);
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const name = credential.field ?? "";
  const others =
    at < 0
      ? []
      : target
          .slice(at + 1)
          .split("&")
          .filter((part) => part !== "" && nameOf(part) !== name);
  others.push(`${name}=${encodeURIComponent(credential.reveal())}`);
  return `${line.slice(0, from)}${path}?${others.join("&")}${line.slice(to)}`;
}

function nameOf(part: string): string {
  const written = part.split("=", 1)[0] ?? "";
  try {
    return decodeURIComponent(written.replaceAll("+", " "));
  } catch {
    return written;
  }
}
