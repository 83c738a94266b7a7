/** Covers what detectors find in a text: with tokens, or with a mark that says what stood there. */
import { type DetectorName, findAll } from "./detectors.ts";
import type { Tokens } from "./tokens.ts";

export type Cover = "token" | "redact";

export interface Covered {
  /** The same string where nothing was found. */
  readonly text: string;
  readonly found: number;
}

/**
 * `how`: for each detector that is asked for. `bytes`: what the text's characters are: characters (utf8), or bytes one by one (latin1:
 * what is looked for is ASCII, and a value's token must be the same however it came).
 */
export function coverFindings(
  text: string,
  how: ReadonlyMap<DetectorName, Cover>,
  tokens: Tokens,
  bytes: "utf8" | "latin1",
): Covered {
  return cover(text, how, tokens, bytes, (instead) => instead);
}

/** The same in JSON, which stays JSON: a number that is covered becomes a string. */
export function coverJson(
  text: string,
  how: ReadonlyMap<DetectorName, Cover>,
  tokens: Tokens,
  bytes: "utf8" | "latin1",
): Covered {
  const inside = stringsOf(text);
  return cover(text, how, tokens, bytes, (instead, at) => (inside(at) ? instead : `"${instead}"`));
}

function cover(
  text: string,
  how: ReadonlyMap<DetectorName, Cover>,
  tokens: Tokens,
  bytes: "utf8" | "latin1",
  placed: (instead: string, at: number) => string,
): Covered {
  const found = findAll(text, [...how.keys()]);
  if (found.length === 0) return { text, found: 0 };
  let out = "";
  let at = 0;
  for (const { from, to, what } of found) {
    const instead =
      how.get(what) === "redact" ? `[masked:${what}]` : tokens.token(what, Buffer.from(text.slice(from, to), bytes));
    out += text.slice(at, from) + placed(instead, from);
    at = to;
  }
  return { text: out + text.slice(at), found: found.length };
}

/** Whether a position lies inside a string of this JSON; asked in ascending order. */
function stringsOf(text: string): (at: number) => boolean {
  let p = 0;
  let inside = false;
  return (at) => {
    for (; p < at; p++) {
      const c = text.charCodeAt(p);
      if (c === 0x22) inside = !inside;
      else if (inside && c === 0x5c) p++;
    }
    return inside;
  };
}
