/**
 * Certificates out of PEM text (RFC 7468), as they stand in system bundles: with comments, in any order, some twice.
 *
 * Errs towards leaving out: a block that OpenSSL cannot read would make other clients refuse the whole file.
 */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";

/** Far more than any real bundle (about 140 roots, 220 KB). */
const MAX_TEXT = 8 * 1024 * 1024;
const BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

/** DER of each readable certificate, once. @throws {RangeError} on a text of more than 8 MiB. */
export function certificatesIn(...texts: readonly string[]): Buffer[] {
  const found = new Map<string, Buffer>();
  for (const text of texts) {
    if (text.length > MAX_TEXT) throw new RangeError(`PEM text of ${text.length} characters`);
    for (const [, base64 = ""] of text.matchAll(BLOCK)) {
      const der = Buffer.from(base64, "base64");
      const key = der.toString("latin1");
      if (!found.has(key) && isCertificate(der)) found.set(key, der);
    }
  }
  return [...found.values()];
}

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).raw.equals(der);
  } catch {
    return false;
  }
}
