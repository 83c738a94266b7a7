/**
 * What masks and findings may ask for by name, and one pass over a text with any of them. Linear in the text: nothing here goes
 * back, and no regular expression is involved.
 */
import { card, iban } from "./account-numbers.ts";
import { email, phone } from "./contact.ts";
import { awsKey, githubToken, jwt, privateKey } from "./keys.ts";
import type { Detector, Match } from "./match.ts";

export const DETECTORS = {
  email,
  card,
  iban,
  phone,
  aws_key: awsKey,
  github_token: githubToken,
  jwt,
  private_key: privateKey,
} as const satisfies Record<string, Detector>;

export type DetectorName = keyof typeof DETECTORS;

export function isDetector(name: string): name is DetectorName {
  return Object.hasOwn(DETECTORS, name);
}

export interface Finding extends Match {
  readonly what: DetectorName;
}

/** All of them, ascending and without overlap: where two begin together the longer one counts. */
export function findAll(text: string, names: readonly DetectorName[]): readonly Finding[] {
  const found: Finding[] = [];
  for (const what of names) {
    const detect: Detector = DETECTORS[what];
    for (let match = detect(text, 0); match !== null; match = detect(text, match.to)) found.push({ ...match, what });
  }
  if (found.length < 2) return found;
  found.sort((a, b) => a.from - b.from || b.to - a.to);
  const apart: Finding[] = [];
  for (const finding of found) {
    const last = apart.at(-1);
    if (last === undefined || finding.from >= last.to) apart.push(finding);
    // What sticks out of the one before is covered with it.
    else if (finding.to > last.to) apart[apart.length - 1] = { ...last, to: finding.to };
  }
  return apart;
}

const KEYS: readonly DetectorName[] = ["aws_key", "github_token", "jwt", "private_key"];

/** Whether something in it authenticates whoever holds it. */
export function holdsKey(text: string): boolean {
  return KEYS.some((name) => DETECTORS[name](text, 0) !== null);
}
