/**
 * The hash chain of one boot, for both ends: the sidecar links, the collector and `audit verify` check.
 *
 * One SHA-256 a commit (a turn's batch), not one a line: under load that is what makes recording cheap. A commit's hash covers
 * the one before and the bytes of its core lines; a core line that has a detail carries that detail's salted SHA-256, so an
 * erased detail leaves the chain whole, and without the salt nobody can guess what it said.
 */
import { hash } from "node:crypto";

/** Characters of a SHA-256 in base64url. */
export const HASH_LENGTH = 43;

/** What the first commit of a boot links to. */
export function genesis(boot: string): string {
  return hash("sha256", `sidegate-record-1\n${boot}`, "base64url");
}

/** SHA-256 of the commit before (base64url text) and then this commit's core lines, each with its line feed. */
export function link(previousAndCores: Uint8Array): string {
  return hash("sha256", previousAndCores, "base64url");
}

/** As `link`, from the parts. */
export function linkParts(previous: string, cores: Uint8Array): string {
  return hash("sha256", Buffer.concat([Buffer.from(previous, "latin1"), cores]), "base64url");
}

/** What a core line carries for its detail. `text`: the detail's JSON object, as written. */
export function detailHash(salt: string, text: string): string {
  return hash("sha256", `${salt}${text}`, "base64url");
}
