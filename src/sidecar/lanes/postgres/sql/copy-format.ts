/**
 * How a COPY … TO writes its rows down, from its options, as PostgreSQL's ProcessCopyOptions reads them.
 *
 * Errs towards null: what is not understood here could put a value where nobody looks for it.
 */
import type { CopyFormat } from "./reading.ts";
import { constantOf, listOf, nodeOf, textOf } from "./tree.ts";

/** They change nothing of where a value stands: which columns are quoted, or only what is read in. */
const NEUTRAL = new Set(["force_quote", "freeze", "encoding"]);
/** The server refuses these as delimiters: they could be taken for an escape or for NULL. */
const NO_DELIMITER = /[\\.a-z0-9\r\n]/;

export function copyFormat(list: unknown): CopyFormat | null {
  const given = new Map<string, string>();
  for (const item of listOf(list)) {
    const option = nodeOf(item)?.fields ?? {};
    const name = textOf(option["defname"]).toLowerCase();
    if (NEUTRAL.has(name)) continue;
    // Without a value: HEADER, and CSV of the old grammar.
    const value = option["arg"] === undefined ? "true" : constantOf(option["arg"]);
    if (value === null || given.has(name)) return null;
    given.set(name, value);
  }
  const take = (name: string): string | undefined => {
    const value = given.get(name);
    given.delete(name);
    return value;
  };
  const kind = take("format") ?? "text";
  if (kind === "binary") return given.size === 0 ? { kind } : null;
  if (kind !== "text" && kind !== "csv") return null;
  const delimiter = take("delimiter") ?? (kind === "csv" ? "," : "\t");
  const nullText = Buffer.from(take("null") ?? (kind === "csv" ? "" : "\\N"), "utf8").toString("latin1");
  const header = choice(take("header") ?? "false");
  if (header === null || !isByte(delimiter) || /[\r\n]/.test(nullText)) return null;
  if (kind === "text") {
    // A value that happens to be the text for NULL is written the same: with a text of the agent's choice that would be a guess.
    const sure = nullText === "" || nullText === "\\N";
    return sure && given.size === 0 && !NO_DELIMITER.test(delimiter) ? { kind, delimiter, nullText, header } : null;
  }
  const quote = take("quote") ?? '"';
  const escape = take("escape") ?? quote;
  if (given.size > 0 || !isByte(quote) || !isByte(escape) || /[\r\n]/.test(delimiter + quote)) return null;
  if (delimiter === quote || nullText.includes(delimiter) || nullText.includes(quote)) return null;
  return { kind, delimiter, nullText, header, quote, escape };
}

function isByte(text: string): boolean {
  return text.length === 1 && text.charCodeAt(0) > 0 && text.charCodeAt(0) < 0x80;
}

/** defGetBoolean: its words, and 0 and 1. */
function choice(text: string): boolean | null {
  switch (text.toLowerCase()) {
    case "true":
    case "on":
    case "1":
      return true;
    case "false":
    case "off":
    case "0":
      return false;
    default:
      return null;
  }
}
