/**
 * The key of this workload's mask tokens. It lies beside the authority's key, in memory where the machine has such a folder, so that a
 * sidecar that is started again gives equal values equal tokens.
 *
 * Errs towards a new key: what cannot be read is replaced, and tokens of before mean nothing any more.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const FILE = "token.key";
const BYTES = 32;

/** `state`: a folder that only this user may read. A key that cannot be kept serves for this process alone. */
export function loadTokenKey(state: string): Uint8Array {
  const file = path.join(state, FILE);
  try {
    const kept = readFileSync(file);
    if (kept.length === BYTES) return kept;
  } catch {
    // none yet
  }
  const made = randomBytes(BYTES);
  try {
    writeFileSync(file, made, { mode: 0o600 });
  } catch {
    // for this process alone
  }
  return made;
}
