/**
 * Makes foreign text safe to show on a terminal: every human output goes through here. An agent chooses what its requests say,
 * and a person decides by what they read: control characters, escape sequences, bidirectional overrides and invisible
 * characters become visible, and nothing is cut without saying so.
 *
 * Errs towards escaping: a harmless exotic character shown as \u{…} costs little.
 */

// C0, DEL, C1; bidi and other format characters, tags, lone surrogates, private use, unassigned; whatever renders as nothing
// (variation selectors, fillers, joiners); every space but the ordinary one, and the replacement characters.
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\ufffc\ufffd]|(?! )\p{Zs}/gu;

const PLAIN = /^[\x20-\x7e]*$/;

/** One line of visible text. Back slashes are left alone: what is shown is for eyes, not for parsing. */
export function escapeForTerminal(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replaceAll(UNSAFE, (c) => {
    if (c === "\n") return String.raw`\n`;
    if (c === "\r") return String.raw`\r`;
    if (c === "\t") return String.raw`\t`;
    const point = c.codePointAt(0) ?? 0;
    return point < 0x100 ? `\\x${point.toString(16).padStart(2, "0")}` : `\\u{${point.toString(16)}}`;
  });
}

/**
 * A value as one line of JSON that may be shown, too: the same value to whoever parses it, and what would act on a terminal (the
 * control characters from 0x7f on, which `JSON.stringify` leaves as they are, bidirectional overrides) written as \uXXXX.
 */
export function jsonForTerminal(value: unknown): string {
  return visibleJson(JSON.stringify(value));
}

/** The same for a text that is JSON already, without line feeds. */
export function visibleJson(json: string): string {
  if (PLAIN.test(json)) return json;
  // Outside of strings JSON has none of these.
  return json.replaceAll(UNSAFE, (c) =>
    Array.from({ length: c.length }, (_, i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** As `escapeForTerminal`, at most `most` characters (≥ 16); a longer text says how many of its characters are missing. */
export function escapeAndCut(text: string, most: number): string {
  // Escaping only lengthens: what lies beyond `most` cannot be shown anyway.
  if (text.length <= most) {
    const whole = escapeForTerminal(text);
    if (whole.length <= most) return whole;
  }
  const room = most - `…(+${text.length})`.length;
  let shown = "";
  let taken = 0;
  for (const character of text.slice(0, most)) {
    const next = escapeForTerminal(character);
    if (shown.length + next.length > room) break;
    shown += next;
    taken += character.length;
  }
  return `${shown}…(+${text.length - taken})`;
}
