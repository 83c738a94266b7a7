/**
 * One value of a log line as JSON: bounded, on one line, and without what looks like a secret.
 *
 * Errs towards leaving out. It is the second lock: nobody gives a secret to the log in the first place, but messages of errors
 * quote what they stumbled over.
 */
export type FieldValue = string | number | boolean | bigint | null | undefined | readonly string[] | Error;

const MAX_TEXT = 2_000;
const MAX_ITEMS = 50;

const SECRET_NAME = /(authorization|cookie|credential|password|passwd|private_?key|secret|token|api_?key)s?$/i;

// A PEM private key, `Bearer …` and its like, a JWT, user:password in a URL, key=value pairs named as a secret.
const SECRET_VALUES: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, "[private key]"],
  [/\b(Bearer|Basic|Negotiate|Digest)\s+[A-Za-z0-9+/=._~-]{8,}/gi, "$1 [redacted]"],
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g, "[token]"],
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]{1,256}@/gi, "$1[redacted]@"],
  [
    /\b((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)["']?\s*[=:]\s*["']?)[^\s"'&,;]{3,}/gi,
    "$1[redacted]",
  ],
];

export function fieldText(name: string, value: FieldValue): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "null";
  if (SECRET_NAME.test(name)) return '"[redacted]"';
  if (typeof value === "string") return line(value);
  if (value instanceof Error) return line(errorText(value));
  const items = value.slice(0, MAX_ITEMS).map(line);
  if (value.length > MAX_ITEMS) items.push(line(`and ${value.length - MAX_ITEMS} more`));
  return `[${items.join(",")}]`;
}

/** Removes what looks like a secret. Cut first, so that no text makes the patterns slow. */
export function withoutSecrets(text: string): string {
  const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;
  return SECRET_VALUES.reduce((clean, [pattern, by]) => clean.replace(pattern, by), cut);
}

/** Name, code and message; causes behind it. A stack only for bugs, which have no code. */
function errorText(error: Error, depth = 0): string {
  const code = "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  const where = code === "" && depth === 0 ? stackLine(error) : "";
  const cause = error.cause instanceof Error && depth < 3 ? `; because ${errorText(error.cause, depth + 1)}` : "";
  return `${error.name}${code}: ${error.message}${where}${cause}`;
}

function stackLine(error: Error): string {
  const frame = error.stack?.split("\n").find((part) => part.trimStart().startsWith("at "));
  return frame === undefined ? "" : ` (${frame.trim()})`;
}

/** JSON.stringify escapes control characters below 0x20 and lone surrogates; these would still steer a terminal or split a line. */
// oxlint-disable-next-line no-control-regex, no-misleading-character-class -- these characters are what it looks for
const UNSAFE = /[\u007f-\u009f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** A text as JSON on one line. */
export function line(text: string): string {
  return JSON.stringify(withoutSecrets(text)).replace(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
