/**
 * Which of two releases is the newer one: precedence of Semantic Versioning 2.0.0, section 11.
 *
 * Errs towards "not known": what is not exactly a version is compared with nothing, so that nobody acts on a guess.
 */

// core "." core "." core [ "-" identifiers ] [ "+" build ], section 2, 9 and 10; build says nothing about order
const RELEASE =
  /^v?(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]{1,64})?$/;

/** Below 0: `one` is older; 0: of the same precedence; above 0: newer. Null: one of them is no version. */
export function compareReleases(one: string, other: string): number | null {
  const [a, b] = [RELEASE.exec(one), RELEASE.exec(other)];
  if (a === null || b === null) return null;
  for (const part of [1, 2, 3]) {
    const difference = Number(a[part]) - Number(b[part]);
    if (difference !== 0) return difference;
  }
  return comparePre(a[4], b[4]);
}

/** A pre-release comes before its release. */
function comparePre(one: string | undefined, other: string | undefined): number {
  if (one === undefined || other === undefined) return Number(one === undefined) - Number(other === undefined);
  const [left, right] = [one.split("."), other.split(".")];
  for (const [at, a] of left.entries()) {
    const b = right[at];
    if (b === undefined) return 1;
    const difference = compareIdentifiers(a, b);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Numbers by value, and before words; words by their bytes. */
function compareIdentifiers(a: string, b: string): number {
  const [numberA, numberB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (numberA && numberB) return Math.sign(Number(a) - Number(b));
  if (numberA !== numberB) return numberA ? -1 : 1;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
