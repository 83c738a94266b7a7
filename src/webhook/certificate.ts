/** A serving certificate and its key, checked before anybody is shown them: half of a rotation must not take us off the air. */
import { createPrivateKey, X509Certificate } from "node:crypto";

export interface ServingCertificate {
  /** PEM, leaf first. */
  readonly cert: string;
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** Throws when certificate and key do not belong together, or either is no PEM. */
export function readCertificate([cert = "", key = ""]: readonly string[]): ServingCertificate {
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error("the certificate is not this key's");
  return { cert, key, notAfterMs: leaf.validToDate.getTime() };
}
