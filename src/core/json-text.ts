/**
 * Writes JSON strings into templates. Operations and records are made by template, many per millisecond; `JSON.stringify`
 * of an object costs several times as much as gluing texts, and escaping is needed only rarely.
 */

// Printable ASCII without `"` and `\`: such a string is its own JSON form.
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** The JSON form of a string, with its quotes. Lone surrogates come out escaped (well-formed JSON.stringify), never as U+FFFD. */
export function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** As `quote`, or `null`. */
export function quoteOrNull(text: string | null): string {
  return text === null ? "null" : quote(text);
}
