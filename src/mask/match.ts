/** Where in a text something was found: offsets in UTF-16 units, `to` exclusive. */
export interface Match {
  readonly from: number;
  readonly to: number;
}

/** The first match at or after a position; null: none. Costs at most a constant for each character it passes. */
export type Detector = (text: string, from: number) => Match | null;

const ALNUM = new Uint8Array(128);
for (let c = 0; c < 128; c++)
  ALNUM[c] = (c >= 48 && c <= 57 ? 1 : 0) | (c >= 65 && c <= 90 ? 2 : 0) | (c >= 97 && c <= 122 ? 4 : 0);

export function isDigit(code: number): boolean {
  return code < 128 && (ALNUM[code] ?? 0) === 1;
}
export function isUpper(code: number): boolean {
  return code < 128 && (ALNUM[code] ?? 0) === 2;
}
export function isAlnum(code: number): boolean {
  return code < 128 && (ALNUM[code] ?? 0) !== 0;
}
