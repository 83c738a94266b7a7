/** Keys and tokens that are recognised by how they look. */
import { type Detector, isAlnum, isDigit, isUpper, type Match } from "./match.ts";

/** A lot longer than any token; where one goes on, the match does not. */
const MAX_TOKEN = 8_192;
const MAX_BLOCK = 32_768;

const AWS = ["AKIA", "ASIA", "ABIA", "ACCA"];

/** Access key ids of AWS: four letters and 16 more. */
export const awsKey: Detector = (text, start) =>
  first(text, start, AWS, (at) => {
    const to = runOf(text, at, (c) => isUpper(c) || isDigit(c), MAX_TOKEN);
    return to - at === 20 ? to : at;
  });

const GITHUB = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];

/** GitHub's tokens of all kinds: a prefix and at least 20 more. */
export const githubToken: Detector = (text, start) =>
  first(text, start, GITHUB, (at, prefix) => {
    const to = runOf(text, at + prefix, (c) => isAlnum(c) || c === 95, MAX_TOKEN);
    return to - at - prefix >= 20 ? to : at;
  });

/** RFC 7519, compact form: `eyJ` begins the JSON of a header. With or without its signature. */
export const jwt: Detector = (text, start) =>
  first(text, start, ["eyJ"], (at) => {
    const header = runOf(text, at, isBase64Url, MAX_TOKEN);
    if (header - at < 8 || text.charCodeAt(header) !== 46) return at;
    const payload = runOf(text, header + 1, isBase64Url, MAX_TOKEN);
    if (payload - header < 5) return at;
    return text.charCodeAt(payload) === 46 ? runOf(text, payload + 1, isBase64Url, MAX_TOKEN) : payload;
  });

const BEGIN = "-----BEGIN ";
const END = "-----END ";

/** RFC 7468: the whole block; to the end of the text where it does not end. */
export const privateKey: Detector = (text, start) => {
  for (let at = text.indexOf(BEGIN, start); at >= 0; at = text.indexOf(BEGIN, at + 1)) {
    const label = text.indexOf("-----", at + BEGIN.length);
    if (label < 0 || label - at > 80 || !text.slice(at, label).endsWith("PRIVATE KEY")) continue;
    const end = text.indexOf(END, label);
    if (end < 0 || end - at > MAX_BLOCK) return { from: at, to: Math.min(text.length, at + MAX_BLOCK) };
    const close = text.indexOf("-----", end + END.length);
    return { from: at, to: close < 0 ? text.length : close + 5 };
  }
  return null;
};

/** The first of these words, not in the middle of another, from where `take` goes on (its start: it is none). */
function first(
  text: string,
  start: number,
  words: readonly string[],
  take: (at: number, length: number) => number,
): Match | null {
  let best: Match | null = null;
  for (const word of words) {
    for (let at = text.indexOf(word, start); at >= 0 && (best === null || at < best.from); ) {
      const alone = at === 0 || !isTokenPart(text.charCodeAt(at - 1));
      const to = alone ? take(at, word.length) : at;
      if (to > at) {
        best = { from: at, to };
        break;
      }
      at = text.indexOf(word, at + 1);
    }
  }
  return best;
}

function runOf(text: string, from: number, is: (c: number) => boolean, max: number): number {
  let at = from;
  const end = Math.min(text.length, from + max);
  while (at < end && is(text.charCodeAt(at))) at++;
  return at;
}

function isBase64Url(c: number): boolean {
  return isAlnum(c) || c === 45 || c === 95;
}

function isTokenPart(c: number): boolean {
  return isAlnum(c) || c === 95;
}
