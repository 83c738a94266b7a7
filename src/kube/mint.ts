/**
 * Makes certificates (X.509, RSA 2048, SHA-256): an authority, one that replaces it, and leaves. Pure but for randomness; keys come
 * from node:crypto, node-forge writes the certificates.
 *
 * A replaced authority signs its successor's key too (a cross certificate, served with the leaf), so that whoever was given only
 * the old one, as injected pods were, goes on trusting us until that one ends.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import forge from "node-forge";

export interface Signer {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

function keyPair(): { privatePem: string; publicKey: forge.pki.PublicKey } {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const privatePem = privateKey.export({ type: "pkcs8", format: "pem" });
  const { n, e } = forge.pki.privateKeyFromPem(privatePem);
  return { privatePem, publicKey: forge.pki.setRsaPublicKey(n, e) };
}

function blank(validity: Validity): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  // Positive and 127 bits: RFC 5280, 4.1.2.2.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  certificate.serialNumber = serial.toString("hex");
  certificate.validity.notBefore = new Date(validity.fromMs);
  certificate.validity.notAfter = new Date(validity.untilMs);
  return certificate;
}

const AUTHORITY = [
  { name: "basicConstraints", critical: true, cA: true },
  { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
  { name: "subjectKeyIdentifier" },
] as const;

/** `name`: must differ between an authority and its successor. */
export function mintAuthority(name: string, validity: Validity): Signer {
  const { privatePem, publicKey } = keyPair();
  const certificate = blank(validity);
  certificate.publicKey = publicKey;
  certificate.setSubject([{ name: "commonName", value: name }]);
  certificate.setIssuer(certificate.subject.attributes);
  certificate.setExtensions([...AUTHORITY]);
  certificate.sign(forge.pki.privateKeyFromPem(privatePem), forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate), key: privatePem };
}

/** The successor's key and name, signed by the authority that it replaces; ends with that one. */
export function crossSign(successor: string, by: Signer): string {
  const of = forge.pki.certificateFromPem(successor);
  const signer = forge.pki.certificateFromPem(by.cert);
  const { notBefore } = of.validity;
  const until = Math.min(signer.validity.notAfter.getTime(), of.validity.notAfter.getTime());
  const certificate = blank({ fromMs: notBefore.getTime(), untilMs: until });
  certificate.publicKey = of.publicKey;
  certificate.setSubject(of.subject.attributes);
  certificate.setIssuer(signer.subject.attributes);
  certificate.setExtensions([...AUTHORITY]);
  certificate.sign(forge.pki.privateKeyFromPem(by.key), forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}

const DNS_NAME = 2;

export function mintLeaf(names: readonly string[], validity: Validity, by: Signer): Signer {
  const { privatePem, publicKey } = keyPair();
  const certificate = blank(validity);
  certificate.publicKey = publicKey;
  certificate.setSubject([{ name: "commonName", value: (names[0] ?? "sidegate").slice(0, 64) }]);
  certificate.setIssuer(forge.pki.certificateFromPem(by.cert).subject.attributes);
  certificate.setExtensions([
    { name: "basicConstraints", critical: true, cA: false },
    { name: "keyUsage", critical: true, digitalSignature: true, keyEncipherment: true },
    { name: "extKeyUsage", serverAuth: true },
    { name: "subjectAltName", altNames: names.map((value) => ({ type: DNS_NAME, value })) },
  ]);
  certificate.sign(forge.pki.privateKeyFromPem(by.key), forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate), key: privatePem };
}
