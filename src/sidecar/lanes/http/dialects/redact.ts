/**
 * Keeps secrets out of what is judged and recorded of an HTTP request: values of fields and query parameters whose name says
 * that they are secret, and what looks like a secret wherever it stands.
 *
 * Errs towards redacting. A policy sees "[redacted]" too: it can know that a key is there, not which one.
 */
export const REDACTED = "[redacted]";

// Contained in a field's name, lower case.
const SECRET_FIELD =
  /authorization|cookie|token|secret|passw|passphrase|credential|signature|session|x-auth|api[-_]?key|access[-_]?key|auth[-_]?key|subscription-key|functions-key|private-key/;

// Whole names, or contained in a query parameter's name.
const SECRET_PARAMETER =
  /^(?:key|sig|pwd|pass|auth|sid|jwt)$|^x-(?:amz|goog)-|token|secret|passw|passphrase|credential|signature|session|authorization|assertion|api[-_]?key|access[-_]?key|private[-_]?key|awsaccesskeyid/i;

export function isSecretField(lowerName: string): boolean {
  return SECRET_FIELD.test(lowerName);
}

export function isSecretParameter(name: string): boolean {
  return SECRET_PARAMETER.test(name);
}

/** One cheap look; nearly always false. Each alternative is the beginning of a shape below. */
const SUSPECT =
  /eyJ[\w-]{8}|A[KSBC][ICE]A[A-Z0-9]{16}|gh[pousr]_\w|github_pat_|xox[abeoprs]-|sk[-_]\w|AIza|glpat-|npm_\w|-----BEGIN |bearer|basic |:\/\/[^/\s?#@]*:[^/\s?#@]*@|passw|passphrase|pwd|secret|token|api[-_]?key/i;

const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]{1,64}-----.*/gs, REDACTED],
  // RFC 7519, compact form
  [/eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?/g, REDACTED],
  [/A(?:KI|SI|BI|CC)A[A-Z0-9]{16}/g, REDACTED],
  [/(?:gh[pousr]_|github_pat_)\w{16,}/g, REDACTED],
  [/(?:xox[abeoprs]-[\w-]{8,}|sk-[\w-]{16,}|sk_live_\w{8,}|AIza[\w-]{30,}|glpat-[\w-]{16,}|npm_\w{16,})/g, REDACTED],
  // RFC 6750, RFC 7617
  [/\b(bearer|basic)(\s{1,8}|%20|\+)[\w.~+/%-]{4,}={0,2}/gi, `$1$2${REDACTED}`],
  [/(:\/\/)[^/\s?#@]{1,256}:[^/\s?#@]{0,256}@/g, `$1${REDACTED}@`],
  [
    /\b([\w.-]{0,32}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key)[\w.-]{0,32}(?:=|%3d|:\s{0,4}))[^&\s;,"']+/gi,
    `$1${REDACTED}`,
  ],
];

/** `text` without what looks like a secret; the same string where nothing does. */
export function redactText(text: string): string {
  if (!SUSPECT.test(text)) return text;
  let out = text;
  for (const [shape, by] of SHAPES) out = out.replace(shape, by);
  return out;
}
