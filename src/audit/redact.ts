/**
 * The last line of defence before the spool: what looks like a secret does not reach the disk, even where a lane forgot to
 * redact it. Works on JSON text and keeps it JSON: a match never contains a quote or a backslash escape's half.
 *
 * Errs towards redacting. What it cannot know (a password without a name beside it) is the lane's to leave out.
 */
import { createNeedles } from "#core/needles.ts";

/**
 * One of these stands in every text that a pattern below can match. One cheap pass over every record; mostly false. Four
 * characters at least, so that the search can step by three.
 */
const mayHoldSecret = createNeedles([
  ..."bearer basic authorization cookie passw passp passphrase secret token credential signature key= sig= code=".split(
    " ",
  ),
  ..."apikey api_key api-key accesskey access_key access-key privatekey private_key private-key".split(" "),
  ..."akia asia abia acca ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ sk_live_ aiza glpat- npm_ -----begin".split(" "),
  ..."xoxa xoxb xoxe xoxo xoxp xoxr xoxs --user --proxy-user pwd= pwd: pwd\" pwd% pwd' pwd\\".split(" "),
  "pwd ",
  " -u ",
  '"-u ',
  ...Array.from("-_.abcdefghijklmnopqrstuvwxyz0123456789", (c) => [`eyj${c}`, `sk-${c}`, `pwd${c}`]).flat(),
  ...Array.from("+-.abcdefghijklmnopqrstuvwxyz0123456789", (c) => `${c}://`),
]);

/** The second look: each alternative is the beginning of a pattern below. */
const SUSPECT =
  /eyj[\w-]{8}|a[ksbc][ice]a[a-z0-9]{12}|gh[pousr]_\w{16}|github_pat_|xox[abeoprs]-|sk-[\w-]{16}|sk_live_|aiza[\w-]{20}|glpat-|npm_\w{16}|-----begin |bearer[\s%+]|basic[\s%+]|:\/\/[^/"\\\s?#:@]{0,128}:[^/"\\\s?#@]{1,128}@|pass(?:word|wd|phrase)|pwd|secret|token|signature|credential|authorization|cookie|(?:api|access|private)[-_]?key|[?&](?:key|sig|code)=|[ "]-u |user[ =]/i;

/** Ends of names whose value is a secret: a query or form parameter, a JSON member, an assignment in a text. No long backtracking. */
const WORD =
  "(?:pass(?:word|wd|phrase)|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|signature|credential|authorization|cookie)";
const NAME = `${WORD}[\\w.-]{0,32}`;

type Replacement = readonly [RegExp, string];

/** Recognised by how they look, wherever they stand. */
const SHAPES: readonly Replacement[] = [
  // RFC 7468: the whole block; in JSON text its line feeds are escapes.
  [
    /-----BEGIN [A-Z0-9 ]{1,64}-----(?:\\.|[^"\\])*?(?:-----END [A-Z0-9 ]{1,64}-----|(?=")|$)/g,
    "[redacted:private-key]",
  ],
  // RFC 7519 compact form: header.payload[.signature]
  [/(?:(?<![\w-])|(?<=%[0-9A-Fa-f]{2}))eyJ[\w-]{8,}(?:\.|%2E)[\w-]{4,}(?:(?:\.|%2E)[\w-]*)?/g, "[redacted:jwt]"],
  [/(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])/g, "[redacted:aws-key]"],
  [/gh[pousr]_\w{16,}|github_pat_\w{16,}/g, "[redacted:github-token]"],
  [
    /(?:xox[abeoprs]-[\w-]{8,}|\bsk-[\w-]{16,}|\bsk_live_\w{8,}|AIza[\w-]{30,}|glpat-[\w-]{16,}|\bnpm_\w{16,})/g,
    "[redacted:key]",
  ],
  // RFC 6750, RFC 7617; also URL-encoded
  [/\b([Bb]earer|[Bb]asic|BEARER|BASIC)((?:\s|%20|\+){1,8})(?!\[redacted)[\w.~+/%-]{4,}={0,2}/g, "$1$2[redacted]"],
  // RFC 3986 userinfo with a password
  [/([\w+.-]:\/\/[^/"\\\s?#:@]{0,128}):[^/"\\\s?#@]{1,128}@/g, "$1:[redacted]@"],
];

/** Recognised by the name beside them. */
const NAMED: readonly Replacement[] = [
  // "password":"…", also as the first of an array
  [new RegExp(`(${NAME}"\\s{0,4}:\\s{0,4}\\[?)"(?!\\[redacted)(?:[^"\\\\]|\\\\.)+"`, "gi"), '$1"[redacted]"'],
  [/((?:pass(?:word|wd|phrase)|pwd|secret)"\s{0,4}:\s{0,4})-?\d[\d.eE+-]*/gi, '$1"[redacted]"'],
  // the same in JSON that is itself inside a string: \"password\":\"…\"
  [new RegExp(`(${NAME}\\\\"\\s{0,4}:\\s{0,4}\\\\")(?!\\[redacted)(?:[^"\\\\]|\\\\[^"])+`, "gi"), "$1[redacted]"],
  // password=…, password: …, PASSWORD '…' (SQL)
  [new RegExp(`(${NAME}(?:=|%3D|%3A|:\\s{0,4}))(?!\\[redacted)[^&"\\\\\\s;,'[\\]{}]+`, "gi"), "$1[redacted]"],
  [new RegExp(`(${NAME}\\s{0,4}(?:=\\s{0,4})?')(?!\\[redacted)(?:[^'"\\\\]|''|\\\\[^"])+'`, "gi"), "$1[redacted]'"],
  // --password VALUE, -u USER:VALUE (a command line, as the intent of a run)
  [new RegExp(`(--?[\\w-]{0,32}?${NAME} {1,4})(?!\\[redacted)[^"\\\\\\s]+`, "gi"), "$1[redacted]"],
  [/([ "](?:-u {1,4}|--(?:proxy-)?user[ =]{1,4})[^"\\\s:]{0,64}:)(?!\[redacted)[^"\\\s]+/g, "$1[redacted]"],
  [/([?&](?:key|sig|code)=)(?!\[redacted)[^&"\\\s#]+/gi, "$1[redacted]"],
];

/**
 * `text`: JSON members, or any text that stands inside JSON. The same string where nothing was found.
 * `by`: in a record's core, names such as "credential" stand beside what is no secret, so there only shapes count.
 */
export function redact(text: string, by: "shape" | "name"): string {
  return mayHoldSecret(text) && SUSPECT.test(text) ? replaceSecrets(text, by) : text;
}

/** As `redact`, without the first looks. */
export function replaceSecrets(text: string, by: "shape" | "name"): string {
  let out = text;
  for (const [pattern, replacement] of SHAPES) out = out.replace(pattern, replacement);
  if (by === "name") for (const [pattern, replacement] of NAMED) out = out.replace(pattern, replacement);
  return out;
}
