/**
 * What the downward API writes into a file about the pod: labels or annotations, one a line, `name="value"`, the value quoted as Go's
 * strconv.Quote does (kubernetes/pkg/fieldpath/fieldpath.go, FormatMap).
 *
 * Errs towards leaving out: a line that is not of this form says nothing about the pod.
 */

/** Kubernetes allows 256 KiB of annotations; quoting makes them longer. */
const MAX_CHARACTERS = 2 * 1024 * 1024;

const ESCAPE = /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([abfnrtv\\"]))/g;
const PLAIN: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

export function readPodFile(text: string): Readonly<Record<string, string>> {
  if (text.length > MAX_CHARACTERS) return {};
  const found: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, name, quoted] = /^([^=]+)="(.*)"$/.exec(line) ?? [];
    if (name !== undefined && quoted !== undefined) found[name] = unquoted(quoted);
  }
  return found;
}

function unquoted(text: string): string {
  return text.replaceAll(
    ESCAPE,
    (_, x: string | undefined, u: string | undefined, long: string | undefined, one = "") => {
      const code = x ?? u ?? long;
      return code === undefined
        ? (PLAIN[one] ?? one)
        : String.fromCodePoint(Math.min(Number.parseInt(code, 16), 0x10ffff));
    },
  );
}
