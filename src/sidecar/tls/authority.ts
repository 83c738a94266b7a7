/**
 * The pod's own certificate authority: made at start, or read back from the state volume, because a sidecar that restarts
 * beside running agents must still be trusted by them.
 *
 * Fails towards a new authority: a file that cannot be trusted (readable by others, broken, expired, key and certificate not a
 * pair) is replaced, and the caller is told why. Where the new one cannot be written, starting fails: the next restart would
 * otherwise leave the agents with an authority that nobody has.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#core/clock.ts";
import { isMemoryFolder } from "#process/memory-folder.ts";
import { replaceFile } from "#process/replace-file.ts";
import {
  authorityCertificate,
  distinguishedName,
  type Issuer,
  keyIdOf,
  pem,
  spkiOf,
  type Validity,
} from "./certificate.ts";

export interface Authority extends Issuer {
  readonly caPem: string;
  readonly validity: Validity;
}

export interface AuthorityStart {
  readonly authority: Authority;
  /** made: there was none. loaded: as before the restart. replaced: running agents trust it only after they read the trust files again. */
  readonly how: "made" | "loaded" | "replaced";
  readonly why: string;
  /** False: the key lies on a disk, which its owner did not promise to anybody. To be named as open. */
  readonly memory: boolean;
}

/** Key and certificate in one file, so that a crash cannot leave a pair that does not match. */
export const AUTHORITY_FILE = "authority.pem";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LIFE_MS = 365 * DAY;
/** Clocks of pods and nodes differ; a certificate from the future is refused by every client. */
export const BACKDATE_MS = HOUR;
/** An authority with less than this is not taken over by a restarted sidecar. */
const MIN_LEFT_MS = 8 * DAY;
const MAX_FILE_BYTES = 16_384;

/** In memory only: for `sidegate run`, where nothing outlives the sidecar anyway. */
export function makeAuthority(clock: Clock): Authority {
  return fresh(clock).authority;
}

/** `folder`: on a memory volume that only the sidecar mounts. Rejects when a new authority cannot be written there. */
export async function loadAuthority(folder: string, clock: Clock): Promise<AuthorityStart> {
  const file = path.join(folder, AUTHORITY_FILE);
  const memory = isMemoryFolder(folder);
  const found = await readPrivate(file);
  const read = found.kind === "text" ? parse(found.text, clock.wallMs()) : found;
  if (read.kind === "authority") return { authority: read.authority, how: "loaded", why: "", memory };
  const { authority, text } = fresh(clock);
  await replaceFile(file, text, 0o600);
  return read.kind === "absent"
    ? { authority, how: "made", why: "", memory }
    : { authority, how: "replaced", why: read.why, memory };
}

type Read =
  | { readonly kind: "authority"; readonly authority: Authority }
  | { readonly kind: "absent" }
  | { readonly kind: "unusable"; readonly why: string };

function fresh(clock: Clock): { readonly authority: Authority; readonly text: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = spkiOf(publicKey);
  const keyId = keyIdOf(spki);
  const now = clock.wallMs();
  const validity = { fromMs: now - BACKDATE_MS, untilMs: now + LIFE_MS };
  // A name of its own: a client that meets two of our authorities must not take one for the other.
  const subject = distinguishedName(`Sidegate pod CA ${keyId.toString("hex", 0, 6)}`);
  const issuer = { subject, key: privateKey, keyId };
  const caPem = pem(authorityCertificate(issuer, spki, validity));
  const keyPem = privateKey.export({ type: "pkcs8", format: "pem" });
  return { authority: { ...issuer, caPem, validity }, text: `${keyPem}${caPem}` };
}

function parse(text: string, nowMs: number): Read {
  try {
    const key = createPrivateKey(text);
    const certificate = new X509Certificate(text.slice(text.indexOf("-----BEGIN CERTIFICATE-----")));
    return check(key, certificate, nowMs);
  } catch {
    // The reason may quote the file; the file is a key.
    return unusable("cannot be parsed");
  }
}

function check(key: KeyObject, certificate: X509Certificate, nowMs: number): Read {
  const spki = spkiOf(createPublicKey(key));
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") return unusable("is not a P-256 key");
  if (!certificate.checkPrivateKey(key)) return unusable("key and certificate are no pair");
  if (!certificate.ca) return unusable("is no authority");
  if (!certificate.verify(createPublicKey(key))) return unusable("is not signed by itself");
  const validity = { fromMs: certificate.validFromDate.getTime(), untilMs: certificate.validToDate.getTime() };
  if (validity.fromMs > nowMs) return unusable("is from the future");
  if (validity.untilMs - nowMs < MIN_LEFT_MS) return unusable("is about to expire");
  const commonName = /^CN=(Sidegate pod CA [0-9a-f]{12})$/.exec(certificate.subject)?.[1];
  if (commonName === undefined) return unusable("was not made by a sidecar");
  const subject = distinguishedName(commonName);
  return {
    kind: "authority",
    authority: { subject, key, keyId: keyIdOf(spki), caPem: pem(certificate.raw), validity },
  };
}

const unusable = (why: string): Read => ({ kind: "unusable", why });

/** Not through a link, not another user's, not readable by anyone else. */
async function readPrivate(file: string): Promise<{ readonly kind: "text"; readonly text: string } | Read> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (fault) {
    const code = (fault as NodeJS.ErrnoException).code ?? "unknown";
    return code === "ENOENT" ? { kind: "absent" } : unusable(`cannot be opened: ${code}`);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return unusable("is no file");
    if ((stat.mode & 0o077) !== 0) return unusable("can be read by others");
    if (stat.uid !== process.geteuid?.()) return unusable("belongs to another user");
    if (stat.size > MAX_FILE_BYTES) return unusable("is too large");
    return { kind: "text", text: await handle.readFile("utf8") };
  } finally {
    await handle.close();
  }
}
