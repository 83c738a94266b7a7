/**
 * Makes path patterns of the paths that were seen: what looks like an identifier becomes a gap, and so does a place where many
 * different words stood. Narrow on purpose: a pattern has as many segments as the path had, and a gap is exactly one of them.
 * A gap is null, not a word: the paths are an agent's, and `*` is a word that it may send.
 */

/** Null: any one segment. */
export type Pattern = readonly (string | null)[];

/** More different words than this at one place of otherwise equal paths are data, not an API. */
const MAX_WORDS = 5;
/** More patterns than this for one target tell nothing any more. */
const MAX_PATTERNS = 60;

const IDENTIFIERS: readonly RegExp[] = [
  /^\d+$/,
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  /^(?=.*\d)[0-9a-f]{8,}$/i,
  /^(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}$/,
  /^\d{4}-\d\d(-\d\d)?/,
  /@/,
  /\[redacted/,
];

export function isIdentifier(segment: string): boolean {
  return segment.length > 64 || IDENTIFIERS.some((shape) => shape.test(segment));
}

/** Paths as their segments. Sorted, without doubles. */
export function pathPatterns(paths: Iterable<readonly string[]>): Pattern[] {
  let patterns: Pattern[] = unique(
    [...paths].map((path) => path.map((segment) => (isIdentifier(segment) ? null : segment))),
  );
  const longest = patterns.reduce((max, { length }) => Math.max(max, length), 0);
  for (let place = longest - 1; place >= 0; place--) patterns = widen(patterns, place, MAX_WORDS);
  for (let place = longest - 1; place >= 0 && patterns.length > MAX_PATTERNS; place--)
    patterns = widen(patterns, place, 1);
  return patterns;
}

/** Where more than `words` different words stand at `place` of otherwise equal patterns, they become one gap. */
function widen(patterns: readonly Pattern[], place: number, words: number): Pattern[] {
  const groups = new Map<string, Pattern[]>();
  for (const pattern of patterns) {
    if (place >= pattern.length) continue;
    const key = JSON.stringify(pattern.with(place, ""));
    groups.set(key, [...(groups.get(key) ?? []), pattern]);
  }
  const wide = new Set(
    [...groups.values()].filter((group) => group.length > words || group.some((p) => p[place] === null)).flat(),
  );
  return unique(patterns.map((pattern) => (wide.has(pattern) ? pattern.with(place, null) : pattern)));
}

function unique(patterns: readonly Pattern[]): Pattern[] {
  const byText = new Map(patterns.map((pattern) => [JSON.stringify(pattern), pattern]));
  return [...byText.values()].sort((a, b) => (a.join("/") < b.join("/") ? -1 : 1));
}

export function matches(pattern: Pattern, path: readonly string[]): boolean {
  return pattern.length === path.length && pattern.every((word, i) => word === null || word === path[i]);
}
