/**
 * The two certificates that a sidecar makes: its own authority, and a leaf for one name. Layout: RFC 5280; strict enough for
 * `openssl verify -x509_strict`, Java and Go.
 *
 * Fails by throwing on a name that cannot stand in a certificate: a leaf that says something else than the name asked for
 * would be trusted for it.
 */
import { Buffer } from "node:buffer";
import { createHash, type KeyObject, randomBytes, sign } from "node:crypto";
import { parseAddress } from "#core/cidr.ts";
import {
  bits,
  explicit,
  implicit,
  namedBits,
  objectId,
  octets,
  sequence,
  setOf,
  TRUE,
  time,
  unsigned,
  utf8,
} from "#core/der.ts";
import { isHostName } from "#core/host-name.ts";

export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Who signs: the subject as it stands in the authority's certificate, its key, its subject key identifier. */
export interface Issuer {
  readonly subject: Uint8Array;
  readonly key: KeyObject;
  readonly keyId: Uint8Array;
}

/** A name for which no certificate can be made. */
export class LeafNameError extends Error {
  readonly code = "leaf_name";
  constructor(name: string) {
    super(`no certificate can be made for ${JSON.stringify(name.slice(0, 80))}`);
    this.name = "LeafNameError";
  }
}

const SHA256_WITH_ECDSA = sequence(objectId("1.2.840.10045.4.3.2")); // RFC 5758 3.2: no parameters
const COMMON_NAME = objectId("2.5.4.3");
const VERSION_3 = explicit(0, unsigned(Buffer.from([2])));

/** X.520 ub-common-name. */
const MAX_COMMON_NAME = 64;

const extension = (id: string, value: Uint8Array): Buffer => sequence(objectId(id), octets(value));
const critical = (id: string, value: Uint8Array): Buffer => sequence(objectId(id), TRUE, octets(value));

// RFC 5280 4.2.1.3: bit 0 digitalSignature, 5 keyCertSign, 6 cRLSign.
const AUTHORITY_USAGE = critical("2.5.29.15", namedBits(5, 6));
const LEAF_USAGE = critical("2.5.29.15", namedBits(0));
/** An authority for leaves only: no further authority below it. */
const AUTHORITY_CONSTRAINTS = critical("2.5.29.19", sequence(TRUE, unsigned(Buffer.from([0]))));
const LEAF_CONSTRAINTS = critical("2.5.29.19", sequence());
const SERVER_AUTH = extension("2.5.29.37", sequence(objectId("1.3.6.1.5.5.7.3.1")));

const subjectKeyId = (keyId: Uint8Array): Buffer => extension("2.5.29.14", octets(keyId));
const authorityKeyId = (keyId: Uint8Array): Buffer => extension("2.5.29.35", sequence(implicit(0, keyId)));

export function distinguishedName(commonName: string): Buffer {
  return sequence(setOf(sequence(COMMON_NAME, utf8(commonName))));
}

/** `keyId`: the first 20 bytes of the SHA-256 of the public key's bit string (RFC 7093 2, method 1). */
export function keyIdOf(spki: Uint8Array): Buffer {
  // An uncompressed P-256 point is the last 65 bytes of its SubjectPublicKeyInfo (RFC 5480 2.2).
  return createHash("sha256").update(spki.subarray(-65)).digest().subarray(0, 20);
}

export function spkiOf(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

/** Self-signed. `publicKey` belongs to `issuer.key`. DER. */
export function authorityCertificate(issuer: Issuer, publicKey: Uint8Array, validity: Validity): Buffer {
  return signed(issuer, issuer.subject, publicKey, validity, [
    AUTHORITY_CONSTRAINTS,
    AUTHORITY_USAGE,
    subjectKeyId(issuer.keyId),
    authorityKeyId(issuer.keyId),
  ]);
}

/**
 * For exactly `name`: a host name (lower case, without a dot at the end) or a literal address. DER.
 * @throws {LeafNameError} when `name` is neither.
 */
export function leafCertificate(issuer: Issuer, name: string, publicKey: Uint8Array, validity: Validity): Buffer {
  const fits = name.length <= MAX_COMMON_NAME;
  const alternative = sequence(generalName(name));
  return signed(issuer, fits ? distinguishedName(name) : sequence(), publicKey, validity, [
    LEAF_CONSTRAINTS,
    LEAF_USAGE,
    SERVER_AUTH,
    // RFC 5280 4.2.1.6: critical where the subject is empty.
    fits ? extension("2.5.29.17", alternative) : critical("2.5.29.17", alternative),
    subjectKeyId(keyIdOf(publicKey)),
    authorityKeyId(issuer.keyId),
  ]);
}

/** `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }` (RFC 5280 4.1). */
function signed(
  issuer: Issuer,
  subject: Uint8Array,
  publicKey: Uint8Array,
  validity: Validity,
  extensions: readonly Uint8Array[],
): Buffer {
  const tbs = sequence(
    VERSION_3,
    unsigned(serial()),
    SHA256_WITH_ECDSA,
    issuer.subject,
    sequence(time(validity.fromMs), time(validity.untilMs)),
    subject,
    publicKey,
    explicit(3, sequence(...extensions)),
  );
  return sequence(tbs, SHA256_WITH_ECDSA, bits(sign("sha256", tbs, issuer.key)));
}

/** 16 bytes, positive, never zero, 126 of the bits random: unique without a counter to keep (RFC 5280 4.1.2.2). */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

/** `[2] dNSName` or `[7] iPAddress`. */
function generalName(name: string): Buffer {
  const address = parseAddress(name);
  if (address !== null) return implicit(7, address.bytes);
  if (!isHostName(name)) throw new LeafNameError(name);
  return implicit(2, Buffer.from(name, "latin1"));
}

/** RFC 7468. */
export function pem(der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
